"""Checks invoices in child processes, so that no file can hurt or hold up the daemon.

`Validator.check` hands the file's descriptor to a child (`pdf_child`), waits for its verdict as long as the limit
allows, and kills what does not answer. Nothing in this process parses a PDF; nothing is copied: the child maps the
same memory.

Why not a library's process pool: Pebble 5.2 (the one with time limits for single tasks) polls every 0.1 s in several
threads, idle or not, notices an expired task up to 0.1 s late, and pickles its arguments through a shared pipe, so
that it cannot pass a descriptor. What is needed here is small: one child for one thread at a time.

How one slow file is kept from holding up the rest: a check starts in the fast lane, which has `workers` places. One
that has not answered after a moment is a suspect: it goes on, with a low priority, in the slow lane, and its place is
free for the next file. If the slow lane is full, the suspect is stopped and starts again there when its turn comes.
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

from invoicedrop.invoice import Paused, Rejected, Stopping
from invoicedrop.reasons import Reason

_START_SECONDS: Final = 60.0
"""For the interpreter to start and import, on a machine that is busy with other things."""
_LONGEST_ANSWER: Final = 16_384
_SLOW_PRIORITY: Final = 10
"""Nice value of a suspect: it may use what the others leave."""
# The parent's own module path, because -I (which keeps the environment and the current folder out) would not find a
# package that was installed for one user only; -S saves the time of working it out again.
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


class Validator:
    """A few child processes that check PDFs. Thread-safe; `close` it at the end.

    `timeout` is the wall-clock limit of one check in seconds, `memory_mb` the limit of a child's address space in
    MiB, `workers` how many checks run at once (suspects run beside them, at most as many again).
    """

    def __init__(self, *, timeout: float, memory_mb: int, workers: int = 2, _module: str = "invoicedrop.pdf_child") -> None:
        self._timeout = timeout
        self._patience = min(1.0, timeout / 20)
        self._command = _command(_module, memory_mb)
        self._fast = _Lane(workers)
        self._slow = _Lane(max(2, workers))
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._alive: set[_Child] = set()
        self._closed = False

    def check(self, fd: int, size: int, *, max_pages: int = 500, expect: Sequence[str] = ()) -> PdfFacts:
        """Check the PDF in the first `size` bytes behind `fd` (a memfd or a file; it is only read, and stays open).

        `expect` are numbers of the order of which at least one should occur in the text or in the embedded
        e-invoice; whether one does is told in the facts.

        Raises:
            Rejected: the file is no invoice that can be sent; the reason says why.
            Stopping: `close` was called meanwhile.
            Paused: no child can be started (no memory, no processes left): not this file's fault.

        """
        if size == 0:
            raise Rejected(Reason.EMPTY, "the file has 0 bytes")
        request = json.dumps(
            {"size": size, "max_pages": max_pages, "expect": list(expect), "timeout": self._timeout}
        ).encode()
        answer = self._first_try(fd, request)
        if answer is None or answer is Reason.CHECK_TIMEOUT:
            answer = self._try_slowly(fd, request, tries=2 if answer is None else 1)
        elif answer is Reason.CHECK_CRASHED:
            answer = self._first_try(fd, request, fresh=True) or self._try_slowly(fd, request, tries=1)
        if isinstance(answer, Reason):
            raise Rejected(answer, self._trouble(answer))
        if "reason" in answer:
            raise Rejected(Reason(answer["reason"]), answer["detail"])
        return PdfFacts(**answer)

    def close(self) -> None:
        """Kill every child; checks under way raise `Stopping`. May be called more than once."""
        with self._lock:
            self._closed = True
            children = list(self._alive)
            self._idle.clear()
        self._fast.close()
        self._slow.close()
        for child in children:
            self._end(child)

    def _trouble(self, reason: Reason) -> str:
        if reason is Reason.CHECK_TIMEOUT:
            return f"checking it took longer than {self._timeout:g} s, twice"
        return "the checking process died, twice"

    def _first_try(self, fd: int, request: bytes, *, fresh: bool = False) -> "dict[str, Any] | Reason | None":
        """Check in the fast lane; None if it was slow and the slow lane has no place for it now."""
        place = self._fast
        place.enter()
        try:
            child = self._take(fresh=fresh)
            deadline = time.monotonic() + self._timeout
            child.ask(fd, request)
            answer = child.answer(self._patience)
            if answer is Reason.CHECK_TIMEOUT:
                if not self._slow.enter_if_free():
                    self._end(child)
                    return None
                place.leave()
                place = self._slow
                child.give_way()
                answer = child.answer(deadline - time.monotonic())
                child.reusable = False
            self._put_back(child, answer)
            return answer
        finally:
            place.leave()

    def _try_slowly(self, fd: int, request: bytes, *, tries: int) -> "dict[str, Any] | Reason":
        with self._slow.place():
            for _ in range(tries):
                child = self._take(fresh=True)
                child.give_way()
                child.ask(fd, request)
                answer = child.answer(self._timeout)
                child.reusable = False
                self._put_back(child, answer)
                if not isinstance(answer, Reason):
                    break
        return answer

    def _take(self, *, fresh: bool) -> "_Child":
        """Return a child that waits for work: the one used last, or a new one."""
        with self._lock:
            if self._closed:
                raise Stopping("stopped before the PDF was checked")
            if self._idle and not fresh:
                return self._idle.pop()
        child = _Child(self._command)
        with self._lock:
            self._alive.add(child)
            closed = self._closed
        if closed or not child.ready():
            self._end(child)
            if self._closed:
                raise Stopping("stopped before the PDF was checked")
            raise Paused("the process that checks PDFs does not start")
        return child

    def _put_back(self, child: "_Child", answer: "dict[str, Any] | Reason") -> None:
        with self._lock:
            closed = self._closed
            if not closed and child.reusable and not isinstance(answer, Reason):
                self._idle.append(child)
                return
        self._end(child)
        if closed:
            raise Stopping("stopped while the PDF was being checked")

    def _end(self, child: "_Child") -> None:
        child.kill()
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
        with self._lock:
            if self._closed:
                raise Stopping("stopped before the PDF was checked")
            if self._free > 0:
                self._free -= 1
                return
            gate = threading.Event()
            self._waiting.append(gate)
        gate.wait()
        if self._closed:
            raise Stopping("stopped before the PDF was checked")

    def enter_if_free(self) -> bool:
        with self._lock:
            if self._free <= 0:
                return False
            self._free -= 1
            return True

    def leave(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for gate in self._waiting:
                gate.set()

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        self.enter()
        try:
            yield
        finally:
            self.leave()


class _Child:
    """One process that checks PDFs, and our end of the socket to it. Used by one thread at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                # Its own session: Ctrl-C on the terminal is for us to handle. No token in its environment.
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    command,
                    stdin=theirs,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={"LC_ALL": "C.UTF-8"},
                    cwd="/",
                    start_new_session=True,
                )
            except OSError as e:
                ours.close()
                raise Paused(f"the process that checks PDFs cannot be started: {e.strerror}") from e
        self._socket = ours
        self._kill_lock = threading.Lock()
        self.reusable = True

    def ready(self) -> bool:
        """Wait for the child's hello."""
        return self._receive(_START_SECONDS) == {"hello": True}

    def ask(self, fd: int, request: bytes) -> None:
        # A child that died meanwhile is found by the missing answer.
        with contextlib.suppress(OSError):
            self._socket.settimeout(_START_SECONDS)
            socket.send_fds(self._socket, [request + b"\n"], [fd])

    def answer(self, seconds: float) -> dict[str, Any] | Reason:
        """Return what the child found, CHECK_TIMEOUT if it has not answered yet, CHECK_CRASHED if it never will."""
        answer = self._receive(seconds)
        if not isinstance(answer, Reason):
            self.reusable = not answer.pop("last", False)
        return answer

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
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, _SLOW_PRIORITY)

    def kill(self) -> None:
        with self._kill_lock:
            self._process.kill()
            self._process.wait()


def _command(module: str, memory_mb: int) -> list[str]:
    path = [entry for entry in sys.path if entry]
    return [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, module, json.dumps(path), str(memory_mb)]
