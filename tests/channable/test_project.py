"""The API client on the wire: against the sandbox, and against servers that answer what the sandbox would not."""

import base64
import gzip
import hashlib
import json
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoicedrop import __version__
from invoicedrop.channable.client import ApiClient, ApiResponse
from invoicedrop.channable.models import Order, OrderAnswer, OrdersPage
from invoicedrop.channable.project import _CHUNK, Project
from invoicedrop.channable.rate_limit import RateLimiter
from invoicedrop.circuit_breaker import CircuitBreaker
from invoicedrop.errors import (
    ConfigError,
    InvoicedropError,
    LedgerUnavailable,
    OutcomeUnknown,
    Paused,
    Rejected,
    Stopping,
    Unanswered,
)
from invoicedrop.inbox.snapshot import Snapshot, take_snapshot
from invoicedrop.invoice import Receipt
from invoicedrop.reasons import Reason
from invoicedrop.sandbox import CUSTOMER_SURNAME, Kind, Options, Running, item_ids, marketplace_number, serve

MB = 1 << 20


@pytest.fixture(autouse=True)
def no_proxy_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy of whoever runs the tests is not asked."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("NO_PROXY", "*")


class Client:
    """A project's client, its token, its pause and what the pause told."""

    def __init__(
        self, url: str, *, token: str = "sandbox-token", project_id: int = 2001, timeout: float = 5.0, rate: float = 0
    ) -> None:
        self.token = token
        self.tokens_read = 0
        self.news: list[str | None] = []
        self.rate_limiter = RateLimiter(rate, 1)
        self.breaker = CircuitBreaker(lambda detail, _seconds: self.news.append(detail))
        self.client = ApiClient(url, self._read_token, self.rate_limiter, request_timeout=timeout, connections=4)
        self.project = Project(self.client, 1001, project_id, self.breaker)

    def _read_token(self) -> str:
        self.tokens_read += 1
        if not self.token:
            raise ConfigError(["api_token_file: the file is empty"])
        return self.token


@contextmanager
def client_of(url: str, **named: Any) -> Iterator[Client]:
    """Return a client while the block runs."""
    client = Client(url, **named)
    try:
        yield client
    finally:
        client.client.close()


@pytest.fixture
def client(sandbox: Running) -> Iterator[Client]:
    """A client of the sandbox."""
    with client_of(sandbox.url, timeout=1.0) as one:
        yield one


@contextmanager
def document_of(content: bytes, folder: Path) -> Iterator[Snapshot]:
    """Return content as it comes from a dropped file."""
    path = folder / "document.pdf"
    path.write_bytes(content)
    with take_snapshot(path, 100 * MB) as read:
        yield read


@pytest.fixture
def document(tmp_path: Path) -> Iterator[Snapshot]:
    """A small invoice."""
    with document_of(b"%PDF-1.7 small", tmp_path) as read:
        yield read


class Request(NamedTuple):
    """What a scripted server was asked."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Reply(NamedTuple):
    """What it answers."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class Scripted:
    """A server on loopback that answers each request as `script` says, with a Date header as real servers have."""

    def __init__(self, script: Callable[[Request], Reply]) -> None:
        self.asked: list[Request] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked.append(Request(self.command, self.path, headers, body))
                reply = script(asked[-1])
                self.send_response(reply.status)
                for name, value in (*reply.headers, ("content-length", str(len(reply.body)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)

            do_GET = do_POST = answer  # noqa: N815 - http.server's names

            def log_message(self, *_arguments: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"


@contextmanager
def scripted(script: Callable[[Request], Reply]) -> Iterator[Scripted]:
    """Serve while the block runs."""
    server = Scripted(script)
    thread = threading.Thread(target=server._server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server._server.shutdown()
        thread.join()
        server._server.server_close()


def as_json(value: object, status: int = 200, *headers: tuple[str, str]) -> Reply:
    """Answer with JSON."""
    return Reply(json.dumps(value).encode(), status, (("content-type", "application/json"), *headers))


# The upload


SIZES = [*range(5, 14), _CHUNK - 1, _CHUNK, _CHUNK + 1, 2 * _CHUNK + 2, 5 * MB + 1]


@pytest.mark.parametrize("size", SIZES)
def test_every_size_arrives_byte_for_byte(sandbox: Running, client: Client, tmp_path: Path, size: int) -> None:
    """Whatever a file's size, the base64 that is streamed decodes to its very bytes."""
    content = (b"%PDF-" + hashlib.sha512(str(size).encode()).digest() * (size // 64 + 1))[:size]
    with document_of(content, tmp_path) as document:
        receipt = client.project.upload(8, document)
    (upload,) = sandbox.uploads()
    assert (upload.attachment_id, upload.order_id, upload.item_ids) == (receipt.attachment_id, 8, ())
    assert sandbox.store.content(receipt.attachment_id) == content


def test_an_upload_carries_what_the_api_asks_for(tmp_path: Path) -> None:
    """Path, token, type, length, agent and fields are those of the API's document; nothing else is sent."""
    answer = as_json({"status": "success", "order_attachment_id": 7, "message": None}, 202)
    with (
        scripted(lambda _request: answer) as server,
        client_of(server.url) as client,
        document_of(b"%PDF-1.7", tmp_path) as document,
    ):
        client.project.upload(8, document)
        client.project.upload(8, document, (81, 82))
    whole, items = server.asked
    assert (whole.method, whole.path) == ("POST", "/v1/companies/1001/projects/2001/orders/8/attachments")
    assert whole.headers["authorization"] == "Bearer sandbox-token"
    assert whole.headers["user-agent"] == f"invoicedrop/{__version__}"
    assert whole.headers["content-type"] == "application/json"
    assert whole.headers["accept"] == "application/json"
    assert "transfer-encoding" not in whole.headers
    file = base64.b64encode(b"%PDF-1.7").decode()
    assert json.loads(whole.body) == {"attachment_type": "INVOICE", "file": file}
    assert json.loads(items.body) == {"attachment_type": "INVOICE", "order_item_ids": [81, 82], "file": file}


def test_item_ids_arrive(sandbox: Running, client: Client, document: Snapshot) -> None:
    """The items that a name asks for are those that the upload is linked to."""
    client.project.upload(8, document, item_ids(8))
    assert sandbox.uploads()[0].item_ids == item_ids(8)


def test_memory_stays_near_the_files_own_size(tmp_path: Path) -> None:
    """Uploading 50 MB takes a few MB beside the file itself, not its base64, nor a second copy."""
    path = tmp_path / "big.pdf"
    with path.open("wb") as stream:
        stream.writelines(hashlib.sha512(b"%d" % block).digest() * 16_384 for block in range(50))
    encoded = hashlib.sha256(base64.b64encode(path.read_bytes())).hexdigest()
    arrived = hashlib.sha256()

    def sink(handler: BaseHTTPRequestHandler) -> None:
        left = int(handler.headers["content-length"])
        prefix = handler.rfile.read(len(b'{"attachment_type": "INVOICE", "file": "'))
        left -= len(prefix) + 2
        while left:
            some = handler.rfile.read(min(left, 65536))
            arrived.update(some)
            left -= len(some)
        assert handler.rfile.read(2) == b'"}'
        handler.send_response(202)
        handler.send_header("content-length", "49")
        handler.end_headers()
        handler.wfile.write(b'{"status": "success", "order_attachment_id": 777}')

    class Handler(BaseHTTPRequestHandler):
        do_POST = sink  # noqa: N815 - http.server's name

        def log_message(self, *_arguments: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    tracemalloc.start()
    try:
        with (
            client_of(f"http://127.0.0.1:{server.server_address[1]}", timeout=60) as client,
            take_snapshot(path, 100 * MB) as document,
        ):
            assert client.project.upload(8, document) == Receipt(777)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        thread.join()
        server.server_close()
    assert arrived.hexdigest() == encoded
    assert peak < 4 * MB


def test_a_warning_is_a_receipt_with_words(sandbox: Running, client: Client, document: Snapshot) -> None:
    """A 202 with a warning and an id is a success; its message is kept."""
    sandbox.faults.add(Kind.ACCEPTED_WARNING, message="the marketplace is slow today")
    receipt = client.project.upload(8, document)
    assert receipt == Receipt(sandbox.uploads()[0].attachment_id, "the marketplace is slow today")


def test_a_202_that_says_error_is_a_refusal(sandbox: Running, client: Client, document: Snapshot) -> None:
    """A 202 with status error and a null id is a failure, in the API's own words."""
    sandbox.faults.add(Kind.ACCEPTED_ERROR, message="the channel takes no invoices")
    with pytest.raises(Rejected, match="the channel takes no invoices") as caught:
        client.project.upload(8, document)
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
def test_a_success_that_cannot_be_read_is_a_doubt(document: Snapshot, reply: Reply) -> None:
    """A 2xx without a clear word and an id is neither success nor failure: the API will be asked."""
    with scripted(lambda _request: reply) as server, client_of(server.url) as client, pytest.raises(OutcomeUnknown):
        client.project.upload(8, document)


# The table of answers


class Row(NamedTuple):
    """What an answer becomes: of an upload, of a question; and whether the way is closed by it."""

    status: int
    of_upload: type[InvoicedropError]
    of_question: type[InvoicedropError]
    closes: bool = False


TABLE = [
    *(Row(status, Rejected, Unanswered) for status in (400, 405, 406, 409, 410, 413, 415, 422)),
    Row(404, Rejected, Rejected),
    *(Row(status, Paused, Paused, closes=True) for status in (401, 403, 407, 429, 503)),
    *(Row(status, Paused, Paused, closes=True) for status in (301, 302, 303, 307, 308)),
    *(Row(status, OutcomeUnknown, Unanswered) for status in (500, 502, 504, 507, 520, 408, 418, 425)),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: str(row.status))
def test_every_status_becomes_what_the_table_says(
    sandbox: Running, client: Client, document: Snapshot, row: Row
) -> None:
    """Each status, of an upload and of a question, becomes the error of the table, with the API's own words."""
    for request in ("upload", "order"):
        sandbox.faults.add(Kind.STATUS, request, status=row.status, message="their own words", count=1)
    with pytest.raises(row.of_upload) as of_upload:
        client.project.upload(8, document)
    assert type(of_upload.value) is row.of_upload
    assert (client.breaker.detail is not None) is row.closes
    client.breaker.reset()
    with pytest.raises(row.of_question) as of_question:
        client.project.order(8)
    assert type(of_question.value) is row.of_question
    assert (client.breaker.detail is not None) is row.closes
    assert "their own words" in str(of_upload.value)
    assert sandbox.uploads() == []
    assert len(sandbox.requests) == 2


HTML_TABLE = [
    Row(200, OutcomeUnknown, Unanswered, closes=True),
    Row(202, OutcomeUnknown, Unanswered, closes=True),
    Row(403, Paused, Paused, closes=True),
    Row(404, Paused, Paused, closes=True),
    Row(400, Paused, Paused, closes=True),
    Row(413, Rejected, Unanswered),
    Row(500, OutcomeUnknown, Unanswered),
    Row(502, OutcomeUnknown, Unanswered),
    Row(503, Paused, Paused, closes=True),
    Row(504, OutcomeUnknown, Unanswered),
]


@pytest.mark.parametrize("row", HTML_TABLE, ids=lambda row: str(row.status))
def test_a_web_page_is_not_the_apis_word(sandbox: Running, client: Client, document: Snapshot, row: Row) -> None:
    """HTML where JSON belongs is a proxy's or a portal's: no invoice fails for it, but for being too large."""
    for request in ("upload", "order"):
        sandbox.faults.add(Kind.HTML, request, status=row.status, count=1)
    with pytest.raises(row.of_upload) as of_upload:
        client.project.upload(8, document)
    assert type(of_upload.value) is row.of_upload
    assert (client.breaker.detail is not None) is row.closes
    assert "<" not in str(of_upload.value)
    client.breaker.reset()
    with pytest.raises(row.of_question):
        client.project.order(8)
    assert (client.breaker.detail is not None) is row.closes


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
def test_a_lost_answer_is_a_doubt_whether_stored_or_not(
    sandbox: Running, document: Snapshot, kind: Kind, *, stored: bool
) -> None:
    """Whatever happens to the answer on its way, nobody claims to know what became of the invoice."""
    sandbox.faults.add(kind, "upload", count=1)
    with client_of(sandbox.url, timeout=0.3) as client:
        with pytest.raises(OutcomeUnknown):
            client.project.upload(8, document)
        assert client.breaker.detail is None
    sandbox.wait_until(lambda: all(request.over for request in sandbox.requests))
    assert len(sandbox.uploads()) == stored


@pytest.mark.parametrize("kind", [Kind.RESET_BEFORE_STORE, Kind.HANG_BEFORE_STORE, Kind.TRUNCATE, Kind.BROKEN_JSON])
def test_a_question_without_an_answer_is_unanswered(sandbox: Running, kind: Kind) -> None:
    """A question that got no whole answer changes nothing and may be asked again."""
    sandbox.faults.add(kind, "order", count=1)
    with client_of(sandbox.url, timeout=0.3) as client:
        with pytest.raises(Unanswered):
            client.project.order(8)
        assert client.project.order(8).order.id == 8


def test_an_api_that_is_down_is_paused(sandbox: Running, client: Client, document: Snapshot) -> None:
    """Where nobody listens nothing was taken: the project waits, and one line says what cannot be reached."""
    sandbox.stop()
    with pytest.raises(Paused):
        client.project.upload(8, document)
    assert client.breaker.detail is not None
    assert sandbox.url.removeprefix("http://") in client.breaker.detail
    sandbox.start()
    with pytest.raises(Paused):
        client.project.upload(8, document)
    client.breaker.probe_now()
    client.project.upload(8, document)
    assert client.news == [client.news[0], None]
    assert len(sandbox.uploads()) == 1


def test_three_invoices_in_trouble_close_the_way(sandbox: Running, client: Client, document: Snapshot) -> None:
    """500 for one order is its own trouble; for three orders in a row it is the API's."""
    sandbox.faults.add(Kind.STATUS, "upload", status=500)
    for order_id in (1, 1, 1, 2):
        with pytest.raises(OutcomeUnknown):
            client.project.upload(order_id, document)
    assert client.news == []
    with pytest.raises(OutcomeUnknown):
        client.project.upload(3, document)
    assert len(client.news) == 1
    with pytest.raises(Paused):
        client.project.upload(4, document)
    assert len(sandbox.requests) == 5


def test_a_redirect_is_never_followed_with_the_token(sandbox: Running, client: Client, document: Snapshot) -> None:
    """A redirect of the API goes nowhere: one request, and an error that says that the address is wrong."""
    sandbox.faults.add(Kind.REDIRECT, "any")
    with pytest.raises(Paused):
        client.project.upload(8, document)
    assert client.breaker.detail is not None
    assert "api_url" in client.breaker.detail
    assert len(sandbox.requests) == 1


def test_the_wish_of_a_429_is_obeyed(sandbox: Running, client: Client, document: Snapshot) -> None:
    """Retry-After in seconds sets when the next request may go; without it the throttle decides."""
    sandbox.faults.add(Kind.RATE_LIMITED, "upload", retry_after="7", count=1)
    sandbox.faults.add(Kind.RATE_LIMITED, "upload", count=1)
    with pytest.raises(Paused):
        client.project.upload(8, document)
    assert client.breaker.until - time.monotonic() == pytest.approx(7, abs=0.5)
    with client_of(sandbox.url) as other:
        with pytest.raises(Paused):
            other.project.upload(8, document)
        assert 0 < other.breaker.until - time.monotonic() <= 2


# Refusals that the sandbox means


def test_a_wrong_token_is_paused_and_read_again(sandbox: Running, document: Snapshot) -> None:
    """A refused token stops the project with words; a new one in its place is used for the next probe."""
    with client_of(sandbox.url, token="old") as client:
        with pytest.raises(Paused):
            client.project.upload(8, document)
        assert client.breaker.detail is not None
        assert "token" in client.breaker.detail
        assert not client.client.token_changed()
        client.token = sandbox.token
        assert client.client.token_changed()
        client.client.forget_token()
        client.breaker.probe_now()
        client.project.upload(8, document)
        assert client.breaker.detail is None


def test_a_good_token_is_read_once(client: Client, document: Snapshot) -> None:
    """The token file is not read for every request."""
    for order_id in (1, 2, 3):
        client.project.upload(order_id, document)
    assert client.tokens_read == 1


def test_a_token_that_cannot_be_read_is_paused(sandbox: Running, client: Client, document: Snapshot) -> None:
    """Without a token nothing is asked, nothing is sent, and the trouble is told."""
    client.token = ""
    with pytest.raises(Paused, match="api_token_file"):
        client.project.upload(8, document)
    assert not client.client.token_changed()
    assert sandbox.requests == []
    assert client.news == ["api_token_file: the file is empty"]


def test_another_project_is_paused(sandbox: Running, document: Snapshot) -> None:
    """A project that the token may not reach is a matter of settings, not of the invoice."""
    with client_of(sandbox.url, project_id=9999) as client, pytest.raises(Paused):
        client.project.upload(8, document)


def test_an_unknown_order_is_rejected(client: Client, document: Snapshot) -> None:
    """404 is the invoice's own: it names no order of the project."""
    for call in (lambda: client.project.upload(5000, document), lambda: client.project.order(5000)):
        with pytest.raises(Rejected) as caught:
            call()
        assert caught.value.reason is Reason.ORDER_NOT_FOUND


def test_what_is_no_pdf_is_refused_in_their_words(client: Client, tmp_path: Path) -> None:
    """415 comes with the API's own words."""
    with document_of(b"GIF89a", tmp_path) as document, pytest.raises(Rejected, match="only PDF files"):
        client.project.upload(8, document)


def test_what_is_too_large_for_the_api_is_refused(tmp_path: Path) -> None:
    """413 is about this one invoice, even if the server stops reading it."""
    with (
        serve(Options(rate=0, max_body_bytes=1000)) as small,
        client_of(small.url) as client,
        document_of(b"%PDF" + b"x" * 3000, tmp_path) as document,
        pytest.raises(Rejected) as caught,
    ):
        client.project.upload(8, document)
    assert caught.value.reason is Reason.REFUSED_BY_API
    assert "413" in caught.value.detail


def test_a_full_bucket_is_paused(document: Snapshot) -> None:
    """The company's own limit, met in earnest, is a pause of about a second and a slower rate."""
    with serve(Options(rate=4, burst=1)) as api, client_of(api.url, rate=100) as client:
        client.project.upload(1, document)
        with pytest.raises(Paused):
            client.project.upload(2, document)
        assert client.rate_limiter.rate < 100


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"detail": [{"loc": ["body", "file"], "msg": "Field required"}]}, "body.file: Field required"),
        ({"detail": [{"loc": None, "msg": "bad"}]}, "bad"),
        ({"detail": [{"loc": 5, "msg": "bad"}]}, "bad"),
        ({"detail": "plain words"}, "plain words"),
        ({"message": "m"}, "m"),
        ({"error": "e"}, "e"),
    ],
)
def test_a_422_is_made_readable(document: Snapshot, body: object, words: str) -> None:
    """The fields that a 422 complains about are named in one line."""
    with (
        scripted(lambda _request: as_json(body, 422)) as server,
        client_of(server.url) as client,
        pytest.raises(Rejected) as caught,
    ):
        client.project.upload(8, document)
    assert words in caught.value.detail


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["detail", "loc", "msg", "message", "error", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200))
def test_any_error_body_can_be_put_into_words(body: bytes) -> None:
    """Whatever stands in an error answer, it becomes a short text and never an error of its own."""
    answer = ApiResponse(httpx.Response(422), body)
    assert len(answer.words()) <= 500
    assert answer.described().startswith("HTTP 422")


@given(st.text(st.characters(max_codepoint=255), max_size=40) | st.sampled_from(["5", "-5", "1e9", "\u0665", "nan"]))
def test_any_header_can_be_read(value: str) -> None:
    """Whatever stands in the headers that we look at, it is a value or nothing."""
    answer = ApiResponse(
        httpx.Response(503, headers=[(b"retry-after", value.encode("utf-8")), (b"date", value.encode())]), b""
    )
    assert answer.retry_after is None or answer.retry_after >= 0
    assert answer.date is None or answer.date.year


# The way out: throttle, pause, intent


def test_the_intent_comes_before_the_first_byte(sandbox: Running, client: Client, document: Snapshot) -> None:
    """`before_sending` is called once, when the way is free, while the server has heard nothing yet."""
    heard: list[int] = []
    client.project.upload(8, document, before_sending=lambda: heard.append(len(sandbox.requests)))
    assert heard == [0]


def test_an_intent_that_cannot_be_written_sends_nothing(sandbox: Running, client: Client, document: Snapshot) -> None:
    """Where the ledger cannot be written, the request does not leave."""

    def full() -> None:
        raise LedgerUnavailable("disk full")

    with pytest.raises(LedgerUnavailable):
        client.project.upload(8, document, before_sending=full)
    assert sandbox.requests == []
    assert client.breaker.detail is None


def test_a_closed_way_makes_no_intent(sandbox: Running, client: Client, document: Snapshot) -> None:
    """While the project is paused nothing is written down as being under way, and nothing is sent."""
    intents: list[int] = []
    client.breaker.trip("down")
    with pytest.raises(Paused):
        client.project.upload(8, document, before_sending=lambda: intents.append(1))
    assert intents == []
    assert sandbox.requests == []


def test_a_stop_while_waiting_for_the_rate_makes_no_intent(
    sandbox: Running, client: Client, document: Snapshot
) -> None:
    """An invoice that only waited for its turn is not in doubt when the service stops."""
    client.rate_limiter.close()
    intents: list[int] = []
    with pytest.raises(Stopping):
        client.project.upload(8, document, before_sending=lambda: intents.append(1))
    assert intents == []
    assert sandbox.requests == []


def test_reads_draw_on_the_same_bucket(sandbox: Running) -> None:
    """Questions wait for the company's rate limit too."""
    with client_of(sandbox.url, rate=50) as client:
        began = time.monotonic()
        for _ in range(6):
            client.project.order(8)
        assert time.monotonic() - began >= 5 / 50


# Questions


def test_an_order_shows_its_invoices(sandbox: Running, client: Client, document: Snapshot) -> None:
    """What was uploaded is among the order's invoices, with the time at which it was made."""
    before = datetime.now(UTC)
    receipt = client.project.upload(8, document)
    sandbox.store.attach(8, b"%PDF packing slip", attachment_type="PACKING_SLIP")
    order = client.project.order(8).order
    assert [one.id for one in order.invoices] == [receipt.attachment_id]
    assert len(order.attachments) == 2
    created = order.invoices[0].created
    assert created is not None
    assert before <= created <= datetime.now(UTC)


def order_reply(request: Request, **changes: object) -> Reply:
    """Answer with a small order."""
    return as_json({"order": {"id": int(request.path.rsplit("/", 1)[1]), "attachments": []} | changes, "events": []})


def test_the_servers_clock_is_compared_with_the_moment_of_its_answer() -> None:
    """Waiting for the rate limit, or for a slow answer, does not look like a server whose clock is ahead."""

    def slow(request: Request) -> Reply:
        threading.Event().wait(2.2)
        return order_reply(request)

    with scripted(slow) as server, client_of(server.url, timeout=10) as client:
        ahead = client.project.order(8).clock_ahead
    # The Date header has whole seconds only.
    assert timedelta(seconds=-1.5) < ahead <= timedelta(seconds=0.1)


def test_a_server_whose_clock_is_ahead_is_noticed() -> None:
    """The difference between the server's clock and ours is told with the order."""
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")

    class Late(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200)
            self.send_header("date", later)
            self.end_headers()
            self.wfile.write(b'{"order": {"id": 8}}')

        def log_message(self, *_arguments: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Late)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    with client_of(f"http://127.0.0.1:{server.server_address[1]}") as client:
        ahead = client.project.order(8).clock_ahead
    thread.join()
    server.server_close()
    assert ahead == pytest.approx(timedelta(hours=1), abs=timedelta(seconds=5))


def test_all_pages_are_read_once() -> None:
    """250 orders are three pages of at most 100, newest first, each order once."""
    with serve(Options(rate=0, orders=250)) as api, client_of(api.url) as client:
        ids = [order.id for order in client.project.all_orders()]
        assert ids == list(range(250, 0, -1))
        assert [request.query.count("limit=100") for request in api.requests] == [1, 1, 1]


def test_an_order_that_moves_between_pages_comes_once() -> None:
    """A new order that pushes the others down while the pages are read makes none come twice."""
    pages = [[{"id": n} for n in range(200, 100, -1)], [{"id": n} for n in range(101, 0, -1)]]

    def script(_request: Request) -> Reply:
        return as_json({"orders": pages.pop(0) if pages else [], "total": 201})

    with scripted(script) as server, client_of(server.url) as client:
        ids = [order.id for order in client.project.all_orders()]
    assert ids == list(range(200, 0, -1))


def test_a_total_that_is_too_high_ends_with_an_empty_page() -> None:
    """A server whose total is more than it gives does not keep us asking for ever."""
    pages = [[{"id": 1}]]

    def script(_request: Request) -> Reply:
        return as_json({"orders": pages.pop() if pages else [], "total": 10**9})

    with scripted(script) as server, client_of(server.url) as client:
        assert [order.id for order in client.project.all_orders()] == [1]
    assert len(server.asked) == 2


def test_search_and_time_are_asked_for(sandbox: Running, client: Client) -> None:
    """Search text and start date are sent as the API writes them, whatever characters they have."""
    since = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)
    client.project.orders(search="A&b=c #1/ü", since=since, offset=200, limit=7)
    query = dict(httpx.QueryParams(sandbox.requests[0].query))
    assert query == {"search": "A&b=c #1/ü", "start_date": "2026-11-01T12:30:00Z", "offset": "200", "limit": "7"}


def test_an_order_is_found_by_its_exact_number(sandbox: Running, client: Client) -> None:
    """The search is loose (order 20 only mentions 19's number): only an exact number counts."""
    number = marketplace_number(19)
    assert client.project.orders(search=number).total == 2
    assert client.project.find_order(number) == 19
    assert sandbox.requests


@pytest.mark.parametrize("number", ["302-1234567", marketplace_number(7)[:-1], CUSTOMER_SURNAME, "99999", "7"])
def test_a_number_that_no_order_has_exactly_is_not_found(client: Client, number: str) -> None:
    """Parts of numbers, names of customers and Channable's own ids are no marketplace numbers."""
    with pytest.raises(Rejected) as caught:
        client.project.find_order(number)
    assert caught.value.reason is Reason.ORDER_NOT_FOUND


def test_a_number_of_two_orders_is_ambiguous(sandbox: Running, client: Client) -> None:
    """Where two orders have the number, nobody can tell which one is meant, and both are named."""
    sandbox.store.add_order(5, channel_id="X-1")
    sandbox.store.add_order(6, channel_order_number="X-1")
    with pytest.raises(Rejected, match="5, 6") as caught:
        client.project.find_order("X-1")
    assert caught.value.reason is Reason.ORDER_AMBIGUOUS


def test_the_exact_hit_may_stand_on_a_later_page() -> None:
    """A number that more than a hundred orders mention is still found."""
    with serve(Options(rate=0, orders=150)) as api, client_of(api.url) as client:
        for order_id in range(2, 151):
            api.store.add_order(order_id, memo="see NEEDLE-1")
        api.store.add_order(1, channel_id="NEEDLE-1")
        assert client.project.find_order("NEEDLE-1") == 1


def test_the_id_of_one_order_on_two_pages_is_not_ambiguous() -> None:
    """The same order seen twice is one order."""

    def script(_request: Request) -> Reply:
        return as_json(
            {"orders": [{"id": 1, "channel_id": "N", "data": {"extra": {"channel_order_number": "N"}}}] * 2, "total": 2}
        )

    with scripted(script) as server, client_of(server.url) as client:
        assert client.project.find_order("N") == 1


# Downloads


def test_an_attachments_digest_is_that_of_its_bytes(sandbox: Running, client: Client, document: Snapshot) -> None:
    """What is downloaded is hashed, and the token goes to the API only, never to the download host."""
    receipt = client.project.upload(8, document)
    assert client.project.attachment_digest(8, receipt.attachment_id, 1000) == document.sha256
    by_kind = {request.kind: request for request in sandbox.requests}
    assert by_kind["attachment"].had_authorization
    assert not by_kind["download"].had_authorization
    assert by_kind["download"].user_agent == f"invoicedrop/{__version__}"


@pytest.mark.parametrize("request_kind", ["attachment", "download"])
@pytest.mark.parametrize("status", [404, 410])
def test_a_file_that_is_gone_has_no_digest(
    sandbox: Running, client: Client, document: Snapshot, request_kind: str, status: int
) -> None:
    """404 and 410, of the attachment or of its file, mean that there is nothing to compare any more."""
    receipt = client.project.upload(8, document)
    sandbox.faults.add(Kind.STATUS, request_kind, status=status)
    assert client.project.attachment_digest(8, receipt.attachment_id, 1000) is None


@pytest.mark.parametrize("kind", [Kind.TRUNCATE, Kind.RESET_BEFORE_STORE, Kind.HANG_BEFORE_STORE, Kind.STATUS])
def test_a_download_that_fails_is_no_digest(sandbox: Running, document: Snapshot, kind: Kind) -> None:
    """A download that is cut, broken off or answered 500 is unanswered: half a file is not another file."""
    with client_of(sandbox.url, timeout=0.3) as client:
        receipt = client.project.upload(8, document)
        sandbox.faults.add(kind, "download")
        with pytest.raises(Unanswered):
            client.project.attachment_digest(8, receipt.attachment_id, 1000)


def test_a_redirect_of_a_download_is_followed_without_the_token(sandbox: Running, document: Snapshot) -> None:
    """A download may be redirected, as object stores do; no hop ever sees the token."""

    def script(request: Request) -> Reply:
        if request.path.startswith("/v1/"):
            return as_json({"url": f"{server.url}/first"})
        if request.path == "/first":
            return Reply(b"", 302, (("location", f"{sandbox.download_url}/second"), ("content-type", "text/plain")))
        return Reply()

    with scripted(script) as server, client_of(server.url) as client:
        assert client.project.attachment_digest(8, 1, document.size) is None
    assert "authorization" in server.asked[0].headers
    assert "authorization" not in server.asked[1].headers
    (elsewhere,) = sandbox.requests
    assert not elsewhere.had_authorization


def downloads(content: bytes, *headers: tuple[str, str]) -> Callable[[Request], Reply]:
    """Answer as an API whose attachments are all this file."""

    def script(request: Request) -> Reply:
        if request.path.startswith("/v1/"):
            return as_json({"url": f"http://{request.headers['host']}/file"})
        return Reply(content, 200, headers)

    return script


def test_a_compressed_download_is_the_same_file() -> None:
    """A download host that compresses on the way does not make our own invoice look like another one."""
    content = b"%PDF-1.7 " + b"x" * 1000

    def script(request: Request) -> Reply:
        if request.path.startswith("/v1/"):
            return as_json({"url": f"{server.url}/file"})
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Reply(gzip.compress(content), 200, (("content-encoding", "gzip"),))
        return Reply(content)

    with scripted(script) as server, client_of(server.url) as client:
        digest = client.project.attachment_digest(8, 1, len(content))
    assert digest == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("ours", [1000, 65536, 131072])
def test_a_file_that_only_begins_like_ours_is_not_ours(ours: int) -> None:
    """A larger file, however its bytes come in, never has the digest of its own beginning."""
    content = b"%PDF" + b"x" * (ours - 4)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            if self.path.startswith("/v1/"):
                body = json.dumps({"url": f"http://{self.headers['host']}/file"}).encode()
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                return
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for chunk in (content, b"and more"):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_arguments: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        with client_of(f"http://127.0.0.1:{server.server_address[1]}") as client:
            digest = client.project.attachment_digest(8, 1, ours)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert digest != hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "url", ["", "no url", "ftp://127.0.0.1/x", "http://[", "http://127.0.0.1:1/x", "file:///etc/x"]
)
def test_a_download_address_that_leads_nowhere_is_unanswered(url: str) -> None:
    """Whatever stands where the download address should be, it is an unanswered question."""
    with (
        scripted(lambda _request: as_json({"url": url})) as server,
        client_of(server.url) as client,
        pytest.raises(Unanswered),
    ):
        client.project.attachment_digest(8, 1, 1000)


def test_a_download_in_the_clear_is_refused_where_the_api_is_not() -> None:
    """With an https API, a file is never fetched over http, where anybody could put another one in its place."""
    with scripted(downloads(b"x")) as server, client_of("https://api.example") as client:
        with pytest.raises(Unanswered, match="https"):
            client.client.download(f"{server.url}/file", lambda _chunk: None, 10)
        assert server.asked == []


# What answers may lack


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"channel_name": None, "channel_id": None, "created": None, "attachments": None, "data": None},
        {"data": {"extra": None}},
        {"data": {}},
        {"data": {"extra": []}},
        {"data": []},
        {"channel_name": 5, "unknown": {"deep": [1]}},
    ],
    ids=str,
)
def test_an_order_may_lack_what_we_can_live_without(order: dict[str, object]) -> None:
    """Missing, null, empty and unknown fields of an order stop nothing."""
    said = OrderAnswer.model_validate({"order": {"id": 8} | order}).order
    assert said.id == 8
    assert said.invoices == []
    assert said.numbers == frozenset()


@pytest.mark.parametrize(
    ("attachment", "is_invoice"),
    [
        ({"id": 1, "attachment_type": "INVOICE"}, True),
        ({"id": 1, "attachment_type": ["INVOICE", "CREDIT_NOTE"]}, True),
        ({"id": 1, "attachment_type": {"label": "Invoice"}}, True),
        ({"id": 1, "attachment_type": None}, False),
        ({"id": 1, "attachment_type": "PACKING_SLIP", "title": None, "created": None}, False),
        ({"id": 1, "attachment_type": "INVOICE", "title": 5}, True),
    ],
)
def test_an_invoice_is_told_from_other_attachments(attachment: dict[str, object], *, is_invoice: bool) -> None:
    """The type may be a word or labels of several kinds; what is called an invoice is one."""
    assert bool(Order.model_validate({"id": 8, "attachments": [attachment]}).invoices) is is_invoice


def test_a_number_may_be_a_number() -> None:
    """A marketplace number that comes as a JSON number is compared as text; a time without a zone is UTC."""
    order = Order.model_validate({"id": 8, "channel_id": 4711, "created": "2026-11-22T10:00:00"})
    assert order.numbers == {"4711"}
    assert order.created == datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"order": None},
        {"order": {"id": None, "data": {"billing": {"last_name": CUSTOMER_SURNAME}}}},
        {"order": {"id": 8, "attachments": [{"title": CUSTOMER_SURNAME}]}},
        {"order": {"id": 8, "created": CUSTOMER_SURNAME}},
        [CUSTOMER_SURNAME],
    ],
    ids=["empty", "null", "no_id", "attachment_without_id", "no_time", "list"],
)
def test_an_answer_that_cannot_be_read_is_unanswered_and_not_quoted(body: object) -> None:
    """What cannot be lived without is named by its place; the answer itself, which has customers' data, is not told."""
    with (
        scripted(lambda _request: as_json(body)) as server,
        client_of(server.url) as client,
        pytest.raises(Unanswered) as caught,
    ):
        client.project.order(8)
    assert CUSTOMER_SURNAME not in str(caught.value)
    assert CUSTOMER_SURNAME not in repr(caught.value.__cause__)


def test_a_page_may_have_more_than_we_use() -> None:
    """Unknown fields of a page are ignored."""
    assert (
        OrdersPage.model_validate({"orders": [{"id": 1, "x": 1}], "total": 1, "error_count": 0, "next": None}).total
        == 1
    )


def test_an_endless_answer_is_not_read_into_memory() -> None:
    """An answer of far more than a page of orders is broken off."""
    with (
        scripted(lambda _request: Reply(b"x" * (40 * MB))) as server,
        client_of(server.url) as client,
        pytest.raises(Unanswered, match="too large"),
    ):
        client.project.order(8)
