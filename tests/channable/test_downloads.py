"""Downloads, which never see the token."""

import gzip
import hashlib
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from api_caller import Caller, caller_of
from invoicedrop import __version__
from invoicedrop.errors import Unanswered
from invoicedrop.inbox.snapshot import Snapshot
from invoicedrop.sandbox import Kind, Running
from scripted_api import Reply, Request, as_json, scripted, served


def test_an_attachments_digest_is_that_of_its_bytes(sandbox: Running, caller: Caller, invoice: Snapshot) -> None:
    """What is downloaded is hashed, and the token goes to the API only, never to the download host."""
    receipt = caller.project.upload(8, invoice)
    assert caller.project.attachment_digest(8, receipt.attachment_id, 1000) == invoice.sha256
    by_kind = {request.kind: request for request in sandbox.requests}
    assert by_kind["attachment"].had_authorization
    assert not by_kind["download"].had_authorization
    assert by_kind["download"].user_agent == f"invoicedrop/{__version__}"


@pytest.mark.parametrize("request_kind", ["attachment", "download"])
@pytest.mark.parametrize("status", [404, 410])
def test_a_file_that_is_gone_has_no_digest(
    sandbox: Running, caller: Caller, invoice: Snapshot, request_kind: str, status: int
) -> None:
    """404 and 410, of the attachment or of its file, mean that there is nothing to compare any more."""
    receipt = caller.project.upload(8, invoice)
    sandbox.faults.add(Kind.STATUS, request_kind, status=status)
    assert caller.project.attachment_digest(8, receipt.attachment_id, 1000) is None


@pytest.mark.parametrize("kind", [Kind.TRUNCATE, Kind.RESET_BEFORE_STORE, Kind.HANG_BEFORE_STORE, Kind.STATUS])
def test_a_download_that_fails_is_no_digest(sandbox: Running, invoice: Snapshot, kind: Kind) -> None:
    """A download that is cut, broken off or answered 500 is unanswered: half a file is not another file."""
    with caller_of(sandbox.url, timeout=0.2) as caller:
        receipt = caller.project.upload(8, invoice)
        sandbox.faults.add(kind, "download")
        with pytest.raises(Unanswered):
            caller.project.attachment_digest(8, receipt.attachment_id, 1000)


def test_a_redirect_of_a_download_is_followed_without_the_token(sandbox: Running, invoice: Snapshot) -> None:
    """A download may be redirected, as object stores do; no hop ever sees the token."""

    def script(request: Request) -> Reply:
        if request.path.startswith("/v1/"):
            return as_json({"url": f"{server.url}/first"})
        if request.path == "/first":
            return Reply(b"", 302, (("location", f"{sandbox.download_url}/second"), ("content-type", "text/plain")))
        return Reply()

    with scripted(script) as server, caller_of(server.url) as caller:
        assert caller.project.attachment_digest(8, 1, invoice.size) is None
    assert "authorization" in server.requests[0].headers
    assert "authorization" not in server.requests[1].headers
    (redirected,) = sandbox.requests
    assert not redirected.had_authorization


def test_a_download_that_leads_to_the_api_comes_without_the_token(invoice: Snapshot) -> None:
    """Neither a download address on the API's own host nor a redirect back to it gets the token."""

    def script(request: Request) -> Reply:
        if request.path.startswith("/v1/"):
            return as_json({"url": f"{server.url}/file"})
        if request.path == "/file":
            return Reply(b"", 307, (("location", "/v2/other"),))
        return Reply(b"%PDF")

    with scripted(script) as server, caller_of(server.url) as caller:
        digest = caller.project.attachment_digest(8, 1, invoice.size)
    assert digest == hashlib.sha256(b"%PDF").hexdigest()
    assert ["authorization" in request.headers for request in server.requests] == [True, False, False]


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

    with scripted(script) as server, caller_of(server.url) as caller:
        digest = caller.project.attachment_digest(8, 1, len(content))
    assert digest == hashlib.sha256(content).hexdigest()
    assert server.requests[-1].headers["accept-encoding"] == "identity"


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
    with served(server) as url, caller_of(url) as caller:
        digest = caller.project.attachment_digest(8, 1, ours)
    assert digest != hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "url", ["", "no url", "ftp://127.0.0.1/x", "http://[", "http://127.0.0.1:1/x", "file:///etc/x"]
)
def test_a_download_address_that_leads_nowhere_is_unanswered(url: str) -> None:
    """Whatever stands where the download address should be, the read is unanswered."""
    with (
        scripted(lambda _request: as_json({"url": url})) as server,
        caller_of(server.url) as caller,
        pytest.raises(Unanswered),
    ):
        caller.project.attachment_digest(8, 1, 1000)


def test_a_download_in_the_clear_is_refused_where_the_api_is_not() -> None:
    """With an https API, a file is never fetched over http, where anybody could put another one in its place."""
    with scripted(downloads(b"x")) as server, caller_of("https://api.example") as caller:
        with pytest.raises(Unanswered, match="https"):
            caller.client.download(f"{server.url}/file", lambda _chunk: None, 10)
        assert server.requests == []
