"""Checks invoices in child processes, so that no file can hurt or hold up the daemon.

`Validator.check` hands the file's descriptor to a child (`worker`), waits for its verdict as long as the limit
allows, and kills what does not answer. Nothing in this process parses a PDF; nothing is copied: the child maps the
same memory.

Why not a library's process pool: Pebble (the one with time limits for single tasks) was measured beside it, see
tests/bench/README.md. What is needed here is small: one child for one thread at a time.

How one slow file is kept from holding up the rest: a check starts in the fast lane, which has `workers` places. One
that has not answered after a moment is a suspect: it goes on, with a low priority, in the slow lane, and its place is
free for the next file. If the slow lane is full, the suspect is stopped and starts again there when its turn comes.
After a crash or a time-out there is one more try, which keeps the usual priority: on a busy machine a file must not
fail for want of processor time.

A file is blamed for a crash, a time-out or an error only if a good PDF passes in its place: otherwise the checking
itself is broken (half an installation, no memory left), and that is no verdict on any invoice.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from invoicedrop.errors import CheckUnavailable, Rejected, Stopping
from invoicedrop.pdf.check.verdict import PdfFacts, Refused, Verdict
from invoicedrop.pdf.lane import STOPPED, Lane
from invoicedrop.pdf.process import CheckProcess, Trouble, TroubleKind
from invoicedrop.pdf.template import Template, WorkerOptions
from invoicedrop.reasons import Reason
from invoicedrop.system.confinement import Confinement
from invoicedrop.system.sealed_memory import anonymous_file, freeze

_CHECK: Final = "invoicedrop.pdf.check.check:check"
_SUSPECTS: Final = 2
"""Places of the slow lane for each of the fast one: more would let hostile files have all the memory."""
_MOST_PAGES: Final = 500
_GOOD_PDF: Final = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R>>endobj\n4 0 obj<</Length 13>>stream\n"
    b"0 0 m 9 9 l S\nendstream endobj\nxref\n0 5\n0000000000 65535 f \n0000000009 00000 n \n0000000052 00000 n \n"
    b"0000000101 00000 n \n0000000175 00000 n \ntrailer<</Size 5/Root 1 0 R>>\nstartxref\n234\n%%EOF\n"
)
"""The smallest PDF that passes: one page with one line."""


class _Try(NamedTuple):
    """One try of a file: the lane in which it starts, whether in a fresh child, whether in the slow lane it gives way.

    (To the other processes of this machine, by a low priority.)
    """

    lane: Lane
    fresh: bool
    gives_way: bool


class Validator:
    """A few child processes that check PDFs. Thread-safe; `close` it at the end.

    `timeout` is the wall-clock limit of one check in seconds, `memory_mb` how much memory one may take in MiB,
    `workers` how many checks run at once (suspects run beside them, at most twice as many). `check` is the check that
    the children import, as `module:function`; after `max_files` files a child makes room for a fresh one.
    """

    def __init__(
        self, *, timeout: float, memory_mb: int, workers: int = 2, check: str = _CHECK, max_files: int = 200
    ) -> None:
        self._timeout = timeout
        self._patience = min(1.0, timeout / 20)
        self._options = WorkerOptions(check, memory_mb)
        self._max_files = max_files
        self._fast = Lane(workers)
        self._slow = Lane(workers * _SUSPECTS)
        self._lock = threading.Lock()
        self._idle: list[CheckProcess] = []
        self._alive: dict[CheckProcess, Template] = {}
        self._template: Template | None = None
        self._template_lock = threading.Lock()
        self._closed = threading.Event()

    def warm_up(self) -> None:
        """Start the template and a child without waiting for them, so that the first check need not.

        Raises:
            CheckUnavailable: no process can be started.

        """
        child = self._started()
        with self._lock:
            waits = self._alive[child] is self._template
            if waits:
                self._idle.insert(0, child)  # behind those that are ready
        if not waits:
            self._end(child)

    def confinement(self) -> Confinement:
        """Return what confines the children, which one of them says.

        Raises:
            Stopping, CheckUnavailable: as `check` does.

        """
        with self._child(fresh=False) as child:
            assert child.confinement is not None, "it is ready"
            return child.confinement

    def check(self, fd: int, size: int, *, max_pages: int = _MOST_PAGES, expect: Sequence[str] = ()) -> PdfFacts:
        """Check the PDF in the first `size` bytes behind `fd` (a memfd or a file; it is only read, and stays open).

        `expect` are numbers of the order, of which at least one should occur in the text or in the embedded
        e-invoice; the facts say whether one does.

        Raises:
            Rejected: the file is no invoice that can be sent; the reason says why.
            Stopping: `close` was called meanwhile.
            CheckUnavailable: no child can be started, or none works (no memory, no processes left, an incomplete
                installation): not this file's fault.

        """
        if size == 0:
            raise Rejected(Reason.EMPTY, "the file has 0 bytes")
        outcome = self._outcome(fd, self._request(size, max_pages, expect))
        if isinstance(outcome, PdfFacts):
            return outcome
        if isinstance(outcome, Refused):
            raise Rejected(Reason(outcome.reason), outcome.detail)
        self._require_working()
        raise self._blame(outcome)

    def _request(self, size: int, max_pages: int, expect: Sequence[str]) -> bytes:
        question = {"size": size, "max_pages": max_pages, "expect": list(expect), "timeout": self._timeout}
        return json.dumps(question).encode() + b"\n"

    def _outcome(self, fd: int, request: bytes) -> Verdict | Trouble:
        """Try a file; after a crash or a time-out once more."""
        plan = _Try(self._fast, fresh=False, gives_way=True)
        again = True
        while True:
            outcome = self._try(plan, fd, request)
            if outcome is None:
                plan = plan._replace(lane=self._slow, fresh=True)
            elif again and isinstance(outcome, Trouble) and outcome.kind is not TroubleKind.ERROR:
                again = False
                lane = self._slow if outcome.kind is TroubleKind.TIMED_OUT else plan.lane
                plan = _Try(lane, fresh=True, gives_way=False)
            else:
                return outcome

    def _try(self, plan: _Try, fd: int, request: bytes) -> Verdict | Trouble | None:
        """Check once; None if the check is slow, and the slow lane has no place for it now."""
        lane = plan.lane
        lane.enter()
        try:
            with self._child(fresh=plan.fresh) as child:
                if plan.gives_way and lane is self._slow:
                    child.give_way()
                deadline = time.monotonic() + self._timeout
                child.ask(fd, request)
                if lane is self._fast:
                    outcome = child.answer(self._patience)
                    if outcome != Trouble(TroubleKind.TIMED_OUT):
                        return outcome
                    if not self._slow.enter_if_free():
                        return None
                    lane.leave()
                    lane = self._slow
                    if plan.gives_way:
                        child.give_way()
                return child.answer(deadline - time.monotonic())
        finally:
            lane.leave()

    def _require_working(self) -> None:
        """Check a good PDF in a fresh child.

        Raises:
            CheckUnavailable: it does not pass.

        """
        try:
            with contextlib.ExitStack() as at_end:
                fd = anonymous_file()
                at_end.callback(os.close, fd)
                os.write(fd, _GOOD_PDF)
                freeze(fd)
                request = self._request(len(_GOOD_PDF), _MOST_PAGES, ())
                outcome = self._try(_Try(self._slow, fresh=True, gives_way=False), fd, request)
        except OSError as e:
            raise CheckUnavailable(f"PDFs cannot be checked: {e.strerror}") from e
        if not isinstance(outcome, PdfFacts):
            raise CheckUnavailable(
                "the process that checks PDFs fails on good ones too: is the installation whole, and memory left?"
            )

    def _blame(self, trouble: Trouble) -> Rejected:
        """Return the rejection of a file that is to blame for trouble."""
        match trouble.kind:
            case TroubleKind.TIMED_OUT:
                return Rejected(Reason.CHECK_TIMEOUT, f"no result after {self._timeout:g} s, tried twice")
            case TroubleKind.CRASHED:
                return Rejected(Reason.CHECK_CRASHED, "the process died, tried twice")
            case TroubleKind.ERROR:
                return Rejected(Reason.DAMAGED, trouble.detail)

    def close(self) -> None:
        """Kill every child; checks under way raise `Stopping`. May be called more than once."""
        self._closed.set()
        self._fast.close()
        self._slow.close()
        with self._template_lock:
            template = self._template
        if template is not None:
            # First: then those that are being started are there, or never will be.
            self._forget(template)
        with self._lock:
            busy = set(self._alive).difference(self._idle)
        for child in busy:
            child.kill()  # the thread that waits for it sees that, and ends it
        self._end_idle()

    def _forget(self, template: Template) -> None:
        """Let go of a template, and of the children that wait: the next ones have the library as it is now."""
        with self._template_lock:
            if template is not self._template:
                return
            self._template = None
            template.end()
        self._end_idle()

    def _end_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            self._end(child)

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
                kept = child.reusable and child.files < self._max_files and self._alive[child] is self._template
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
        with self._template_lock:
            self._stop_if_closed()
            try:
                if self._template is not None and not self._template.alive:
                    self._template.end()
                    self._template = None
                if self._template is None:
                    self._template = Template.start(self._options)
                child = self._template.fork()
            except OSError as e:
                raise CheckUnavailable(f"the process that checks PDFs cannot be started: {e.strerror}") from e
            with self._lock:
                self._alive[child] = self._template
        return child

    def _await_hello(self, child: CheckProcess) -> None:
        if not child.ready():
            self._stop_if_closed()
            self._forget(self._alive[child])
            raise CheckUnavailable("the process that checks PDFs does not start")
        self._stop_if_closed()

    def _stop_if_closed(self) -> None:
        if self._closed.is_set():
            raise Stopping(STOPPED)

    def _end(self, child: CheckProcess) -> None:
        child.end()
        with self._lock:
            del self._alive[child]
