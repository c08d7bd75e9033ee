"""Checks invoices in child processes, so that no file can hurt or hold up the daemon.

`Validator.check` hands the file's descriptor to a child (`worker`), waits for its verdict as long as the limit
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
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from invoicedrop.errors import CheckUnavailable, Rejected, Stopping
from invoicedrop.pdf.check.verdict import PdfFacts
from invoicedrop.pdf.process import CheckProcess, Outcome, Unexpected
from invoicedrop.reasons import Reason
from invoicedrop.system.sealed_memory import anonymous_file, freeze

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


class Validator:
    """A few child processes that check PDFs. Thread-safe; `close` it at the end.

    `timeout` is the wall-clock limit of one check in seconds, `memory_mb` how much memory one may take in MiB,
    `workers` how many checks run at once (suspects run beside them, at most twice as many).
    """

    def __init__(
        self, *, timeout: float, memory_mb: int, workers: int = 2, _module: str = "invoicedrop.pdf.worker"
    ) -> None:
        self._timeout = timeout
        self._patience = min(1.0, timeout / 20)
        # Our own module path, because -I (which keeps the environment and the current folder out) would not find a
        # package that was installed for one user only; -S saves the time of working it out again.
        self._command = (_module, json.dumps([entry for entry in sys.path if entry]), str(memory_mb))
        self._fast = _Lane(workers)
        self._slow = _Lane(workers * _SUSPECTS)
        self._lock = threading.Lock()
        self._idle: list[CheckProcess] = []
        self._alive: set[CheckProcess] = set()
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
        if isinstance(outcome, Reason | Unexpected):
            self._require_working()
        if isinstance(outcome, Rejected):
            raise outcome
        detail = f"no result after {self._timeout:g} s" if outcome is Reason.CHECK_TIMEOUT else "the process died"
        raise Rejected(outcome, f"{detail}, tried twice")

    def _request(self, size: int, max_pages: int, expect: Sequence[str]) -> bytes:
        question = {"size": size, "max_pages": max_pages, "expect": list(expect), "timeout": self._timeout}
        return json.dumps(question).encode() + b"\n"

    def _tried_twice(self, fd: int, request: bytes) -> Outcome:
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

    def _first_try(self, fd: int, request: bytes, *, fresh: bool = False) -> Outcome | None:
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

    def _try_slowly(self, fd: int, request: bytes, *, give_way: bool = False) -> Outcome:
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
    def _child(self, *, fresh: bool) -> "Iterator[CheckProcess]":
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

    def _waiting_child(self) -> CheckProcess | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _started(self) -> CheckProcess:
        try:
            child = CheckProcess(self._command)
        except OSError as e:
            raise CheckUnavailable(f"the process that checks PDFs cannot be started: {e.strerror}") from e
        with self._lock:
            self._alive.add(child)
        if self._closed.is_set():
            self._end(child)
        self._stop_if_closed()
        return child

    def _await_hello(self, child: CheckProcess) -> None:
        if not child.ready():
            self._stop_if_closed()
            raise CheckUnavailable("the process that checks PDFs does not start")

    def _stop_if_closed(self) -> None:
        if self._closed.is_set():
            raise Stopping(_STOPPED)

    def _end(self, child: CheckProcess) -> None:
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
