"""Answers that are lost: the API is asked before anything is sent again, so that the server has it exactly once.

Each case runs the real service in this process, with its waits made short, until nothing is left to do. What is
measured is what the server has, and how many uploads reached it: a case in which the lost upload had been stored must
not see a second one, even though the server would take it.
"""

import hashlib
import io
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from invoicedrop import exit_codes, logs
from invoicedrop.channable.client import ApiClient
from invoicedrop.channable.rate_limit import RateLimiter
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.pdf.check.verdict import PdfFacts
from invoicedrop.sandbox import Running
from invoicedrop.sandbox.paper import invoice_pdf
from invoicedrop.service.service import Service
from merchant import Merchant
from quick_service import QUICK, UNCHECKED
from unchecked import EveryPdfIsGood
from waiting import wait_until


class Story:
    """The service's log while it works off a drop folder."""

    def __init__(self) -> None:
        self._stream = io.StringIO()
        self.timing = QUICK
        self.validator: type[EveryPdfIsGood] = EveryPdfIsGood

    def events(self, name: str) -> list[dict[str, object]]:
        """Return the lines of this event."""
        lines = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        return [line for line in lines if line["event"] == name]

    def work_off(self, merchant: Merchant, **changes: str) -> int:
        """Start the service until nothing is left to do; return the last exit code."""
        settings = merchant.settings(**({"scan_interval": "30", "request_timeout": "0.5"} | changes))
        logs.configure("json", "info", self._stream)
        try:
            for _ in range(20):
                code = Service(settings, timing=self.timing, validator=self.validator).run(once=True)
                if code != exit_codes.TRY_LATER:
                    return code
                time.sleep(0.05)
        finally:
            logs.configure("auto", "info")
        pytest.fail(f"work is left: {self._stream.getvalue()}")


@pytest.fixture
def story() -> Story:
    """Keep the service's log; its PDFs need no check here, and no process for it."""
    return Story()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sent(api: Running) -> Counter[tuple[int, str]]:
    return Counter((upload.order_id, upload.sha256) for upload in api.uploads())


def _uploads_asked(api: Running) -> int:
    return api.journal.arrived("upload")


_LOST: dict[str, tuple[dict[str, Any], bool]] = {
    "reset while sending": ({"kind": "reset_before_read"}, False),
    "reset before storing": ({"kind": "reset_before_store"}, False),
    "reset after storing": ({"kind": "reset_after_store"}, True),
    "answer cut in the middle": ({"kind": "truncate"}, True),
    "time-out before storing": ({"kind": "hang_before_store"}, False),
    "time-out after storing": ({"kind": "hang_after_store"}, True),
    "answer one byte a second": ({"kind": "slow_drip"}, True),
    "500 before storing": ({"kind": "status", "status": 500}, False),
    "500 after storing": ({"kind": "status", "status": 500, "stored": True}, True),
    "502 before storing": ({"kind": "html", "status": 502}, False),
    "502 after storing": ({"kind": "html", "status": 502, "stored": True}, True),
    "504 before storing": ({"kind": "html", "status": 504}, False),
    "504 after storing": ({"kind": "html", "status": 504, "stored": True}, True),
    "HTML instead of JSON, not stored": ({"kind": "html", "status": 202}, False),
    "HTML instead of JSON, stored": ({"kind": "html", "status": 202, "stored": True}, True),
    "broken JSON": ({"kind": "broken_json"}, True),
    "202 without an id": ({"kind": "accepted_without_id"}, True),
    "a status nobody documents": ({"kind": "status", "status": 599, "stored": True}, True),
}


@pytest.mark.parametrize("case", _LOST)
def test_a_lost_answer_is_asked_about_and_the_server_has_it_once(merchant: Merchant, story: Story, case: str) -> None:
    """Whatever happens to the answer, the server has the invoice once; an upload that was stored is not repeated."""
    fault, stored = _LOST[case]
    api = merchant.sandbox
    api.faults.add(request="upload", count=1, **fault)
    content = merchant.drop_pdf("5.pdf")
    assert story.work_off(merchant) == 0
    assert _sent(api) == {(5, _sha256(content)): 1}
    assert _uploads_asked(api) == (1 if stored else 2)
    assert api.journal.arrived("order") >= 1
    assert (merchant.processed / "5.pdf").read_bytes() == content
    assert len(story.events("upload.unknown")) == 1


def test_an_upload_that_is_stored_after_we_gave_up_waiting_is_found(merchant: Merchant, story: Story) -> None:
    """The server carries an upload out after our time-out, before the second look: it is found and not repeated."""
    api = merchant.sandbox
    api.faults.add("latency", "upload", seconds=0.8, count=1)
    content = merchant.drop_pdf("5.pdf")
    assert story.work_off(merchant, resend_after="1") == 0
    assert _sent(api) == {(5, _sha256(content)): 1}
    assert _uploads_asked(api) == 1
    assert [line["found"] for line in story.events("upload.reconciled")] == [False, True]


def test_an_attachment_that_shows_late_is_found_by_the_second_look(merchant: Merchant, story: Story) -> None:
    """An order that shows its new attachment only some time later is asked again before anything is sent again."""
    api = merchant.sandbox
    api.store.visible_after = 0.3
    api.faults.add("reset_after_store", "upload", count=1)
    content = merchant.drop_pdf("5.pdf")
    assert story.work_off(merchant, resend_after="0.5") == 0
    assert _sent(api) == {(5, _sha256(content)): 1}
    assert [line["found"] for line in story.events("upload.reconciled")] == [False, True]


def _is_unclear(merchant: Merchant, story: Story, name: str) -> None:
    """Check that the invoice waits for a person, in the failed folder; moved back, it is sent all the same, once."""
    assert story.events("invoice.failed")[-1]["reason"] == "outcome_unclear"
    assert "sent all the same" in " ".join((merchant.failed / f"{name}.reason.txt").read_text().split())
    asked = _uploads_asked(merchant.sandbox)
    (merchant.failed / name).rename(merchant.drop / name)
    assert story.work_off(merchant) == 0
    assert story.events("invoice.found")[-1]["waived"] == ["outcome_unclear"]
    assert _uploads_asked(merchant.sandbox) == asked + 1
    assert (merchant.processed / name).exists()


def test_an_attachment_whose_file_is_gone_is_a_question(merchant: Merchant, story: Story) -> None:
    """Where the bytes of something new cannot be had (410), nothing is guessed: a person decides."""
    api = merchant.sandbox
    api.faults.add("reset_after_store", "upload", count=1)
    api.faults.add("gone", "attachment")
    merchant.drop_pdf("5.pdf")
    assert story.work_off(merchant) == 1
    assert _uploads_asked(api) == 1
    assert len(api.uploads()) == 1
    _is_unclear(merchant, story, "5.pdf")


def test_a_second_doubt_after_a_person_s_decision_is_judged_anew(merchant: Merchant, story: Story) -> None:
    """What a person has looked at stops nothing; the answer to the try that follows is lost, and it is found."""
    api = merchant.sandbox
    api.faults.add("reset_after_store", "upload", count=2)
    api.faults.add("gone", "attachment", count=2)
    content = merchant.drop_pdf("5.pdf")
    assert story.work_off(merchant) == 1
    api.store.forget_file(api.uploads()[0].attachment_id)
    (merchant.failed / "5.pdf").rename(merchant.drop / "5.pdf")
    assert story.work_off(merchant) == 0
    assert story.events("upload.reconciled")[-1]["by"] == "content"
    assert _uploads_asked(api) == 2
    assert (merchant.processed / "5.pdf").read_bytes() == content


@pytest.mark.parametrize("created", [timedelta(days=-1), timedelta(days=1), None], ids=str)
def test_what_was_there_before_stops_nothing(merchant: Merchant, story: Story, created: timedelta | None) -> None:
    """An attachment from before our try, whose bytes are gone, is not ours, whatever its date says: ours is sent."""
    api = merchant.sandbox
    moment = None if created is None else datetime.now(UTC) + created
    older = api.store.attach(5, invoice_pdf("older"), created=moment, hidden=() if created else ("created",))
    api.store.forget_file(older.id)
    api.faults.add("reset_before_store", "upload", count=1)
    content = merchant.drop_pdf("5.pdf")
    assert story.work_off(merchant) == 0
    assert _sent(api)[5, _sha256(content)] == 1


@pytest.mark.parametrize("gone", [False, True], ids=["readable", "gone"])
def test_several_invoices_of_one_order_are_not_taken_for_each_other(
    merchant: Merchant, story: Story, gone: bool
) -> None:
    """Two invoices of one order, both answers lost: each gets its own receipt, or, with bytes gone, none is guessed."""
    api = merchant.sandbox
    api.faults.add("reset_after_store", "upload", count=2)
    if gone:
        api.faults.add("gone", "attachment")
    contents = [merchant.drop_pdf("5.pdf"), merchant.drop_pdf("5_2.pdf", invoice_pdf("5", pages=2))]
    assert story.work_off(merchant) == (1 if gone else 0)
    assert _sent(api) == {(5, _sha256(content)): 1 for content in contents}
    with Ledger.open(merchant.state) as ledger:
        receipts = {entry.attachment_id: entry.sha256 for entry in ledger.uploaded_since(0.0)}
    if gone:
        assert receipts == {}
        assert [line["reason"] for line in story.events("invoice.failed")] == ["outcome_unclear"] * 2
    else:
        assert receipts == {upload.attachment_id: upload.sha256 for upload in api.uploads()}


def test_somebody_else_s_upload_at_the_same_moment_is_a_question(merchant: Merchant, story: Story) -> None:
    """Another PDF that comes to the order while our answer is lost may be ours, re-encoded: a person decides."""
    api = merchant.sandbox
    api.faults.add("latency", "upload", seconds=0.2, count=1)
    api.faults.add("reset_before_store", "upload", count=1)
    content = merchant.drop_pdf("5.pdf")

    def somebody_else() -> None:
        api.wait_until(lambda: _uploads_asked(api) == 1)
        api.store.attach(5, invoice_pdf("somebody else's"))

    other = threading.Thread(target=somebody_else)
    other.start()
    assert story.work_off(merchant) == 1
    other.join()
    assert _sent(api) == {(5, _sha256(invoice_pdf("somebody else's"))): 1}
    _is_unclear(merchant, story, "5.pdf")
    assert _sent(api)[5, _sha256(content)] == 1


@pytest.mark.parametrize("listing", ["late", "re-encoded"])
@pytest.mark.parametrize("case", [case for case, (_, stored) in _LOST.items() if stored])
def test_no_lost_answer_doubles_whatever_the_listing_does(
    merchant: Merchant, story: Story, case: str, listing: str
) -> None:
    """Stored, its answer lost, and listed late or with other bytes: never two attachments, never called accepted."""
    fault, _ = _LOST[case]
    api = merchant.sandbox
    if listing == "late":
        api.store.visible_after = 0.3
    else:
        api.store.reencodes = True
    api.faults.add(request="upload", count=1, **fault)
    merchant.drop_pdf("5.pdf")
    assert story.work_off(merchant, resend_after="0.9") == (0 if listing == "late" else 1)
    assert _uploads_asked(api) == 1
    if listing == "late":
        assert (merchant.processed / "5.pdf").exists()
    else:
        assert story.events("invoice.failed")[-1]["reason"] == "outcome_unclear"


def test_an_unanswered_question_sends_nothing(merchant: Merchant, story: Story) -> None:
    """While the API cannot say whether it has the invoice, nothing is sent; when it can, it is found."""
    api = merchant.sandbox
    api.faults.add("reset_after_store", "upload", count=1)
    api.faults.add("status", "order", status=500, count=2)
    api.faults.add("status", "download", status=500, count=1)
    content = merchant.drop_pdf("5.pdf")
    assert story.work_off(merchant) == 0
    assert _uploads_asked(api) == 1
    assert _sent(api) == {(5, _sha256(content)): 1}


def test_downloads_carry_no_token(merchant: Merchant, story: Story) -> None:
    """The other host that attachments are downloaded from never sees the token."""
    api = merchant.sandbox
    api.faults.add("reset_after_store", "upload", count=1)
    merchant.drop_pdf("5.pdf")
    assert story.work_off(merchant) == 0
    downloads = [request for request in api.requests if request.kind == "download"]
    assert downloads
    assert not any(request.had_authorization for request in downloads)


def _checker_of_two(together: threading.Barrier) -> type[EveryPdfIsGood]:
    class InStep(EveryPdfIsGood):
        checked: ClassVar[Iterator[int]] = iter(range(1000))

        def check(self, _fd: int, _size: int, **_more: Any) -> PdfFacts:
            if next(self.checked) < together.parties:
                together.wait()
            return super().check(_fd, _size, **_more)

    return InStep


@pytest.mark.parametrize("known", [False, True], ids=["new", "seen before"])
def test_the_same_invoice_under_two_names_is_in_doubt_under_both(merchant: Merchant, story: Story, known: bool) -> None:
    """While the first copy's answer is lost, the second copy, already waiting its turn, asks too and does not send."""
    api = merchant.sandbox
    content = invoice_pdf("5")
    if known:
        # A first try that was certainly not taken leaves an entry that both copies then know.
        api.faults.add("status", "upload", status=503, count=1)
        merchant.drop_pdf("5.pdf", content)
        assert Service(merchant.settings()).run(once=True) == exit_codes.TRY_LATER
    api.faults.clear()
    api.faults.add("latency", "upload", seconds=0.4, count=1)
    api.faults.add("reset_after_store", "upload", count=1)
    merchant.drop_pdf("5.pdf", content)
    merchant.drop_pdf("5_2.pdf", content)
    before = _uploads_asked(api)
    # Both have recalled what the ledger knows before either sends.
    together = threading.Barrier(2, timeout=10)
    story.validator = _checker_of_two(together)
    assert story.work_off(merchant, request_timeout="5", settle_seconds="0") == 0
    assert _sent(api) == {(5, _sha256(content)): 1}
    assert _uploads_asked(api) == before + 1
    assert {path.read_bytes() for path in merchant.processed.iterdir()} == {content}
    assert len(list(merchant.processed.iterdir())) == 2


class _InTwoPieces(BaseHTTPRequestHandler):
    """Serves a file in two HTTP chunks, of which the first is `first`."""

    protocol_version = "HTTP/1.1"
    first = b""
    second = b""

    def do_GET(self) -> None:
        """Send both chunks, the second one some time after the first."""
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in (self.first, self.second):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            self.wfile.flush()
            time.sleep(0.05)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_args: object) -> None:
        """Stay quiet."""


def test_a_longer_file_that_begins_like_ours_is_not_ours() -> None:
    """A download that goes on after our file's last byte does not have our digest, wherever its pieces end."""
    _InTwoPieces.first, _InTwoPieces.second = invoice_pdf("5"), b"%% an incremental update\n"
    server = HTTPServer(("127.0.0.1", 0), _InTwoPieces)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    url = f"http://127.0.0.1:{server.server_port}"
    digest = hashlib.sha256()
    api = ApiClient.open(url, lambda: "token", RateLimiter(0, 1), request_timeout=5, connections=1)
    try:
        assert api.download(f"{url}/files/1", digest.update, len(_InTwoPieces.first)) == 200
    finally:
        api.close()
        server.shutdown()
        serving.join()
        server.server_close()
    assert digest.hexdigest() != _sha256(_InTwoPieces.first)


def test_the_state_folder_of_another_life_is_asked_about_too(merchant: Merchant, story: Story, tmp_path: Path) -> None:
    """A process that was killed while the server was storing leaves a doubt that the next one clears by asking."""
    api = merchant.sandbox
    api.faults.add("hang_after_store", "upload", count=1)
    content = merchant.drop_pdf("5.pdf")
    daemon = merchant.start(program=UNCHECKED)
    wait_until(lambda: len(api.uploads()) == 1, what="the upload")
    daemon.kill()
    assert story.work_off(merchant) == 0
    assert _uploads_asked(api) == 1
    assert (merchant.processed / "5.pdf").read_bytes() == content
    assert not list(tmp_path.rglob(".invoicedrop-*"))
