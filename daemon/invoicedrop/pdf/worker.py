"""The child processes that check PDFs, and what keeps them small and harmless.

One of them, the template, imports the check, and forks the others when it is asked to, already as children of our
parent (`system/sibling`). It never sees a PDF, and holds no descriptors but its own two.

Each other one, a worker, answers one question after another on the socket that is its standard input: a line of JSON
with the file's descriptor beside it (SCM_RIGHTS), then a line of JSON back. It cannot outlive its parent, or take more
memory and processor time than one check may. Before it reads a byte of a PDF it is confined (`confinement`): it opens
no files but those of the libraries that it has imported, and has no network, no signals, no other processes and
programs.

What it says against a file it says only if good PDFs pass in the same process at that moment (`good_pdfs`): a library
that was changed, or is broken, refuses them as well, by whatever it raises or returns, and also by our own rules.

Workers of one template share their layout of memory (ASLR) and their hash seed. That helps a file only if an earlier
one could tell it what they are: a PDF gets no answer, and after one that crashes its process there is a new template.

`process` starts the template, by calling `main` in a fresh interpreter.
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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from invoicedrop.pdf.check.verdict import PdfFacts, Refused
from invoicedrop.pdf.good_pdfs import GOOD_PDFS, NUMBER
from invoicedrop.system.confinement import Confinement, confine
from invoicedrop.system.sibling import fork_sibling

_HIDDEN: Final = ("PIL", "fontTools", "brotli", "Crypto")
"""What pypdf takes if it is there: time at the start, memory, and code for hostile files to reach."""
_SYSTEM_LIBRARIES: Final = frozenset(
    map(Path, ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"))
)
_MOST_GROWTH: Final = 48
"""MiB by which a process may have grown since its first file before a fresh one takes over."""
_LONGEST_LINE: Final = 1_048_576
_MIB: Final = 1_048_576
_PIECE: Final = 65_536
_MAPPING: Final = mmap.MAP_PRIVATE | getattr(mmap, "MAP_POPULATE", 0)
"""Private: Linux before 6.7 refuses to share a memfd that is sealed against writing. At once: all of it is read."""
_DESCRIPTORS: Final = 32
_LOOK_EVERY: Final = 16
"""Files from one look at the process's size to the next."""
_STATM_LINE: Final = 256
_LARGE: Final = 1_048_576
"""Bytes of a file behind which the size is looked at in any case."""

_TOO_MUCH: Final = "reading it takes more memory than an invoice can need"

Check = Callable[..., PdfFacts]


def _import_check(name: str) -> Check:
    """Import the check `name` (`module:function`), and pypdf without the libraries that the check does not need."""
    hidden = list(_HIDDEN)
    try:
        importlib.import_module("cryptography.hazmat.primitives.ciphers")
    except Exception:  # noqa: BLE001 - half an installation, or it does not fit the system's OpenSSL
        hidden.append("cryptography")
    for library in hidden:
        sys.modules[library] = None  # type: ignore[assignment] # as if it were not installed
    module, _, function = name.partition(":")
    check: Check = getattr(importlib.import_module(module), function)
    return check


class Server:
    """Answers on `connection` until its other end is closed, or a fresh process should take over.

    `memory` is how many bytes a check may take; `statm` is our /proc/self/statm, open (None where there is none).
    """

    def __init__(self, connection: socket.socket, check: Check, memory: int, statm: int | None) -> None:
        self._connection = connection
        self._memory = memory
        self._check = check
        self._statm = statm
        self._files = 0
        self._first_size = 0
        self._last = False

    def serve(self, confinement: Confinement) -> None:
        """Say hello, and what confines us, then answer."""
        self._send({"hello": confinement._asdict()})
        while not self._last and (question := self._question()) is not None:
            descriptor, request = question
            _limit_processor_time(request["timeout"])
            try:
                answer = self._answer(descriptor, request)
            finally:
                os.close(descriptor)
            self._count(request["size"])
            self._send(answer | {"last": self._last})

    def _question(self) -> tuple[int, dict[str, Any]] | None:
        line, descriptors, _, _ = socket.recv_fds(self._connection, _PIECE, 1)
        while line and not line.endswith(b"\n") and len(line) < _LONGEST_LINE:
            line += self._connection.recv(_PIECE)
        return (descriptors[0], json.loads(line)) if line and descriptors else None

    def _answer(self, descriptor: int, request: dict[str, Any]) -> dict[str, Any]:
        """Return the verdict on a file; one against it only if good PDFs pass here and now."""
        if os.fstat(descriptor).st_size < request["size"]:
            return _refusal(Refused("incomplete", "the file has become shorter than it was"))
        wishes = {name: request[name] for name in ("max_pages", "expect")} | {"search_seconds": request["timeout"] / 2}
        try:
            data = mmap.mmap(descriptor, request["size"], flags=_MAPPING, prot=mmap.PROT_READ)
        except (OSError, MemoryError):
            return self._failed({"broken": "there is no memory for a file of its size (validator_memory_mb)"})
        with data:
            answer = self._verdict(data, wishes)
        if "error" in answer:
            answer = self._failed(answer)
        if "facts" not in answer or answer["facts"]["order_number_found"] is False:
            # What a file may take of memory, or much of it, must be there to be had before it is said to take too much.
            memory = self._memory // 2 if answer.get("error") == _TOO_MUCH else 1
            trouble = self._trouble_with_good_ones(memory)
            if trouble is not None:
                return self._failed({"broken": trouble})
        return answer

    def _verdict(self, data: mmap.mmap, wishes: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return {"facts": asdict(self._check(data, **wishes))}
        except Refused as refused:
            return _refusal(refused)
        except MemoryError:
            return {"error": _TOO_MUCH}
        except RecursionError:
            return {"error": "its objects are nested too deep"}
        except Exception as e:  # noqa: BLE001 - hostile values can make anything raise
            return {"error": f"it cannot be read ({type(e).__name__})"}

    def _failed(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return an answer that is no verdict: the last one of this process."""
        self._last = True
        return answer

    def _trouble_with_good_ones(self, memory: int) -> str | None:
        """Return why good PDFs do not pass, or that so many bytes are not to be had; None if all is well."""
        gc.collect()  # what the file's own check has left
        try:
            mmap.mmap(-1, memory, flags=mmap.MAP_PRIVATE).close()
            for pdf in GOOD_PDFS:
                with mmap.mmap(-1, len(pdf)) as data:
                    data[:] = pdf
                    verdict = self._verdict(data, {"max_pages": 1, "expect": [NUMBER], "search_seconds": 60.0})
                    if "facts" not in verdict:
                        return str(verdict.get("error") or verdict["refused"]["detail"])
                    if verdict["facts"]["order_number_found"] is not True:
                        return "an order's number that is there is not found"
        except (OSError, MemoryError):
            return "there is less memory than validator_memory_mb says"
        return None

    def _count(self, size: int) -> None:
        """Count a file of `size` bytes; now and then, and after large ones, find out whether memory was given back."""
        self._files += 1
        if self._files == 1:
            self._first_size = _pages(self._statm, 1)
        elif size >= _LARGE or self._files % _LOOK_EVERY == 0:
            self._last = self._last or _pages(self._statm, 1) > self._first_size + _MOST_GROWTH * _MIB

    def _send(self, answer: dict[str, Any]) -> None:
        self._connection.sendall(json.dumps(answer).encode() + b"\n")


def _refusal(refused: Refused) -> dict[str, Any]:
    return {"refused": {"reason": refused.reason, "detail": refused.detail}}


def _live_no_longer_than(lifeline: int) -> None:
    """Have the kernel end this process, whatever it is doing, when the other end of the pipe `lifeline` is closed.

    SIGIO, whose default is to terminate, comes for whatever happens on a descriptor (fcntl(2), O_ASYNC), and nothing
    but its end ever happens on this one. (Not on the socket: a question itself can bring the signal there.) A parent
    that is killed closes it, too; the parent-death signal of prctl(2) would come when the thread ends that started us.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _open_statm() -> int | None:
    """Open /proc/self/statm, which can be read for good then."""
    try:
        return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _pages(statm: int | None, column: int) -> int:
    """Return a column of /proc/self/statm, in bytes: 0 is what is mapped, 1 what is resident. 0 where there is none."""
    return 0 if statm is None else int(os.pread(statm, _STATM_LINE, 0).split()[column]) * mmap.PAGESIZE


def _limit_processor_time(seconds: float) -> None:
    """Let this check take that much processor time and a little more; then the kernel ends this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds) + 2, hard))


def _libraries() -> set[Path]:
    """Return what may be read: the standard library, the packages that have been imported, and the system's libraries.

    A file that an import needs later is among them. The folders of sys.path are not: one may be the current folder.
    """
    standard = Path(os.__file__).parent
    libraries = {standard, *_SYSTEM_LIBRARIES, *(path for path in map(Path, sys.path) if path.name == "lib-dynload")}
    for name, module in sys.modules.items():
        origin = getattr(module, "__file__", None)
        if "." not in name and origin is not None and standard not in Path(origin).parents:
            # It may be a link into a store of packages.
            files = {Path(origin), Path(origin).resolve()}
            libraries |= {file.parent for file in files} if hasattr(module, "__path__") else files
    return libraries


def _limit(kind: int, value: int) -> None:
    with contextlib.suppress(OSError, ValueError):  # not every system has every limit
        resource.setrlimit(kind, (value, value))


def main(*, lifeline: int, check: str, memory_mb: int) -> None:
    """Be the template: for each message on standard input fork a worker, which is handed what came with it.

    `lifeline` is the reading end of a pipe, `check` the check as `module:function`, `memory_mb` how much memory a check
    may take in MiB.
    """
    _live_no_longer_than(lifeline)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes the socket
    gc.disable()  # a tenth of the start; workers go on with it
    function = _import_check(check)
    sys.dont_write_bytecode = True
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, _DESCRIPTORS)
    libraries = _libraries()
    # What has been imported stays: workers need not look at it again, and so go on sharing it.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=0) as requests:
        while descriptors := socket.recv_fds(requests, 1, 2)[1]:
            try:
                if fork_sibling() == 0:
                    requests.detach()
                    os.close(lifeline)
                    break
            except OSError:
                pass  # closing what came with it tells the parent
            for descriptor in descriptors:
                os.close(descriptor)
        else:
            return
    connection, lifeline = descriptors
    os.dup2(connection, 0)
    os.close(connection)
    _work(lifeline, function, memory_mb, libraries)


def _work(lifeline: int, check: Check, memory_mb: int, libraries: Iterable[Path]) -> None:
    """Be a worker: take on limits that cannot be taken off, and serve on standard input."""
    with socket.socket(fileno=0) as connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(os.getpid().to_bytes(4, "big"))
        _live_no_longer_than(lifeline)
        gc.enable()
        statm = _open_statm()
        _limit(resource.RLIMIT_NPROC, 0)  # neither processes nor threads (the kernel makes an exception for root)
        # Beyond what is mapped already: that is no file's doing.
        memory = memory_mb * _MIB
        _limit(resource.RLIMIT_AS, _pages(statm, 0) + memory)
        Server(connection, check, memory, statm).serve(confine(libraries))
