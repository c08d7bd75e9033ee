"""What a project sends and reads: against the sandbox, and against servers that answer what the sandbox would not."""

import base64
import hashlib
import json
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import httpx
import pytest

from api_caller import Caller, caller_of, invoice_in, invoice_of
from invoicedrop import __version__
from invoicedrop.channable.upload_body import _CHUNK
from invoicedrop.errors import OutcomeUnknown, Rejected, Unanswered
from invoicedrop.inbox.snapshot import Snapshot
from invoicedrop.invoice import Receipt
from invoicedrop.reasons import Reason
from invoicedrop.sandbox import CUSTOMER_SURNAME, Kind, Options, Running, item_ids, marketplace_number, serve
from scripted_api import Reply, Request, as_json, scripted, served

MB = 1 << 20

# Uploads


SIZES = [*range(5, 14), _CHUNK - 1, _CHUNK, _CHUNK + 1, 2 * _CHUNK + 2, 5 * MB + 1]


@pytest.mark.parametrize("size", SIZES)
def test_every_size_arrives_byte_for_byte(sandbox: Running, caller: Caller, tmp_path: Path, size: int) -> None:
    """Whatever a file's size, the base64 that is streamed decodes to its very bytes."""
    content = (b"%PDF-" + hashlib.sha512(str(size).encode()).digest() * (size // 64 + 1))[:size]
    with invoice_of(content, tmp_path) as invoice:
        receipt = caller.project.upload(8, invoice)
    (upload,) = sandbox.uploads()
    assert (upload.attachment_id, upload.order_id, upload.item_ids) == (receipt.attachment_id, 8, ())
    assert sandbox.store.content(receipt.attachment_id) == content


def test_an_upload_carries_what_the_api_asks_for(tmp_path: Path) -> None:
    """Path, token, type, length, agent and fields are those of the API's document; nothing else is sent."""
    reply = as_json({"status": "success", "order_attachment_id": 7, "message": None}, 202)
    with (
        scripted(lambda _request: reply) as server,
        caller_of(server.url) as caller,
        invoice_of(b"%PDF-1.7", tmp_path) as invoice,
    ):
        caller.project.upload(8, invoice)
        caller.project.upload(8, invoice, (81, 82))
    whole, items = server.requests
    assert (whole.method, whole.path) == ("POST", "/v1/companies/1001/projects/2001/orders/8/attachments")
    assert whole.headers["authorization"] == "Bearer sandbox-token"
    assert whole.headers["user-agent"] == f"invoicedrop/{__version__}"
    assert whole.headers["content-type"] == "application/json"
    assert whole.headers["accept"] == "application/json"
    assert "transfer-encoding" not in whole.headers
    file = base64.b64encode(b"%PDF-1.7").decode()
    assert json.loads(whole.body) == {"attachment_type": "INVOICE", "file": file}
    assert json.loads(items.body) == {"attachment_type": "INVOICE", "order_item_ids": [81, 82], "file": file}


def test_item_ids_arrive(sandbox: Running, caller: Caller, invoice: Snapshot) -> None:
    """The items that a name asks for are those that the upload is linked to."""
    caller.project.upload(8, invoice, item_ids(8))
    assert sandbox.uploads()[0].item_ids == item_ids(8)


def test_memory_stays_near_the_files_own_size(tmp_path: Path) -> None:
    """Uploading 25 MB takes a few MB beside the file itself, not its base64, nor a second copy."""
    path = tmp_path / "big.pdf"
    with path.open("wb") as stream:
        stream.writelines(hashlib.sha512(b"%d" % block).digest() * 16_384 for block in range(25))
    encoded = hashlib.sha256(base64.b64encode(path.read_bytes())).hexdigest()
    arrived = hashlib.sha256()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            remaining = int(self.headers["content-length"])
            prefix = self.rfile.read(len(b'{"attachment_type": "INVOICE", "file": "'))
            remaining -= len(prefix) + 2
            while remaining:
                chunk = self.rfile.read(min(remaining, 65536))
                arrived.update(chunk)
                remaining -= len(chunk)
            assert self.rfile.read(2) == b'"}'
            self.send_response(202)
            self.send_header("content-length", "49")
            self.end_headers()
            self.wfile.write(b'{"status": "success", "order_attachment_id": 777}')

        def log_message(self, *_arguments: object) -> None:
            """Print nothing."""

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        tracemalloc.start()
        try:
            with caller_of(url, timeout=60) as caller, invoice_in(path) as invoice:
                assert caller.project.upload(8, invoice) == Receipt(777)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert arrived.hexdigest() == encoded
    assert peak < 4 * MB


def test_a_warning_is_a_receipt_with_its_message(sandbox: Running, caller: Caller, invoice: Snapshot) -> None:
    """A 202 with a warning and an id is a success; its message is kept."""
    sandbox.faults.add(Kind.ACCEPTED_WARNING, message="the marketplace is slow today")
    receipt = caller.project.upload(8, invoice)
    assert receipt == Receipt(sandbox.uploads()[0].attachment_id, "the marketplace is slow today")


def test_a_202_that_says_error_is_a_refusal(sandbox: Running, caller: Caller, invoice: Snapshot) -> None:
    """A 202 with status error and a null id is a failure, in the API's own words."""
    sandbox.faults.add(Kind.ACCEPTED_ERROR, message="the channel takes no invoices")
    with pytest.raises(Rejected, match="the channel takes no invoices") as caught:
        caller.project.upload(8, invoice)
    assert caught.value.reason is Reason.REFUSED_BY_API


@pytest.mark.parametrize(
    "reply",
    [
        as_json({"status": "success", "order_attachment_id": None, "message": None}, 202),
        as_json({"status": "success"}, 202),
        as_json({"status": "queued", "order_attachment_id": 7}, 202),
        as_json({"status": None, "order_attachment_id": 7}, 202),
        as_json({"order_attachment_id": 7}, 202),
        as_json({"status": "success", "order_attachment_id": "seven"}, 202),
        as_json([], 202),
        as_json(None, 202),
        as_json({"status": "success", "order_attachment_id": 7}, 200),
        as_json({"status": "success", "order_attachment_id": 7}, 201),
        Reply(b"", 202),
        Reply(b"", 204),
        Reply(b'{"status": "success", "order_attach', 202),
        Reply(b"\xff\xfe\x00", 202),
    ],
    ids=lambda reply: f"{reply.status}{reply.body.decode('latin-1')}",
)
def test_a_success_that_cannot_be_read_is_a_doubt(invoice: Snapshot, reply: Reply) -> None:
    """A 2xx without a clear word and an id is neither success nor failure: the API will be asked."""
    with scripted(lambda _request: reply) as server, caller_of(server.url) as caller, pytest.raises(OutcomeUnknown):
        caller.project.upload(8, invoice)


def test_an_unknown_order_is_rejected(caller: Caller, invoice: Snapshot) -> None:
    """404 is the invoice's own: it names no order of the project."""
    for call in (lambda: caller.project.upload(5000, invoice), lambda: caller.project.order(5000)):
        with pytest.raises(Rejected) as caught:
            call()
        assert caught.value.reason is Reason.ORDER_NOT_FOUND


def test_what_is_no_pdf_is_refused_in_their_words(caller: Caller, tmp_path: Path) -> None:
    """415 comes with the API's own words."""
    with invoice_of(b"GIF89a", tmp_path) as invoice, pytest.raises(Rejected, match="only PDF files"):
        caller.project.upload(8, invoice)


def test_what_is_too_large_for_the_api_is_refused(tmp_path: Path) -> None:
    """The API's own 413 is about this one invoice, even if the server stops reading it, and is told with its size."""
    with (
        serve(Options(rate=0, max_body_bytes=1000)) as small,
        caller_of(small.url) as caller,
        invoice_of(b"%PDF" + b"x" * 3000, tmp_path) as invoice,
        pytest.raises(Rejected) as caught,
    ):
        caller.project.upload(8, invoice)
    assert caught.value.reason is Reason.TOO_LARGE
    assert "413" in caught.value.detail
    assert "3004 bytes" in caught.value.detail


# Orders


def test_an_order_shows_its_invoices(sandbox: Running, caller: Caller, invoice: Snapshot) -> None:
    """What was uploaded is among the order's invoices, with the time at which it was made."""
    before = datetime.now(UTC)
    receipt = caller.project.upload(8, invoice)
    sandbox.store.attach(8, b"%PDF packing slip", attachment_type="PACKING_SLIP")
    order = caller.project.order(8).order
    assert [attachment.id for attachment in order.invoices] == [receipt.attachment_id]
    assert len(order.attachments) == 2
    created = order.invoices[0].created
    assert created is not None
    assert before <= created <= datetime.now(UTC)


def order_reply(request: Request, **changes: object) -> Reply:
    """Answer with a small order."""
    return as_json({"order": {"id": int(request.path.rsplit("/", 1)[1]), "attachments": []} | changes, "events": []})


def test_the_servers_clock_is_compared_with_the_moment_of_its_response() -> None:
    """Waiting for the rate limit, or for a slow response, does not look like a server whose clock is ahead."""

    def slow(request: Request) -> Reply:
        # A Date of this moment, less up to a second, is later than the request's own moment.
        time.sleep(1.2)
        return order_reply(request)

    with scripted(slow) as server, caller_of(server.url, timeout=10) as caller:
        ahead = caller.project.order(8).clock_ahead
    # The Date header has whole seconds only.
    assert timedelta(seconds=-1.5) < ahead <= timedelta(seconds=0.1)


def test_a_server_whose_clock_is_ahead_is_noticed() -> None:
    """The difference between the server's clock and ours comes with the order."""
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")

    class Late(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200)
            self.send_header("date", later)
            self.end_headers()
            self.wfile.write(b'{"order": {"id": 8}}')

        def log_message(self, *_arguments: object) -> None:
            """Print nothing."""

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Late)) as url, caller_of(url) as caller:
        ahead = caller.project.order(8).clock_ahead
    assert ahead == pytest.approx(timedelta(hours=1), abs=timedelta(seconds=5))


def test_all_pages_are_read_once() -> None:
    """250 orders are three pages of at most 100, newest first, each order once."""
    with serve(Options(rate=0, orders=250)) as api, caller_of(api.url) as caller:
        ids = [order.id for order in caller.project.all_orders()]
        assert ids == list(range(250, 0, -1))
        assert [request.query.count("limit=100") for request in api.requests] == [1, 1, 1]


def test_an_order_that_moves_between_pages_comes_once() -> None:
    """A new order that pushes the others down while the pages are read makes none come twice."""
    pages = [[{"id": n} for n in range(200, 100, -1)], [{"id": n} for n in range(101, 0, -1)]]

    def script(_request: Request) -> Reply:
        return as_json({"orders": pages.pop(0) if pages else [], "total": 201})

    with scripted(script) as server, caller_of(server.url) as caller:
        ids = [order.id for order in caller.project.all_orders()]
    assert ids == list(range(200, 0, -1))


@pytest.mark.parametrize("total", [0, 1, 100, 10**9])
def test_a_list_ends_with_a_page_that_is_not_full(total: int) -> None:
    """Whatever the total says (in the vendor's examples it counts the page's orders), a full page is not the last."""
    pages = [[{"id": n} for n in range(101, 1, -1)], [{"id": 1}]]

    def script(_request: Request) -> Reply:
        return as_json({"orders": pages.pop(0), "total": total})

    with scripted(script) as server, caller_of(server.url) as caller:
        assert [order.id for order in caller.project.all_orders()] == list(range(101, 0, -1))
    assert len(server.requests) == 2


def test_a_page_with_an_unreadable_order_is_full_all_the_same() -> None:
    """An order without an id counts among the page's hundred: the list goes on behind it."""
    pages = [[{"id": None}, *({"id": n} for n in range(100, 1, -1))], [{"id": 1}]]
    offsets = []

    def script(request: Request) -> Reply:
        offsets.append(httpx.URL(request.path).params["offset"])
        return as_json({"orders": pages.pop(0), "total": 100})

    with scripted(script) as server, caller_of(server.url) as caller:
        assert [order.id for order in caller.project.all_orders()] == list(range(100, 0, -1))
    assert offsets == ["0", "100"]


def test_search_and_time_are_sent(sandbox: Running, caller: Caller) -> None:
    """Search text and start date are sent as the API writes them, whatever characters they have."""
    since = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)
    caller.project.orders(search="A&b=c #1/ü", since=since, offset=200, limit=7)
    query = dict(httpx.QueryParams(sandbox.requests[0].query))
    assert query == {"search": "A&b=c #1/ü", "start_date": "2026-11-01T12:30:00Z", "offset": "200", "limit": "7"}


def test_an_order_is_found_by_its_exact_number(sandbox: Running, caller: Caller) -> None:
    """The search is loose (order 20 only mentions 19's number): only an exact number counts."""
    number = marketplace_number(19)
    assert caller.project.orders(search=number).entries == 2
    assert caller.project.find_order(number).id == 19
    assert sandbox.requests


@pytest.mark.parametrize("number", ["302-1234567", marketplace_number(7)[:-1], CUSTOMER_SURNAME, "99999", "7"])
def test_a_number_that_no_order_has_exactly_is_not_found(caller: Caller, number: str) -> None:
    """Parts of numbers, names of customers and Channable's own ids are no marketplace numbers."""
    with pytest.raises(Rejected) as caught:
        caller.project.find_order(number)
    assert caught.value.reason is Reason.ORDER_NOT_FOUND


def test_a_number_of_two_orders_is_ambiguous(sandbox: Running, caller: Caller) -> None:
    """Where two orders have the number, nobody can tell which one is meant, and both are named."""
    sandbox.store.add_order(5, channel_id="X-1")
    sandbox.store.add_order(6, channel_order_number="X-1")
    with pytest.raises(Rejected, match="5, 6") as caught:
        caller.project.find_order("X-1")
    assert caught.value.reason is Reason.ORDER_AMBIGUOUS


def test_the_exact_hit_may_stand_on_a_later_page() -> None:
    """A number that more than a hundred orders mention is still found."""
    with serve(Options(rate=0, orders=150)) as api, caller_of(api.url) as caller:
        for order_id in range(2, 151):
            api.store.add_order(order_id, memo="see NEEDLE-1")
        api.store.add_order(1, channel_id="NEEDLE-1")
        assert caller.project.find_order("NEEDLE-1").id == 1


def test_a_look_up_that_never_ends_is_given_up() -> None:
    """A number that thousands of orders mention is asked about with twenty requests, not for ever."""
    numbers = count(10**6, -1)

    def script(_request: Request) -> Reply:
        return as_json({"orders": [{"id": next(numbers)} for _ in range(100)], "total": 100})

    with scripted(script) as server, caller_of(server.url) as caller, pytest.raises(Unanswered, match="2000 orders"):
        caller.project.find_order("Rechnung-1")
    assert len(server.requests) == 20


def test_an_unreadable_hit_is_not_taken_for_none() -> None:
    """Where an order that mentions the number cannot be read, it is not said that there is no such order."""
    with (
        scripted(lambda _request: as_json({"orders": [{"id": None}], "total": 1})) as server,
        caller_of(server.url) as caller,
        pytest.raises(Unanswered, match="1 cannot be read"),
    ):
        caller.project.find_order("N")


@pytest.mark.parametrize(
    "odd",
    [
        {"id": None},
        {"id": None, "channel_id": "N"},
        {"id": 7, "channel_id": "N", "attachments": [{"id": "x"}]},
        None,
        5,
    ],
    ids=str,
)
def test_one_hit_beside_an_unreadable_one_is_no_certain_hit(odd: object) -> None:
    """Where another order that mentions the number cannot be read and may have it too, none is guessed."""
    page = as_json({"orders": [{"id": 1, "channel_id": "N"}, odd], "total": 2})
    with (
        scripted(lambda _request: page) as server,
        caller_of(server.url) as caller,
        pytest.raises(Unanswered, match="1 cannot be read: which one is meant"),
    ):
        caller.project.find_order("N")


@pytest.mark.parametrize("number", ["channel_id", "channel_order_number"])
def test_an_unreadable_order_of_another_number_stops_no_look_up(number: str) -> None:
    """An order that cannot be read but certainly has another number only mentions this one."""
    numbers = {"channel_id": "M"} if number == "channel_id" else {"data": {"extra": {"channel_order_number": "M"}}}
    page = as_json({"orders": [{"id": 1, "channel_id": "N"}, {"id": None, **numbers}], "total": 2})
    with scripted(lambda _request: page) as server, caller_of(server.url) as caller:
        assert caller.project.find_order("N").id == 1


def test_the_id_of_one_order_on_two_pages_is_not_ambiguous() -> None:
    """The same order seen twice is one order."""

    def script(_request: Request) -> Reply:
        return as_json(
            {"orders": [{"id": 1, "channel_id": "N", "data": {"extra": {"channel_order_number": "N"}}}] * 2, "total": 2}
        )

    with scripted(script) as server, caller_of(server.url) as caller:
        assert caller.project.find_order("N").id == 1
