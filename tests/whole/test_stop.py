"""A clean stop in every phase of an upload: it ends within the deadline, and what was answered is not asked again.

The service runs as a process of its own against a sandbox, gets SIGTERM or SIGINT when a certain phase is seen to be
reached, and is then started once more. What counts is its exit code, the time it took, what it asks the API after
the restart, and that exactly one attachment is stored there in the end. Where the phase or the restart would only wait,
`quick_service` runs, with shorter waits; else the real command (see also `test_service`, "Signals").

The deadline is `request_timeout` and a few seconds (`Timing.last_wait`); where there is nothing to wait for, it is
set so far away that a stop which waits for it fails.
"""

import os
import signal
import socket
import socketserver
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from select import select
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from invoicedrop.sandbox.paper import invoice_pdf
from invoicedrop.service import status_file
from invoicedrop.timing import Timing
from merchant import Daemon, Merchant, running
from pdfs import invoice
from quick_service import QUICK, UNCHECKED, program
from waiting import wait_until

_FAR_AWAY = "600"
"""A `request_timeout` that no test can wait for."""
_AT_ONCE = 5.0
"""Seconds; a stop that waits for nothing takes far less than one, but the machine may be busy."""
_LAST_WAIT = 0.5
_SLACK = 2.0
"""Seconds by which a deadline may be missed, for a machine that is busy."""
_TIMING = replace(QUICK, last_wait=_LAST_WAIT)


@contextmanager
def _quick_service(
    merchant: Merchant,
    *arguments: str,
    timing: Timing = _TIMING,
    fault: str | None = None,
    checked: bool = False,
    **changes: str,
) -> Iterator[Daemon]:
    """Run the service with short waits while the block runs."""
    with running(merchant, *arguments, program=program(timing, fault=fault, checked=checked), **changes) as daemon:
        yield daemon


def _assert_ends(daemon: Daemon, *, within: float = _AT_ONCE, interrupted: int = 0) -> None:
    """See that it ends in order, in time by the clock of its own log, with this many uploads broken off."""
    assert daemon.wait() == 0, daemon.errors()
    last = daemon.events()[-1]
    assert (last["event"], last["interrupted"]) == ("service.stopped", interrupted), daemon.errors()
    begin, end = (
        datetime.fromisoformat(str(line["timestamp"])) for line in (daemon.events("service.stopping")[0], last)
    )
    assert (end - begin).total_seconds() < within


def _requests_of_the_next_run(merchant: Merchant, **changes: str) -> list[str]:
    """Start once more, until all is worked off; return the kinds of the requests that the API got.

    Its address must be that of the run before: under another one, the ledger knows nothing.
    """
    before = len(merchant.sandbox.requests)
    with _quick_service(merchant, "run", "--once", **changes) as daemon:
        assert daemon.wait() == 0, daemon.errors()
    assert list(merchant.drop.glob("*.pdf")) == []
    return [request.kind for request in merchant.sandbox.requests[before:]]


def _assert_stored_once(merchant: Merchant, *names: str) -> None:
    """See that the server has exactly one attachment of each order, and processed/ each file."""
    assert sorted(upload.order_id for upload in merchant.sandbox.uploads()) == sorted(int(name[0]) for name in names)
    assert {path.name for path in merchant.processed.iterdir()} == set(names)


def _states(merchant: Merchant) -> dict[int, tuple[str, bool]]:
    """Return each order's state in the ledger, and whether it is in doubt."""
    ledger = sqlite3.connect(merchant.state / "ledger.sqlite3")
    rows = ledger.execute("select order_id, state, doubt_since is not null from invoices").fetchall()
    ledger.close()
    return {order: (state, bool(doubt)) for order, state, doubt in rows}


def _wait_for_upload(merchant: Merchant) -> None:
    wait_until(lambda: merchant.sandbox.journal.arrived("upload"), what="an upload")


# Before anything was sent


def test_a_stop_while_a_file_settles_leaves_it_as_it_is(merchant: Merchant) -> None:
    """SIGTERM while a file is still being written: the stop waits for no writer, and the next start takes the file."""
    content = invoice_pdf("5")
    with (merchant.drop / "5.pdf").open("wb", buffering=0) as writer:
        writer.write(content[:700])
        with running(merchant, program=UNCHECKED, settle_seconds=_FAR_AWAY, request_timeout=_FAR_AWAY) as daemon:
            wait_until(lambda: _waiting(merchant) == 1, what="the file to be seen")
            daemon.signal(signal.SIGTERM)
            _assert_ends(daemon)
        assert (merchant.drop / "5.pdf").read_bytes() == content[:700]
        assert merchant.sandbox.requests == []
        writer.write(content[700:])
    assert _requests_of_the_next_run(merchant) == ["order", "upload"]
    _assert_stored_once(merchant, "5.pdf")


def _waiting(merchant: Merchant) -> int:
    report = status_file.read(merchant.state / "service.json")
    return 0 if report is None else report.inboxes["default"].waiting


def test_a_stop_while_a_check_hangs_ends_the_checking_process(merchant: Merchant) -> None:
    """SIGTERM while the checking process does not answer: it is killed, nothing was sent, and nothing is judged."""
    with running(merchant, validator_timeout="10", request_timeout=_FAR_AWAY) as daemon:
        merchant.drop_pdf("1.pdf")
        daemon.wait_for("invoice.processed")
        _template, checker = sorted(psutil.Process(daemon.process.pid).children(), key=psutil.Process.create_time)
        checker.suspend()
        merchant.drop_pdf("5.pdf")
        # Half a second without an answer lowers its priority.
        wait_until(lambda: checker.nice() > 0, what="a check that is slow")
        daemon.signal(signal.SIGTERM)
        _assert_ends(daemon)
        assert not checker.is_running()
    assert list(merchant.failed.iterdir()) == []
    assert _requests_of_the_next_run(merchant) == ["order", "upload"]
    _assert_stored_once(merchant, "1.pdf", "5.pdf")


def test_a_stop_while_waiting_for_the_rate_limit_leaves_no_doubt(merchant: Merchant) -> None:
    """SIGTERM while an invoice waits for its turn: it goes back at once and was never `uploading`, so nothing asks."""
    with running(
        merchant, program=UNCHECKED, requests_per_second="0.01", burst="2", request_timeout=_FAR_AWAY
    ) as daemon:
        merchant.drop_pdf("1.pdf")
        daemon.wait_for("invoice.processed")
        merchant.drop_pdf("5.pdf")
        daemon.wait_for("invoice.validated", 2)
        daemon.signal(signal.SIGTERM)
        _assert_ends(daemon)
        assert len(daemon.events("upload.started")) == 1
    assert _states(merchant) == {1: ("processed", False)}
    assert _requests_of_the_next_run(merchant) == ["order", "upload"]
    _assert_stored_once(merchant, "1.pdf", "5.pdf")


def test_a_stop_during_an_outage_does_not_wait_for_its_end(merchant: Merchant) -> None:
    """SIGTERM while the API is paused: it ends at once, and nothing that was certainly not taken is asked about."""
    merchant.sandbox.faults.add("status", status=503)
    for name in ("1.pdf", "5.pdf", "7.pdf"):
        merchant.drop_pdf(name)
    with running(merchant, program=UNCHECKED, request_timeout=_FAR_AWAY) as daemon:
        daemon.wait_for("api.paused")
        daemon.signal(signal.SIGTERM)
        _assert_ends(daemon)
    assert not any(doubt for _, doubt in _states(merchant).values())
    merchant.sandbox.faults.clear()
    assert Counter(_requests_of_the_next_run(merchant)) == {"order": 3, "upload": 3}
    _assert_stored_once(merchant, "1.pdf", "5.pdf", "7.pdf")


# Connecting, and sending


@contextmanager
def _unreachable_port() -> Iterator[int]:
    """Have a port whose connections are neither made nor refused: its queue is full."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


class _Proxy(socketserver.ThreadingTCPServer):
    """Stands before the sandbox; of what is sent through it, no more than `limit` bytes pass until it is `released`."""

    allow_reuse_address = True
    daemon_threads = True
    limit = 1 << 17

    def __init__(self, merchant: Merchant, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Forwarding)
        # What waits in the buffers between must be less than a large request.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        target = urlsplit(merchant.sandbox.url)
        self.target = (target.hostname, target.port)
        self.received = 0
        self.released = threading.Event()


class _Forwarding(socketserver.BaseRequestHandler):
    server: _Proxy

    def handle(self) -> None:
        """Forward bytes both ways until one end closes."""
        with socket.create_connection(self.server.target) as upstream:
            while True:
                for source in select([self.request, upstream], [], [])[0]:
                    if not (data := source.recv(1 << 16)):
                        return
                    if source is self.request:
                        self.server.received += len(data)
                        if self.server.received > self.server.limit:
                            self.server.released.wait()
                    (upstream if source is self.request else self.request).sendall(data)


@contextmanager
def _proxy(merchant: Merchant, port: int = 0) -> Iterator[_Proxy]:
    with _Proxy(merchant, port) as proxy:
        serving = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield proxy
        finally:
            proxy.released.set()
            proxy.shutdown()
            serving.join()


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _is_connecting(daemon: Daemon, port: int) -> bool:
    connections = psutil.Process(daemon.process.pid).net_connections()
    return any(
        connection.status == psutil.CONN_SYN_SENT and connection.raddr.port == port for connection in connections
    )


def test_a_stop_while_connecting_ends_with_the_connection_s_time(merchant: Merchant) -> None:
    """SIGTERM while no connection is made: it ends by `request_timeout`, certain that nothing was sent."""
    merchant.drop_pdf("5.pdf")
    with (
        _unreachable_port() as port,
        _quick_service(merchant, api_url=_url(port), request_timeout="1", order_check="off") as daemon,
    ):
        wait_until(lambda: _is_connecting(daemon, port), what="an attempt to connect")
        daemon.signal(signal.SIGTERM)
        _assert_ends(daemon, within=1 + _LAST_WAIT + _SLACK)
    assert _states(merchant) == {5: ("received", False)}
    with _proxy(merchant, port):
        assert _requests_of_the_next_run(merchant, api_url=_url(port)) == ["order", "upload"]
    _assert_stored_once(merchant, "5.pdf")


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_leaves_behind_what_cannot_be_broken_off(merchant: Merchant, second: int) -> None:
    """A thread that hangs in the operating system is left behind soon after the second signal; the doubt is on disk."""
    merchant.drop_pdf("5.pdf")
    with (
        _unreachable_port() as port,
        _quick_service(merchant, api_url=_url(port), request_timeout=_FAR_AWAY, order_check="off") as daemon,
    ):
        wait_until(lambda: _is_connecting(daemon, port), what="an attempt to connect")
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("service.stopping")
        daemon.signal(second)
        _assert_ends(daemon, interrupted=1)
    assert _states(merchant) == {5: ("uploading", True)}
    with _proxy(merchant, port):
        assert _requests_of_the_next_run(merchant, api_url=_url(port)) == ["order", "order", "orders", "upload"]
    _assert_stored_once(merchant, "5.pdf")


@pytest.mark.parametrize("in_time", [True, False], ids=["taken in time", "never taken"])
def test_a_stop_while_the_body_is_being_sent(merchant: Merchant, in_time: bool) -> None:
    """SIGTERM while the body is sent: if it is answered in time, all is done; else it certainly was not taken."""
    merchant.drop_pdf("5.pdf", invoice(padding=8_000_000))
    timeout = _FAR_AWAY if in_time else "1.5"
    with _proxy(merchant) as proxy:
        url = _url(proxy.server_address[1])
        with _quick_service(merchant, api_url=url, request_timeout=timeout) as daemon:
            wait_until(lambda: proxy.received > proxy.limit, what="some of the body")
            daemon.signal(signal.SIGTERM)
            daemon.wait_for("service.stopping")
            if in_time:
                proxy.released.set()
            _assert_ends(daemon)
        assert _states(merchant) == {5: ("processed", False) if in_time else ("received", False)}
        proxy.released.set()
        assert _requests_of_the_next_run(merchant, api_url=url) == ([] if in_time else ["order", "upload"])
    _assert_stored_once(merchant, "5.pdf")


# Sent, and not answered yet

_LATE_ANSWERS: dict[str, tuple[dict[str, Any], tuple[str, bool], list[str]]] = {
    # What comes late, what the ledger then says, and what the next run asks.
    "a warning": ({"kind": "accepted_warning"}, ("processed", False), []),
    "a refusal": ({"kind": "status", "status": 422}, ("failed", False), []),
    "maintenance": ({"kind": "status", "status": 503}, ("received", False), ["order", "upload"]),
    "trouble, stored": (
        {"kind": "status", "status": 500, "stored": True},
        ("uploading", True),
        ["order", "attachment", "download"],
    ),
    "trouble, not stored": (
        {"kind": "status", "status": 500},
        ("uploading", True),
        ["order", "order", "orders", "upload"],
    ),
}


@pytest.mark.parametrize("answer", _LATE_ANSWERS)
def test_whatever_is_answered_after_the_stop_is_written_down(merchant: Merchant, answer: str) -> None:
    """An answer that comes within the deadline counts as at any other time: only what it leaves open is asked about."""
    fault, state, requests = _LATE_ANSWERS[answer]
    merchant.sandbox.faults.add("latency", "upload", seconds=0.5, count=1)
    merchant.sandbox.faults.add(request="upload", count=1, **fault)
    merchant.drop_pdf("5.pdf")
    with _quick_service(merchant, request_timeout=_FAR_AWAY) as daemon:
        _wait_for_upload(merchant)
        daemon.signal(signal.SIGTERM)
        _assert_ends(daemon)
    assert _states(merchant) == {5: state}
    assert _requests_of_the_next_run(merchant) == requests
    if state[0] == "failed":
        assert {path.name for path in merchant.failed.iterdir()} == {"5.pdf", "5.pdf.reason.txt"}
        assert merchant.sandbox.uploads() == []
    else:
        _assert_stored_once(merchant, "5.pdf")


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])
def test_an_answer_that_never_comes_is_not_waited_for_beyond_the_deadline(merchant: Merchant, stored: bool) -> None:
    """SIGTERM after sending, and never an answer: it ends by `request_timeout`; the next run asks before it sends."""
    merchant.sandbox.faults.add("hang_after_store" if stored else "hang_before_store", "upload", count=1)
    merchant.drop_pdf("5.pdf")
    with _quick_service(merchant, request_timeout="1") as daemon:
        _wait_for_upload(merchant)
        daemon.signal(signal.SIGTERM)
        _assert_ends(daemon, within=1 + _LAST_WAIT + _SLACK)
    assert _states(merchant) == {5: ("uploading", True)}
    requests = ["order", "attachment", "download"] if stored else ["order", "order", "orders", "upload"]
    assert _requests_of_the_next_run(merchant) == requests
    _assert_stored_once(merchant, "5.pdf")


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_breaks_an_awaited_answer_off_in_order(merchant: Merchant, second: int) -> None:
    """The thread that waits for an answer is woken by a second signal and ends by itself: no thread is left behind."""
    merchant.sandbox.faults.add("hang_after_store", "upload", count=1)
    merchant.drop_pdf("5.pdf")
    with _quick_service(merchant, request_timeout=_FAR_AWAY) as daemon:
        wait_until(merchant.sandbox.uploads, what="an upload")
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("service.stopping")
        daemon.signal(second)
        _assert_ends(daemon)
    assert _requests_of_the_next_run(merchant) == ["order", "attachment", "download"]
    _assert_stored_once(merchant, "5.pdf")


# In doubt


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])
def test_a_stop_between_two_looks_keeps_count_of_them(merchant: Merchant, stored: bool) -> None:
    """SIGTERM while a doubt waits for its second look: it ends at once, and the next run takes only that look."""
    api = merchant.sandbox
    api.store.visible_after = 3600
    api.faults.add("reset_after_store" if stored else "reset_before_store", "upload", count=1)
    merchant.drop_pdf("5.pdf")
    timing = replace(_TIMING, doubt_looks=(0.02, 1.5))
    with _quick_service(merchant, timing=timing, request_timeout=_FAR_AWAY, resend_after="2") as daemon:
        daemon.wait_for("upload.reconciled")
        daemon.signal(signal.SIGTERM)
        _assert_ends(daemon)
        assert len(daemon.events("upload.reconciled")) == 1
    order = api.store.order(5)
    assert order is not None
    for attachment in order.attachments:
        attachment.visible_at = 0
    assert _requests_of_the_next_run(merchant) == [
        "order",
        *(["attachment", "download"] if stored else ["orders", "upload"]),
    ]
    _assert_stored_once(merchant, "5.pdf")


def test_a_look_that_is_answered_after_the_stop_counts(merchant: Merchant) -> None:
    """SIGTERM while the API is being asked: its answer is awaited, and that question is not asked again."""
    api = merchant.sandbox
    api.faults.add("reset_before_store", "upload", count=1)
    api.faults.add("latency", "order", seconds=0.5, count=1, skip=1)
    merchant.drop_pdf("5.pdf")
    with _quick_service(merchant, request_timeout=_FAR_AWAY) as daemon:
        wait_until(lambda: api.journal.arrived("order") == 2, what="a question")
        daemon.signal(signal.SIGTERM)
        _assert_ends(daemon)
    assert _requests_of_the_next_run(merchant) == ["order", "orders", "upload"]
    _assert_stored_once(merchant, "5.pdf")


@pytest.mark.parametrize("answered", [True, False], ids=["sent", "in doubt"])
def test_what_a_run_has_sent_is_known_under_the_order_s_other_number_too(merchant: Merchant, answered: bool) -> None:
    """An order has two numbers of the marketplace's: the same PDF under the other one is not sent again either."""
    merchant.sandbox.store.add_order(5, channel_id="302-5", channel_order_number="M5")
    if not answered:
        merchant.sandbox.faults.add("hang_after_store", "upload", count=1)
    content = merchant.drop_pdf("302-5.pdf")
    with _quick_service(merchant, order_id_kind="marketplace", request_timeout="1") as daemon:
        _wait_for_upload(merchant)
        daemon.signal(signal.SIGTERM)
        _assert_ends(daemon, within=1 + _LAST_WAIT + _SLACK)
    (merchant.drop / "302-5.pdf").unlink(missing_ok=True)
    merchant.drop_pdf("M5.pdf", content)
    requests = ["orders"] if answered else ["orders", "order", "attachment", "download"]
    assert _requests_of_the_next_run(merchant, order_id_kind="marketplace") == requests
    assert len(merchant.sandbox.uploads()) == 1
    assert (merchant.processed / "M5.pdf").read_bytes() == content


# Filing


@pytest.mark.parametrize("comes_back", [True, False], ids=["comes back", "hangs for ever"])
def test_a_stop_while_filing_on_a_folder_that_hangs(merchant: Merchant, comes_back: bool) -> None:
    """SIGTERM while a move does not return: it is awaited until the deadline, and nothing is sent again either way."""
    os.mkfifo(merchant.home / "gate")
    merchant.drop_pdf("5.pdf")
    timeout = _FAR_AWAY if comes_back else "0.5"
    with _quick_service(merchant, fault="move", request_timeout=timeout) as daemon:
        wait_until((merchant.home / "at the move").exists, what="the move")
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("service.stopping")
        if comes_back:
            (merchant.home / "gate").write_bytes(b"")
        _assert_ends(daemon, interrupted=0 if comes_back else 1)
    assert _states(merchant) == {5: ("processed" if comes_back else "uploaded", False)}
    assert _requests_of_the_next_run(merchant) == []
    _assert_stored_once(merchant, "5.pdf")


# Working off


def test_an_interrupted_run_once_says_that_work_is_left(merchant: Merchant) -> None:
    """`run --once`, SIGINT in mid-upload: that one is finished, the others stay, exit 75; none is in doubt."""
    merchant.sandbox.faults.add("latency", "upload", seconds=0.5, count=1)
    names = ("1.pdf", "5.pdf", "7.pdf")
    for name in names:
        merchant.drop_pdf(name)
    with running(merchant, "run", "--once", program=UNCHECKED, upload_workers="1", request_timeout=_FAR_AWAY) as daemon:
        _wait_for_upload(merchant)
        daemon.signal(signal.SIGINT)
        assert daemon.wait() == 75, daemon.errors()
        assert daemon.events()[-1]["event"] == "service.stopped"
    assert len(merchant.sandbox.uploads()) == 1
    assert len(list(merchant.processed.iterdir())) == 1
    assert Counter(_requests_of_the_next_run(merchant)) == {"order": 2, "upload": 2}
    _assert_stored_once(merchant, *names)


# Signals that come together, and what is left behind


def test_a_reload_during_the_stop_breaks_nothing_off(merchant: Merchant) -> None:
    """SIGHUP after SIGTERM (systemd's SendSIGHUP, a closed terminal) asks for no hurry: the answer is awaited."""
    merchant.sandbox.faults.add("latency", "upload", seconds=0.7)
    merchant.drop_pdf("5.pdf")
    with _quick_service(merchant, request_timeout=_FAR_AWAY) as daemon:
        _wait_for_upload(merchant)
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("service.stopping")
        daemon.signal(signal.SIGHUP)
        _assert_ends(daemon)
    assert _states(merchant) == {5: ("processed", False)}
    assert _requests_of_the_next_run(merchant) == []
    _assert_stored_once(merchant, "5.pdf")


def test_two_signals_at_once_are_two(merchant: Merchant) -> None:
    """SIGINT and SIGTERM that come before the loop looks: the second one hurries the stop, as it would have later."""
    merchant.sandbox.faults.add("hang_after_store", "upload", count=1)
    merchant.drop_pdf("5.pdf")
    with _quick_service(merchant, request_timeout=_FAR_AWAY) as daemon:
        merchant.sandbox.wait_until(lambda: len(merchant.sandbox.uploads()) == 1)
        process = psutil.Process(daemon.process.pid)
        process.suspend()
        daemon.signal(signal.SIGTERM)
        daemon.signal(signal.SIGINT)
        process.resume()
        _assert_ends(daemon)
    assert _requests_of_the_next_run(merchant) == ["order", "attachment", "download"]
    _assert_stored_once(merchant, "5.pdf")


def test_an_interrupted_run_once_that_leaves_a_thread_behind_says_that_work_is_left(merchant: Merchant) -> None:
    """`run --once`, two SIGINTs while nothing can be broken off: exit 75, as for any other work that is left."""
    merchant.drop_pdf("5.pdf")
    once = ("run", "--once")
    with (
        _unreachable_port() as port,
        _quick_service(merchant, *once, api_url=_url(port), request_timeout=_FAR_AWAY) as daemon,
    ):
        wait_until(lambda: _is_connecting(daemon, port), what="an attempt to connect")
        daemon.signal(signal.SIGINT)
        daemon.wait_for("service.stopping")
        daemon.signal(signal.SIGINT)
        assert daemon.wait() == 75, daemon.errors()
        assert daemon.events("service.stopped")[0]["interrupted"] == 1


def test_a_fault_of_the_loop_is_logged_although_a_thread_hangs(merchant: Merchant) -> None:
    """When the loop itself fails while a thread hangs, the exit code is no success, and the log says why."""
    os.mkfifo(merchant.home / "gate")
    merchant.drop_pdf("5.pdf")
    with _quick_service(merchant, fault="loop", request_timeout="0.5") as daemon:
        assert daemon.wait() == 1, daemon.errors()
        assert "a mistake in this program" in daemon.errors()
    assert _states(merchant) == {5: ("uploaded", False)}
    assert _requests_of_the_next_run(merchant) == []
    _assert_stored_once(merchant, "5.pdf")
