"""Checks invoices in child processes, so that no file can hurt or hold up the daemon.

`Validator.check` hands the file's descriptor to a child (`worker`), waits for its verdict as long as the limit
allows, and kills what does not answer. Nothing in this process parses a PDF; nothing is copied: the child maps the
same memory.

Why not a library's process pool: Pebble (the one with time limits for single tasks) was measured beside it, see
tests/bench/README.md. What is needed here is small: one child for one thread at a time.

How one slow file is kept from holding up the rest: a check starts in the fast lane, which has `workers` places. One
that has not answered after a moment is a suspect: it goes on, with a low priority, in the slow lane, and its place is
free for the next file. If the slow lane is full, the suspect is stopped and starts again there when its turn comes.
After trouble (a crash, a time-out, an error) there is one more try, which keeps the usual priority: on a busy machine
a file must not fail for want of processor time.

A file is blamed for trouble only if it has it twice, and good PDFs pass in its place right before the second time and
right after it: otherwise the checking itself is broken (half an installation, a library that was changed, no memory
left), and that is no verdict on any invoice. After trouble there is a new template, which has the library as it is
then: one that is mended at any moment costs no file its verdict. (A refusal is proved by the child, see `worker`.)
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from invoicedrop.errors import CheckUnavailable, Rejected, Stopping
from invoicedrop.languages.catalogue import phrase
from invoicedrop.pdf.check.verdict import PdfFacts, Refused, Verdict
from invoicedrop.pdf.good_pdfs import GOOD_PDFS, NUMBER
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
_REMEDY: Final = "is the installation whole, and are memory and processes left?"


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
            closed = self._closed.is_set()
            if not closed:
                self._idle.insert(0, child)  # behind those that are ready
        if closed:
            self._end(child)

    def confinement(self) -> Confinement:
        """Return what confines the children, which one of them says, if good PDFs pass there.

        Raises:
            Stopping, CheckUnavailable: as `check` does.

        """
        self._require_working()
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
                installation, a library that was changed): not this file's fault.

        """
        if size == 0:
            raise Rejected(Reason.EMPTY, phrase("the file has 0 bytes"))
        request = self._request(size, max_pages, expect)
        outcome = self._outcome(_Try(self._fast, fresh=False, gives_way=True), fd, request)
        if isinstance(outcome, Trouble):
            self._require_working()
            lane = self._slow if outcome.kind is TroubleKind.TIMED_OUT else self._fast
            outcome = self._outcome(_Try(lane, fresh=True, gives_way=False), fd, request)
        if isinstance(outcome, Trouble):
            self._require_working()
            raise self._judgement(outcome)
        if isinstance(outcome, Refused):
            raise Rejected(Reason(outcome.reason), outcome.detail)
        return outcome

    def _request(self, size: int, max_pages: int, expect: Sequence[str]) -> bytes:
        question = {"size": size, "max_pages": max_pages, "expect": list(expect), "timeout": self._timeout}
        return json.dumps(question).encode() + b"\n"

    def _outcome(self, plan: _Try, fd: int, request: bytes) -> Verdict | Trouble:
        """Check to the end, if the slow lane has no place by starting again there."""
        outcome = self._try(plan, fd, request)
        while outcome is None:
            outcome = self._try(plan._replace(lane=self._slow, fresh=True), fd, request)
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
                outcome = child.answer(self._patience if lane is self._fast else self._timeout)
                if lane is self._fast and outcome == Trouble(TroubleKind.TIMED_OUT):
                    if not self._slow.enter_if_free():
                        return None
                    lane.leave()
                    lane = self._slow
                    if plan.gives_way:
                        child.give_way()
                    outcome = child.answer(deadline - time.monotonic())
                if isinstance(outcome, Trouble):
                    self._forget(self._alive[child])
                return outcome
        finally:
            lane.leave()

    def _require_working(self) -> None:
        """Check good PDFs in fresh children.

        Raises:
            CheckUnavailable: one does not pass.

        """
        for pdf in GOOD_PDFS:
            try:
                with contextlib.ExitStack() as at_end:
                    fd = anonymous_file()
                    at_end.callback(os.close, fd)
                    os.write(fd, pdf)
                    freeze(fd)
                    request = self._request(len(pdf), _MOST_PAGES, [NUMBER])
                    outcome = self._try(_Try(self._slow, fresh=True, gives_way=False), fd, request)
            except OSError as e:
                raise CheckUnavailable(f"PDFs cannot be checked: {e.strerror}") from e
            if not isinstance(outcome, PdfFacts):
                why = f" ({outcome.detail})" if isinstance(outcome, Trouble) and outcome.detail else ""
                raise CheckUnavailable(f"the process that checks PDFs fails on good ones too{why}: {_REMEDY}")

    def _judgement(self, trouble: Trouble) -> Rejected | CheckUnavailable:
        """Return what trouble means that a file had twice, although good PDFs pass."""
        match trouble.kind:
            case TroubleKind.TIMED_OUT:
                return Rejected(
                    Reason.CHECK_TIMEOUT, phrase("no result after {seconds:g} s, tried twice", seconds=self._timeout)
                )
            case TroubleKind.CRASHED:
                return Rejected(Reason.CHECK_CRASHED, phrase("the process died, tried twice"))
            case TroubleKind.ERROR:
                return Rejected(Reason.DAMAGED, trouble.detail)
            case TroubleKind.BROKEN:
                return CheckUnavailable(f"PDFs cannot be checked now: {trouble.detail}")

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
            idle, self._idle = self._idle, []
            busy = set(self._alive).difference(idle)
        for child in busy:
            child.kill()  # the thread that waits for it sees that, and ends it
        for child in idle:
            self._end(child)

    def _forget(self, template: Template) -> bool:
        """Let go of a template: the next children have the library as it is now. Return whether it was still in use."""
        with self._template_lock:
            in_use = template is self._template
            if in_use:
                self._template = None
                template.end()
        return in_use

    @contextlib.contextmanager
    def _child(self, *, fresh: bool) -> "Iterator[CheckProcess]":
        """Lend a child: the one used last, or a new one. It is kept if it is good for more, else ended."""
        child = self._ready_child(None if fresh else self._waiting_child())
        try:
            yield child
            self._stop_if_closed()
            with self._lock:
                kept = child.reusable and child.files < self._max_files and not self._closed.is_set()
                if kept:
                    self._idle.append(child)
        except BaseException:
            self._end(child)
            raise
        if not kept:
            self._end(child)

    def _ready_child(self, child: CheckProcess | None) -> CheckProcess:
        """Return the child when it is ready; if there is none, or its template was let go of before, a new one."""
        while True:
            if child is None:
                child = self._started()
            if child.ready() and not self._closed.is_set():
                return child
            # In this order: the end of a child that is only being started is waited for.
            broken = self._forget(self._alive[child])
            self._end(child)
            self._stop_if_closed()
            if broken:
                raise CheckUnavailable(f"the process that checks PDFs does not start: {_REMEDY}")
            child = None

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

    def _stop_if_closed(self) -> None:
        if self._closed.is_set():
            raise Stopping(STOPPED)

    def _end(self, child: CheckProcess) -> None:
        child.end()
        with self._lock:
            del self._alive[child]
