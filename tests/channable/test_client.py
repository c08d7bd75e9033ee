"""What each response becomes, and when a request may leave."""

import json
import os
import socket
import struct
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from api_caller import Caller, caller_of, invoice_of
from invoicedrop.channable.project import Project
from invoicedrop.errors import (
    Conflict,
    InvoicedropError,
    LedgerUnavailable,
    OutcomeUnknown,
    PauseCause,
    Paused,
    Refused,
    Rejected,
    Stopping,
    Unanswered,
)
from invoicedrop.inbox.snapshot import Snapshot
from invoicedrop.sandbox import Kind, Options, Running, serve
from invoicedrop.sandbox.paper import invoice_pdf
from invoicedrop.timing import Timing
from scripted_api import Reply, Request, as_json, scripted, served
from tcp_peer import Peer, read_request

MB = 1 << 20

# The table of `judgement`


class Row(NamedTuple):
    """What a response becomes: of an upload, of a read; and why it trips the circuit breaker, if it does.

    A read of one order that is `Refused` trips nothing where the list of all orders can be read.
    """

    status: int
    of_upload: type[InvoicedropError]
    of_read: type[InvoicedropError]
    trips: PauseCause | None = None

    def check(self, caller: Caller, upload: BaseException, read: BaseException) -> None:
        """Check what an upload and a read have raised."""
        assert (type(upload), type(read)) == (self.of_upload, self.of_read)
        for error in (upload, read):
            assert not isinstance(error, Paused) or error.cause is self.trips
        assert (caller.breaker.detail is not None) is (self.trips is not None and self.of_read is Paused)


TABLE = [
    *(Row(status, Rejected, Unanswered) for status in (400, 405, 406, 410, 413, 415, 422)),
    Row(409, Conflict, Unanswered),
    Row(404, Rejected, Rejected),
    *(Row(status, Paused, Refused, PauseCause.TOKEN) for status in (401, 403)),
    Row(429, Paused, Paused, PauseCause.RATE_LIMIT),
    Row(503, Paused, Refused, PauseCause.OUTAGE),
    *(Row(status, OutcomeUnknown, Refused, PauseCause.OUTAGE) for status in (301, 302, 303, 307, 308, 407)),
    *(Row(status, OutcomeUnknown, Unanswered) for status in (500, 502, 504, 507, 520, 408, 418, 425)),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: str(row.status))
def test_every_status_becomes_what_the_table_says(sandbox: Running, invoice: Snapshot, row: Row) -> None:
    """Each status, of an upload and of a read, becomes the error of the table, with the API's own message."""
    for request in ("upload", "order"):
        sandbox.faults.add(Kind.STATUS, request, status=row.status, message="their own words", count=1)
    with caller_of(sandbox.url, timing=Timing(unstated_wait=0.01)) as caller:
        with pytest.raises(row.of_upload) as of_upload:
            caller.project.upload(8, invoice)
        assert (caller.breaker.detail is not None) is (row.trips is not None)
        caller.breaker.reset()
        with pytest.raises(row.of_read) as of_read:
            caller.project.order(8)
        row.check(caller, of_upload.value, of_read.value)
    assert "their own words" in str(of_upload.value)
    assert sandbox.uploads() == []
    assert len(sandbox.requests) == (3 if row.of_read is Refused else 2)


HTML_TABLE = [
    *(Row(status, OutcomeUnknown, Refused, PauseCause.OUTAGE) for status in (200, 202, 400, 401, 403, 404, 409, 429)),
    Row(413, OutcomeUnknown, Unanswered),
    Row(500, OutcomeUnknown, Unanswered),
    Row(502, OutcomeUnknown, Unanswered),
    Row(503, OutcomeUnknown, Refused, PauseCause.OUTAGE),
    Row(504, OutcomeUnknown, Unanswered),
]


@pytest.mark.parametrize("row", HTML_TABLE, ids=lambda row: str(row.status))
def test_a_web_page_is_not_the_apis_word(sandbox: Running, caller: Caller, invoice: Snapshot, row: Row) -> None:
    """HTML where JSON belongs is a proxy's or a portal's: no invoice fails for it."""
    for request in ("upload", "order"):
        sandbox.faults.add(Kind.HTML, request, status=row.status, count=1)
    with pytest.raises(row.of_upload) as of_upload:
        caller.project.upload(8, invoice)
    assert (caller.breaker.detail is not None) is (row.trips is not None)
    assert "<" not in str(of_upload.value)
    caller.breaker.reset()
    with pytest.raises(row.of_read) as of_read:
        caller.project.order(8)
    row.check(caller, of_upload.value, of_read.value)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((status, b"no") for status in (202, 400, 401, 403, 404, 405, 406, 408, 409, 410, 415, 422, 429, 503, 520)),
        *((status, b'{"message": "no Route matched"}') for status in (200, 401, 403, 404, 429, 503)),
        *((status, b"") for status in (204, 302, 404, 407, 503)),
    ],
)
def test_where_a_box_answers_everything_the_project_pauses(invoice: Snapshot, status: int, body: bytes) -> None:
    """An upload is in doubt and no order is unknown; the project waits, and what is said names what answered."""
    box = Reply(body, status, (("server", "box/1.0"),))
    with scripted(lambda _request: box) as server:
        for read in (False, True):
            with caller_of(server.url) as caller:
                with pytest.raises(Paused if read else OutcomeUnknown):
                    _ = caller.project.order(8) if read else caller.project.upload(8, invoice)
                assert "box/1.0" in (caller.breaker.detail or "")
                assert "token" not in (caller.breaker.detail or "")


def test_another_orders_trouble_is_not_the_projects(sandbox: Running, caller: Caller) -> None:
    """Two orders that are refused pause nothing where the list can be read; a third one does."""
    sandbox.faults.add(Kind.STATUS, "order", status=403)
    for order_id in (1, 1, 2, 2):
        with pytest.raises(Refused):
            caller.project.order(order_id)
    assert caller.details == []
    with pytest.raises(Paused):
        caller.project.order(3)
    assert "may not use" in (caller.breaker.detail or "")


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        (Kind.RESET_BEFORE_READ, False),
        (Kind.RESET_BEFORE_STORE, False),
        (Kind.RESET_AFTER_STORE, True),
        (Kind.HANG_BEFORE_STORE, False),
        (Kind.HANG_AFTER_STORE, True),
        (Kind.TRUNCATE, True),
        (Kind.SLOW_DRIP, True),
        (Kind.BROKEN_JSON, True),
        (Kind.ACCEPTED_WITHOUT_ID, True),
    ],
)
def test_a_lost_response_leaves_a_doubt_whether_stored_or_not(
    sandbox: Running, invoice: Snapshot, kind: Kind, *, stored: bool
) -> None:
    """Whatever happens to the response on its way, what became of the invoice is unknown."""
    sandbox.faults.add(kind, "upload", count=1)
    with caller_of(sandbox.url, timeout=0.2) as caller:
        with pytest.raises(OutcomeUnknown):
            caller.project.upload(8, invoice)
        assert caller.breaker.detail is None
    sandbox.wait_until(lambda: all(request.over for request in sandbox.requests))
    assert len(sandbox.uploads()) == stored


@pytest.mark.parametrize("kind", [Kind.RESET_BEFORE_STORE, Kind.HANG_BEFORE_STORE, Kind.TRUNCATE, Kind.BROKEN_JSON])
def test_a_read_without_a_whole_response_is_unanswered(sandbox: Running, kind: Kind) -> None:
    """A read that got no whole response changes nothing and may be repeated."""
    sandbox.faults.add(kind, "order", count=1)
    with caller_of(sandbox.url, timeout=0.2) as caller:
        with pytest.raises(Unanswered):
            caller.project.order(8)
        assert caller.project.order(8).order.id == 8


def test_an_api_that_is_down_is_paused(sandbox: Running, caller: Caller, invoice: Snapshot) -> None:
    """Where nobody listens nothing was taken: the project waits, and one line says what cannot be reached."""
    sandbox.stop()
    with pytest.raises(Paused) as caught:
        caller.project.upload(8, invoice)
    assert caught.value.cause is PauseCause.OUTAGE
    assert caller.breaker.detail is not None
    assert sandbox.url.removeprefix("http://") in caller.breaker.detail
    sandbox.start()
    with pytest.raises(Paused):
        caller.project.upload(8, invoice)
    caller.breaker.probe_now()
    caller.project.upload(8, invoice)
    assert caller.details == [caller.details[0], None]
    assert len(sandbox.uploads()) == 1


def test_failures_of_three_invoices_trip_the_breaker(sandbox: Running, caller: Caller, invoice: Snapshot) -> None:
    """500 for one order is its own trouble; for three orders in a row it is the API's."""
    sandbox.faults.add(Kind.STATUS, "upload", status=500)
    for order_id in (1, 1, 1, 2):
        with pytest.raises(OutcomeUnknown):
            caller.project.upload(order_id, invoice)
    assert caller.details == []
    with pytest.raises(OutcomeUnknown):
        caller.project.upload(3, invoice)
    assert len(caller.details) == 1
    with pytest.raises(Paused) as caught:
        caller.project.upload(4, invoice)
    assert caught.value.cause is PauseCause.OUTAGE
    assert len(sandbox.requests) == 5


def test_a_redirect_is_never_followed_with_the_token(sandbox: Running, caller: Caller, invoice: Snapshot) -> None:
    """A redirect of the API goes nowhere: one request, and an error that says that the address is wrong."""
    sandbox.faults.add(Kind.REDIRECT, "any")
    with pytest.raises(OutcomeUnknown):
        caller.project.upload(8, invoice)
    assert caller.breaker.detail is not None
    assert "api_url" in caller.breaker.detail
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("location", ["http://[", "//", "http://\xff\xfe", "mailto:x", "/elsewhere"])
def test_a_redirect_to_an_odd_address_is_a_redirect(invoice: Snapshot, location: str) -> None:
    """Where a redirect leads is never read: whatever stands there, the request goes nowhere and is in doubt."""
    redirect = as_json({}, 302, ("location", location))
    with scripted(lambda _request: redirect) as server, caller_of(server.url) as caller:
        with pytest.raises(OutcomeUnknown):
            caller.project.upload(8, invoice)
        assert "api_url" in (caller.breaker.detail or "")
        assert len(server.requests) == 1


def test_no_cookie_is_kept(invoice: Snapshot) -> None:
    """A cookie that a response sets is sent with no later request, neither to the API nor to a download host."""

    def script(request: Request) -> Reply:
        cookie = ("set-cookie", "session=1; Path=/")
        if request.method == "POST":
            return as_json({"status": "success", "order_attachment_id": 7}, 202, cookie)
        if request.path.startswith("/v1/"):
            return as_json({"url": f"http://{request.headers['host']}/first"}, 200, cookie)
        if request.path == "/first":
            return Reply(b"", 302, (("location", "/second"), cookie))
        return Reply(b"", 200, (cookie,))

    with scripted(script) as server, caller_of(server.url) as caller:
        for _ in range(2):
            caller.project.upload(8, invoice)
            caller.project.attachment_digest(8, 7, 1000)
    assert len(server.requests) == 8
    assert not [request for request in server.requests if "cookie" in request.headers]


def test_the_retry_after_of_a_429_is_obeyed(sandbox: Running, caller: Caller, invoice: Snapshot) -> None:
    """Retry-After in seconds sets when the next request may go; without it the rate limiter decides."""
    sandbox.faults.add(Kind.RATE_LIMITED, "upload", retry_after="7", count=1)
    sandbox.faults.add(Kind.RATE_LIMITED, "upload", count=1)
    with pytest.raises(Paused):
        caller.project.upload(8, invoice)
    assert caller.breaker.until - time.monotonic() == pytest.approx(7, abs=0.5)
    with caller_of(sandbox.url) as other:
        with pytest.raises(Paused):
            other.project.upload(8, invoice)
        assert 0 < other.breaker.until - time.monotonic() <= 2


def test_an_endless_response_is_not_read_into_memory() -> None:
    """A response of far more than a page of orders is broken off."""
    with (
        scripted(lambda _request: Reply(b"x" * (40 * MB))) as server,
        caller_of(server.url) as caller,
        pytest.raises(Unanswered, match="too large"),
    ):
        caller.project.order(8)


# The token


def test_a_wrong_token_is_paused_and_read_again(sandbox: Running, invoice: Snapshot) -> None:
    """A refused token stops the project with words; a new one in its place is used for the next probe."""
    with caller_of(sandbox.url, token="old") as caller:
        with pytest.raises(Paused):
            caller.project.upload(8, invoice)
        assert caller.breaker.detail is not None
        assert "token" in caller.breaker.detail
        assert not caller.client.token_changed()
        caller.token = sandbox.token
        assert caller.client.token_changed()
        caller.client.forget_token()
        caller.breaker.probe_now()
        caller.project.upload(8, invoice)
        assert caller.breaker.detail is None


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_read_again_for_the_next_probe(
    sandbox: Running, caller: Caller, invoice: Snapshot, status: int
) -> None:
    """After a 401 or a 403 the next request has the token that is in its file then."""
    sandbox.faults.add(Kind.STATUS, "upload", status=status, count=1)
    with pytest.raises(Paused):
        caller.project.upload(8, invoice)
    caller.breaker.probe_now()
    caller.project.upload(8, invoice)
    assert caller.tokens_read == 2


def test_a_good_token_is_read_once(caller: Caller, invoice: Snapshot) -> None:
    """The token file is not read for every request."""
    for order_id in (1, 2, 3):
        caller.project.upload(order_id, invoice)
    assert caller.tokens_read == 1


def test_a_token_that_cannot_be_read_is_paused(sandbox: Running, caller: Caller, invoice: Snapshot) -> None:
    """Without a token nothing is read, nothing is sent, and the breaker says why."""
    caller.token = ""
    with pytest.raises(Paused, match="api_token_file") as caught:
        caller.project.upload(8, invoice)
    assert caught.value.cause is PauseCause.TOKEN
    assert not caller.client.token_changed()
    assert sandbox.requests == []
    assert caller.details == ["api_token_file: the file is empty"]


def test_another_project_is_paused(sandbox: Running, invoice: Snapshot) -> None:
    """A project that the token may not reach is a matter of settings, not of the invoice."""
    with caller_of(sandbox.url, project_id=9999) as caller, pytest.raises(Paused):
        caller.project.upload(8, invoice)


# Rate limit, circuit breaker, intent


def test_a_full_bucket_is_paused(invoice: Snapshot) -> None:
    """The company's own limit, met in earnest, trips the breaker and lowers the rate."""
    with serve(Options(rate=4, burst=1)) as api, caller_of(api.url, rate=100) as caller:
        caller.project.upload(1, invoice)
        with pytest.raises(Paused):
            caller.project.upload(2, invoice)
        assert caller.rate_limiter.rate < 100


def test_the_intent_comes_before_the_first_byte(sandbox: Running, caller: Caller, invoice: Snapshot) -> None:
    """`before_sending` is called once, when the request may leave, while the server has heard nothing yet."""
    heard: list[int] = []
    caller.project.upload(8, invoice, before_sending=lambda: heard.append(len(sandbox.requests)))
    assert heard == [0]


def test_an_intent_that_cannot_be_written_sends_nothing(sandbox: Running, caller: Caller, invoice: Snapshot) -> None:
    """Where the ledger cannot be written, the request does not leave."""

    def full() -> None:
        raise LedgerUnavailable("disk full")

    with pytest.raises(LedgerUnavailable):
        caller.project.upload(8, invoice, before_sending=full)
    assert sandbox.requests == []
    assert caller.breaker.detail is None


def _lost(after: int) -> Callable[[], None]:
    """Return what lets so many parts of a request leave, and then no more."""
    parts: list[int] = []

    def may_leave() -> None:
        parts.append(1)
        if len(parts) > after:
            raise LedgerUnavailable("the inbox may be another machine's by now")

    return may_leave


@pytest.mark.parametrize("after", [0, 1, 2, 4])
def test_what_may_not_leave_any_more_never_arrives_whole(
    sandbox: Running, caller: Caller, tmp_path: Path, after: int
) -> None:
    """Before the first byte, and before each part, it is asked whether it may leave: broken off, nothing is stored."""
    with invoice_of(invoice_pdf("8") + os.urandom(100_000), tmp_path) as invoice:
        with pytest.raises(LedgerUnavailable):
            caller.project.upload(8, invoice, may_leave=_lost(after))
        assert caller.breaker.detail is None
        if not after:
            assert not [request for request in sandbox.requests if request.kind == "upload"]
        # The connection is not used again, and what comes next is whole.
        for _ in range(3):
            caller.project.upload(7, invoice, may_leave=lambda: None)
    assert [upload.order_id for upload in sandbox.uploads()] == [7, 7, 7]


def test_an_open_circuit_makes_no_intent(sandbox: Running, caller: Caller, invoice: Snapshot) -> None:
    """While the project is paused nothing is written down as being under way, and nothing is sent."""
    intents: list[int] = []
    caller.breaker.trip("down", PauseCause.OUTAGE)
    with pytest.raises(Paused):
        caller.project.upload(8, invoice, before_sending=lambda: intents.append(1))
    assert intents == []
    assert sandbox.requests == []


def test_a_stop_while_waiting_for_the_rate_makes_no_intent(sandbox: Running, caller: Caller, invoice: Snapshot) -> None:
    """An invoice that only waited for its turn is not in doubt when the service stops."""
    caller.rate_limiter.close()
    intents: list[int] = []
    with pytest.raises(Stopping):
        caller.project.upload(8, invoice, before_sending=lambda: intents.append(1))
    assert intents == []
    assert sandbox.requests == []


def test_reads_draw_on_the_same_bucket(sandbox: Running) -> None:
    """Reads wait for the company's rate limit too."""
    with caller_of(sandbox.url, rate=50) as caller:
        began = time.monotonic()
        for _ in range(6):
            caller.project.order(8)
        assert time.monotonic() - began >= 5 / 50


@pytest.mark.parametrize(("patience", "statuses"), [(0.0, [429]), (0.2, [429]), (20.0, [429, 200])])
def test_a_patient_project_waits_for_the_rate_limit(sandbox: Running, patience: float, statuses: list[int]) -> None:
    """A read waits where only the rate limit is used up, if the wait is within the patience that it was given."""
    sandbox.faults.add(Kind.RATE_LIMITED, "order", retry_after="0", count=1)
    with caller_of(sandbox.url, timing=Timing(first_probe=0.3)) as caller:
        project = Project(caller.client, 1001, 2001, caller.breaker, patience=patience)
        if statuses[-1] == 200:
            assert project.order(8).order.id == 8
        else:
            with pytest.raises(Paused) as caught:
                project.order(8)
            assert caught.value.cause is PauseCause.RATE_LIMIT
    assert [request.status for request in sandbox.requests] == statuses


def test_patience_is_for_the_rate_limit_only(sandbox: Running) -> None:
    """A wrong token or an outage is not waited for, however patient the project is."""
    sandbox.faults.add(Kind.STATUS, status=503)
    with caller_of(sandbox.url) as caller:
        project = Project(caller.client, 1001, 2001, caller.breaker, patience=60.0)
        began = time.monotonic()
        with pytest.raises(Paused):
            project.order(8)
        assert time.monotonic() - began < 1
    assert [request.kind for request in sandbox.requests] == ["order", "orders"]


# Connections


class _OneRequestEach(BaseHTTPRequestHandler):
    """A box that lets one request through on each connection, keeps it open, and resets it at the next one."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Show the order."""
        self._answer(200, {"order": {"id": 8}})

    def do_POST(self) -> None:
        """Take the upload."""
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(202, {"status": "success", "order_attachment_id": 5, "message": None})

    def _answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        if self.rfile.peek(1):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


def test_an_upload_may_have_a_connection_of_its_own(invoice: Snapshot) -> None:
    """Where a box resets a connection at its second request, a POST on its own one passes, right after a read."""
    with served(ThreadingHTTPServer(("127.0.0.1", 0), _OneRequestEach)) as url, caller_of(url) as caller:
        caller.project.order(8)
        with pytest.raises(OutcomeUnknown):
            caller.project.upload(8, invoice)
        caller.project.order(8)
        assert caller.project.upload(8, invoice, own_connection=True).attachment_id == 5


_RECEIPT = json.dumps({"status": "success", "order_attachment_id": 5}).encode()


def _response(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )


@pytest.mark.parametrize(
    "more", [_response(202, _RECEIPT), _response(408, b""), b"noise", b"\r\n"], ids=["receipt", "408", "noise", "line"]
)
def test_what_comes_behind_an_answer_answers_nothing(invoice: Snapshot, more: bytes) -> None:
    """A server that says more than one answer to a request: no later request takes the rest for its own answer."""

    def talk(connection: socket.socket) -> None:
        while request := read_request(connection):
            if request.startswith(b"GET"):
                connection.sendall(_response(200, b'{"order": {"id": 8}, "events": []}') + more)
            else:
                connection.sendall(_response(202, _RECEIPT.replace(b"5", b"99")))

    with Peer(talk) as peer, caller_of(peer.url) as caller:
        caller.project.order(8)
        assert caller.project.upload(8, invoice).attachment_id == 99
        assert peer.connections == 2


def test_a_receipt_before_the_invoice_has_left_is_a_doubt(tmp_path: Path) -> None:
    """A success that comes, and ends the connection, while most of the invoice is still here cannot be about it."""

    def hasty(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(_response(202, _RECEIPT))

    with (
        Peer(hasty) as peer,
        caller_of(peer.url) as caller,
        invoice_of(b"%PDF-1.7" + b"x" * 5_000_000, tmp_path) as large,
        pytest.raises(OutcomeUnknown, match="before the invoice had left") as caught,
    ):
        caller.project.upload(8, large)
    assert caught.value.is_whole
