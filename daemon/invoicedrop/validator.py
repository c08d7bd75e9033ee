"""Checks invoices in child processes, so that no file can hurt or hold up the daemon.

`Validator.check` hands the file's descriptor to a child (`pdf_child`), waits for its verdict as long as the limit
allows, and kills what does not answer. Nothing in this process parses a PDF; nothing is copied: the child maps the
same memory.

Why not a library's process pool: Pebble (the one with time limits for single tasks) was measured beside it, see
tests/bench/README.md. What is needed here is small: one child for one thread at a time.

How one slow file is kept from holding up the rest: a check starts in the fast lane, which has `workers` places. One
that has not answered after a moment is a suspect: it goes on, with a low priority, in the slow lane, and its place is
free for the next file. If the slow lane is full, the suspect is stopped and starts again there when its turn comes.
Its last try has the usual priority: on a busy machine a file must not fail for want of processor time.

A file is blamed for a crash, a time-out or an error only if a good PDF passes in its place: otherwise the checking
itself is broken (half an installation, no memory left), and that is no verdict on any invoice.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from invoicedrop.document import anonymous_file, freeze
from invoicedrop.invoice import CheckUnavailable, Rejected, Stopping
from invoicedrop.reasons import Reason

_START_SECONDS: Final = 60.0
"""For the interpreter to start and import, on a machine that is busy with other things."""
_LONGEST_ANSWER: Final = 16_384
_SLOW_PRIORITY: Final = 10
"""Nice value of a suspect: it may use what the others leave."""
_SUSPECTS: Final = 2
"""For each worker, so many suspects at once: more would let hostile files have all the memory."""
_MOST_PAGES: Final = 500
_STOPPED: Final = "stopped before the PDF was checked"
_GOOD_PDF: Final = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R>>endobj\n4 0 obj<</Length 13>>stream\n"
    b"0 0 m 9 9 l S\nendstream endobj\nxref\n0 5\n0000000000 65535 f \n0000000009 00000 n \n0000000052 00000 n \n"
    b"0000000101 00000 n \n0000000175 00000 n \ntrailer<</Size 5/Root 1 0 R>>\nstartxref\n234\n%%EOF\n"
)
"""The smallest PDF that passes: one page with one line."""
_BOOTSTRAP: Final = (
    "import json, runpy, sys; module, path, *sys.argv[1:] = sys.argv[1:]; sys.path[:] = json.loads(path); "
    "runpy.run_module(module, run_name='__main__')"
)


@dataclass(frozen=True, slots=True)
class PdfFacts:
    """What a checked invoice says about itself, for the log and the ledger; nothing of its content.

    `version` is the PDF version ("1.7"), `producer` the program that wrote it, `pdfa` the PDF/A part and level it
    claims ("3B"), `einvoice` "ZUGFeRD 1", "ZUGFeRD 2", "Factur-X" or "XRechnung". `order_number_found` is None
    when no number was asked for.
    """

    pages: int
    version: str
    producer: str | None
    pdfa: str | None
    einvoice: str | None
    order_number_found: bool | None


class _Unexpected(Rejected):
    """A verdict that came of an error in the check: a good file's, too, if the check is broken."""


_Outcome = PdfFacts | Rejected | Reason
"""What came of one try: facts, a verdict, or the trouble (CHECK_TIMEOUT, CHECK_CRASHED) that it ended in."""


class Validator:
    """A few child processes that check PDFs. Thread-safe; `close` it at the end.

    `timeout` is the wall-clock limit of one check in seconds, `memory_mb` how much memory one may take in MiB,
    `workers` how many checks run at once (suspects run beside them, at most twice as many).
    """

    def __init__(
        self, *, timeout: float, memory_mb: int, workers: int = 2, _module: str = "invoicedrop.pdf_child"
    ) -> None:
        self._timeout = timeout
        self._patience = min(1.0, timeout / 20)
        # Our own module path, because -I (which keeps the environment and the current folder out) would not find a
        # package that was installed for one user only; -S saves the time of working it out again.
        self._command = (_module, json.dumps([entry for entry in sys.path if entry]), str(memory_mb))
        self._fast = _Lane(workers)
        self._slow = _Lane(workers * _SUSPECTS)
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._alive: set[_Child] = set()
        self._closed = threading.Event()

    def warm_up(self) -> None:
        """Start a child without waiting for it, so that the first check need not.

        Raises:
            CheckUnavailable: no process can be started.

        """
        child = self._started()
        with self._lock:
            self._idle.append(child)

    def check(self, fd: int, size: int, *, max_pages: int = _MOST_PAGES, expect: Sequence[str] = ()) -> PdfFacts:
        """Check the PDF in the first `size` bytes behind `fd` (a memfd or a file; it is only read, and stays open).

        `expect` are numbers of the order of which at least one should occur in the text or in the embedded
        e-invoice; whether one does is told in the facts.

        Raises:
            Rejected: the file is no invoice that can be sent; the reason says why.
            Stopping: `close` was called meanwhile.
            CheckUnavailable: no child can be started, or none works (no memory, no processes left, an incomplete
                installation): not this file's fault.

        """
        if size == 0:
            raise Rejected(Reason.EMPTY, "the file has 0 bytes")
        outcome = self._tried_twice(fd, self._request(size, max_pages, expect))
        if isinstance(outcome, PdfFacts):
            return outcome
        if isinstance(outcome, Reason | _Unexpected):
            self._require_working()
        if isinstance(outcome, Rejected):
            raise outcome
        detail = f"no result after {self._timeout:g} s" if outcome is Reason.CHECK_TIMEOUT else "the process died"
        raise Rejected(outcome, f"{detail}, tried twice")

    def _request(self, size: int, max_pages: int, expect: Sequence[str]) -> bytes:
        question = {"size": size, "max_pages": max_pages, "expect": list(expect), "timeout": self._timeout}
        return json.dumps(question).encode() + b"\n"

    def _tried_twice(self, fd: int, request: bytes) -> _Outcome:
        """Check; after a crash or a time-out once more, in a fresh child."""
        outcome = self._first_try(fd, request)
        if outcome is Reason.CHECK_CRASHED:
            outcome = self._first_try(fd, request, fresh=True)
            return self._try_slowly(fd, request) if outcome is None else outcome
        if outcome is None:
            outcome = self._try_slowly(fd, request, give_way=True)
            return self._try_slowly(fd, request) if isinstance(outcome, Reason) else outcome
        return self._try_slowly(fd, request) if outcome is Reason.CHECK_TIMEOUT else outcome

    def _require_working(self) -> None:
        """See that a good PDF passes in a fresh child; raise CheckUnavailable if it does not."""
        try:
            with contextlib.ExitStack() as at_end:
                fd = anonymous_file()
                at_end.callback(os.close, fd)
                os.write(fd, _GOOD_PDF)
                freeze(fd)
                outcome = self._try_slowly(fd, self._request(len(_GOOD_PDF), _MOST_PAGES, ()))
        except OSError as e:
            raise CheckUnavailable(f"PDFs cannot be checked: {e.strerror}") from e
        if not isinstance(outcome, PdfFacts):
            raise CheckUnavailable(
                "the process that checks PDFs fails on good ones too: is the installation whole, and memory left?"
            )

    def close(self) -> None:
        """Kill every child; checks under way raise `Stopping`. May be called more than once."""
        self._closed.set()
        self._fast.close()
        self._slow.close()
        with self._lock:
            idle, self._idle = self._idle, []
            busy = self._alive.difference(idle)
        for child in busy:
            child.kill()  # whoever waits for it sees that, and ends it
        for child in idle:
            self._end(child)

    def _first_try(self, fd: int, request: bytes, *, fresh: bool = False) -> _Outcome | None:
        """Check in the fast lane; None if it was slow and the slow lane has no place for it now."""
        place = self._fast
        place.enter()
        try:
            with self._child(fresh=fresh) as child:
                deadline = time.monotonic() + self._timeout
                child.ask(fd, request)
                outcome = child.answer(self._patience)
                if outcome is not Reason.CHECK_TIMEOUT:
                    return outcome
                if not self._slow.enter_if_free():
                    return None
                place.leave()
                place = self._slow
                child.give_way()
                return child.answer(deadline - time.monotonic())
        finally:
            place.leave()

    def _try_slowly(self, fd: int, request: bytes, *, give_way: bool = False) -> _Outcome:
        self._slow.enter()
        try:
            with self._child(fresh=True) as child:
                if give_way:
                    child.give_way()
                child.ask(fd, request)
                return child.answer(self._timeout)
        finally:
            self._slow.leave()

    @contextlib.contextmanager
    def _child(self, *, fresh: bool) -> "Iterator[_Child]":
        """Lend a child: the one used last, or a new one. It is kept if it is good for more, else ended."""
        child = None if fresh else self._waiting_child()
        if child is None:
            child = self._started()
        try:
            self._await_hello(child)
            yield child
            self._stop_if_closed()
            with self._lock:
                kept = child.reusable and not self._closed.is_set()
                if kept:
                    self._idle.append(child)
        except BaseException:
            self._end(child)
            raise
        if not kept:
            self._end(child)

    def _waiting_child(self) -> "_Child | None":
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _started(self) -> "_Child":
        try:
            child = _Child(self._command)
        except OSError as e:
            raise CheckUnavailable(f"the process that checks PDFs cannot be started: {e.strerror}") from e
        with self._lock:
            self._alive.add(child)
        if self._closed.is_set():
            self._end(child)
        self._stop_if_closed()
        return child

    def _await_hello(self, child: "_Child") -> None:
        if not child.ready():
            self._stop_if_closed()
            raise CheckUnavailable("the process that checks PDFs does not start")

    def _stop_if_closed(self) -> None:
        if self._closed.is_set():
            raise Stopping(_STOPPED)

    def _end(self, child: "_Child") -> None:
        child.end()
        with self._lock:
            self._alive.discard(child)


class _Lane:
    """So many at a time, first come, first served."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()
        self._closed = False

    def enter(self) -> None:
        """Wait for a place; raise Stopping if there will be none."""
        with self._lock:
            if self._closed:
                raise Stopping(_STOPPED)
            if self._free > 0:
                self._free -= 1
                return
            gate = threading.Event()
            self._waiting.append(gate)
        gate.wait()
        if self._closed:
            raise Stopping(_STOPPED)

    def enter_if_free(self) -> bool:
        with self._lock:
            if self._free <= 0:
                return False
            self._free -= 1
            return True

    def leave(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()  # the place is handed over: nobody can slip in between
            else:
                self._free += 1

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for gate in self._waiting:
                gate.set()


class _Child:
    """One process that checks PDFs, and our end of the socket to it. Used by one thread at a time."""

    def __init__(self, command: tuple[str, str, str]) -> None:
        module, path, memory = command
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as on_failure:
            on_failure.callback(ours.close)
            # Nothing is ever written there: when our end is closed, or we are dead, the child ends.
            their_lifeline, self._lifeline = os.pipe()
            on_failure.callback(os.close, self._lifeline)
            try:
                # Its own session: Ctrl-C on the terminal is for us to handle. No token in its environment.
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, module, path, str(their_lifeline), memory],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[their_lifeline],
                    env={"LC_ALL": "C.UTF-8"},
                    cwd="/",
                    start_new_session=True,
                )
            finally:
                os.close(their_lifeline)
            on_failure.pop_all()
        self._socket = ours
        self._kill_lock = threading.Lock()
        self._said_hello = False
        self._slowed = False
        self.reusable = False

    def ready(self) -> bool:
        """Wait for the child's hello, once."""
        if not self._said_hello:
            self._said_hello = self._receive(_START_SECONDS) == {"hello": True}
        return self._said_hello

    def ask(self, fd: int, request: bytes) -> None:
        # One that died while it was idle shows in the answer.
        with contextlib.suppress(OSError):
            self._socket.settimeout(_START_SECONDS)
            sent = socket.send_fds(self._socket, [request], [fd])
            self._socket.sendall(request[sent:])

    def answer(self, seconds: float) -> _Outcome:
        """Return what the child found, CHECK_TIMEOUT if it has not answered yet, CHECK_CRASHED if it never will."""
        self.reusable = False
        answer = self._receive(seconds)
        if isinstance(answer, Reason):
            return answer
        try:
            last = answer.pop("last")
            verdict = _Unexpected if answer.pop("unexpected", False) else Rejected
            outcome = (
                verdict(Reason(answer["reason"]), str(answer["detail"])) if "reason" in answer else PdfFacts(**answer)
            )
        except (KeyError, TypeError, ValueError):
            return Reason.CHECK_CRASHED  # no answer of ours: something else speaks there
        self.reusable = not last and not self._slowed
        return outcome

    def _receive(self, seconds: float) -> dict[str, Any] | Reason:
        deadline = time.monotonic() + seconds
        line = b""
        try:
            while not line.endswith(b"\n"):
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                piece = self._socket.recv(_LONGEST_ANSWER)
                line += piece
                if not piece or len(line) > _LONGEST_ANSWER:
                    return Reason.CHECK_CRASHED
            answer = json.loads(line)
        except TimeoutError:
            return Reason.CHECK_TIMEOUT
        except (OSError, ValueError):
            return Reason.CHECK_CRASHED
        return answer if isinstance(answer, dict) else Reason.CHECK_CRASHED

    def give_way(self) -> None:
        """Give this process a low priority, for good: nobody may raise it again."""
        self._slowed = True
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, _SLOW_PRIORITY)

    def kill(self) -> None:
        """Kill the process and wait until it is gone; may be called by any thread."""
        with self._kill_lock:
            self._process.kill()
            self._process.wait()

    def end(self) -> None:
        """Kill the process and forget it; for the thread that uses it."""
        self.kill()
        self._socket.close()
        os.close(self._lifeline)
