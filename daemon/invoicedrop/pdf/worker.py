"""The child process that checks PDFs, and what keeps it small and harmless.

It answers one question after another on the socket that is its standard input: a line of JSON with the file's
descriptor beside it (SCM_RIGHTS), then a line of JSON back. It cannot outlive its parent, start programs of its own
accord, write files, or take more memory and processor time than one check may.

Run as `python -m invoicedrop.pdf.worker LIFELINE MEMORY_MB` (see `main`).
"""

import contextlib
import fcntl
import gc
import importlib
import json
import mmap
import os
import resource
import signal
import socket
import sys
from typing import Any, Final

from invoicedrop.pdf.check.verdict import NeedsCryptographyError, Refused

_OPTIONAL: Final = ("PIL", "fontTools", "brotli", "cryptography", "Crypto")
"""What pypdf takes if it is there: time at the start, memory, and code for hostile files to reach."""
_MOST_FILES: Final = 5_000
"""Files after which a fresh process takes over, whatever it looks like."""
_MOST_GROWTH: Final = 48
"""MiB by which a process may have grown since its first file before a fresh one takes over."""
_LONGEST_LINE: Final = 1_048_576
_MIB: Final = 1_048_576
_PIECE: Final = 65_536
_MAPPING: Final = mmap.MAP_PRIVATE | getattr(mmap, "MAP_POPULATE", 0)
"""Private: Linux before 6.7 refuses to share a memfd that is sealed against writing. At once: all of it is read."""
_DESCRIPTORS: Final = 32
_LOOK_EVERY: Final = 16
_LARGE: Final = 1_048_576


def _import_check(*, with_cryptography: bool) -> Any:
    """Import `check` and pypdf with it, without what it does not need; or afresh, with the library that has AES."""
    for name in list(sys.modules):
        package = name.partition(".")[0]
        if package == "pypdf" or package in _OPTIONAL or name in _ABOVE_PYPDF:
            del sys.modules[name]
    for name in _OPTIONAL:
        if name != "cryptography" or not with_cryptography:
            sys.modules[name] = None  # type: ignore[assignment] # as if it were not installed
    return importlib.import_module("invoicedrop.pdf.check.check").check


_ABOVE_PYPDF: Final = tuple(
    f"invoicedrop.pdf.check.{name}" for name in ("check", "document", "metadata", "order_number")
)


class Server:
    """Answers on `connection` until its other end is closed, or a fresh process should take over."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._check = _import_check(with_cryptography=False)
        self._has_cryptography = False
        self._files = 0
        self._first_size = 0
        self._last = False

    def serve(self) -> None:
        """Say hello, then answer."""
        # What has been imported stays: the garbage collector need not look at it again.
        gc.collect()
        gc.freeze()
        self._send({"hello": True})
        while not self._last and (question := self._question()) is not None:
            descriptor, request = question
            _limit_processor_time(request["timeout"])
            try:
                answer = self._answer(descriptor, request)
            finally:
                os.close(descriptor)
            self._grown(request["size"])
            self._send(answer | {"last": self._last})

    def _question(self) -> tuple[int, dict[str, Any]] | None:
        line, descriptors, _, _ = socket.recv_fds(self._connection, _PIECE, 1)
        while line and not line.endswith(b"\n") and len(line) < _LONGEST_LINE:
            line += self._connection.recv(_PIECE)
        return (descriptors[0], json.loads(line)) if line and descriptors else None

    def _answer(self, descriptor: int, request: dict[str, Any]) -> dict[str, Any]:
        if os.fstat(descriptor).st_size < request["size"]:
            return {"reason": "incomplete", "detail": "the file has become shorter than it was"}
        with mmap.mmap(descriptor, request["size"], flags=_MAPPING, prot=mmap.PROT_READ) as data:
            try:
                return self._checked(data, request)
            except Refused as verdict:
                return {"reason": verdict.reason, "detail": verdict.detail}
            except MemoryError:
                return self._unexpected("reading it takes more memory than an invoice can need")
            except RecursionError:
                return self._unexpected("its objects are nested too deep")
            except Exception as e:  # noqa: BLE001 - hostile values can make anything raise
                return self._unexpected(f"it cannot be read ({type(e).__name__})")

    def _unexpected(self, detail: str) -> dict[str, Any]:
        """Return the verdict on a file that broke the check; the parent will see whether it was the file."""
        self._last = True
        return {"reason": "damaged", "detail": detail, "unexpected": True}

    def _checked(self, data: mmap.mmap, request: dict[str, Any]) -> dict[str, Any]:
        wishes = {"max_pages": request["max_pages"], "expect": request["expect"]}
        try:
            return self._facts(data, wishes, request)
        except NeedsCryptographyError:
            if self._has_cryptography:
                raise Refused("encrypted", "it is encrypted with AES, for which the library is missing") from None
        self._has_cryptography = True
        self._check = _import_check(with_cryptography=True)
        return self._checked(data, request)

    def _facts(self, data: mmap.mmap, wishes: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
        facts: dict[str, Any] = self._check(data, **wishes, search_seconds=request["timeout"] / 2)
        return facts

    def _grown(self, size: int) -> None:
        """See whether memory was given back: looked at now and then, and after large files."""
        self._files += 1
        if self._files >= _MOST_FILES:
            self._last = True
        elif self._files == 1:
            self._first_size = _pages(1)
        elif size >= _LARGE or self._files % _LOOK_EVERY == 0:
            self._last = self._last or _pages(1) > self._first_size + _MOST_GROWTH * _MIB

    def _send(self, answer: dict[str, Any]) -> None:
        self._connection.sendall(json.dumps(answer).encode() + b"\n")


def _live_no_longer_than(lifeline: int) -> None:
    """Have the kernel end this process, whatever it is doing, when the other end of the pipe `lifeline` is closed.

    SIGIO, whose default is to terminate, comes for whatever happens on a descriptor (fcntl(2), O_ASYNC), and nothing
    but its end ever happens on this one. (Not on the socket: a question itself can bring the signal there.) A parent
    that is killed closes it, too; the parent-death signal of prctl(2) would come when the thread ends that started us.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _pages(column: int) -> int:
    """Return a column of /proc/self/statm, in bytes: 0 is what is mapped, 1 what is resident. 0 where there is none."""
    try:
        with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123 - 30 microseconds, not 100
            return int(statm.read().split()[column]) * mmap.PAGESIZE
    except OSError:
        return 0


def _limit_processor_time(seconds: float) -> None:
    """Let this check take so much processor time and a little more; then the kernel ends this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds) + 2, hard))


def _limit(kind: int, value: int) -> None:
    with contextlib.suppress(OSError, ValueError):  # not every system has every limit
        resource.setrlimit(kind, (value, value))


def main(connection: socket.socket, lifeline: int, memory_mb: int) -> None:
    """Take on limits that cannot be taken off, and serve."""
    _live_no_longer_than(lifeline)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes the socket
    server = Server(connection)
    sys.dont_write_bytecode = True
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, _DESCRIPTORS)
    _limit(resource.RLIMIT_NPROC, 0)  # neither processes nor threads (the kernel makes an exception for root)
    _limit(resource.RLIMIT_AS, _pages(0) + memory_mb * _MIB)  # beyond what is mapped already: that is no file's doing
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        server.serve()


if __name__ == "__main__":
    main(socket.socket(fileno=0), int(sys.argv[1]), int(sys.argv[2]))
