"""Checks that do what their files tell them to, or fail on any file: run by the real worker within its real limits.

They take the place of the real check (`Validator(check="stub_checks:...")`), and do its work where nothing is asked of
them.
"""

import ctypes
import encodings
import fcntl
import importlib
import json
import mmap
import os
import pkgutil
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pypdf

import forbidden
from invoicedrop.pdf.check.check import check as real_check
from invoicedrop.pdf.check.verdict import PdfFacts, Refused


def obedient(data: mmap.mmap, **wishes: Any) -> PdfFacts:
    """Do what the file's first line says, with what its second line says; then check it."""
    order, _, rest = data[:1000].partition(b"\n")
    if order in ORDERS:
        ORDERS[order](rest.split(b"\n")[0].decode("latin-1"))
    if order == b"RECURSE":
        return obedient(data, **wishes)
    if order == b"ONCE":
        # The second time, what follows is a PDF.
        body = data[:].split(b"\n", 1)[1]
        with mmap.mmap(-1, len(body)) as copy:
            copy[:] = body
            return real_check(copy, **wishes)
    return real_check(data, **wishes)


def answer(line: bytes) -> None:
    """Send something to the parent that the worker has not written."""
    os.write(0, line + b"\n")


def loop() -> None:
    """Use the processor for ever."""
    while True:
        pass


def hog() -> None:
    """Take more memory than there is."""
    print(len([bytearray(2**30) for _ in range(10)]))


def crash_once() -> None:
    """Die, but only the first time: where we read the file is the same place for every process that is given it."""
    fd = the_pdf()
    if os.lseek(fd, 0, os.SEEK_CUR) == 0:
        os.lseek(fd, 1, os.SEEK_SET)
        os.kill(os.getpid(), signal.SIGKILL)


def the_pdf() -> int:
    """Return the descriptor of the memory that we were given."""
    links = (Path("/proc/self/fd", str(fd)) for fd in range(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
    return next(int(link.name) for link in links if link.is_symlink() and "memfd:" in str(link.readlink()))


def write(target: str) -> None:
    """Write a file."""
    with Path(target).open("wb", buffering=0) as file:
        file.write(b"x")


def tamper() -> None:
    """Try to change the PDF that we were given; the refusal names what could be done."""
    fd = the_pdf()
    size = os.fstat(fd).st_size
    attempts: dict[str, Callable[[], object]] = {
        "write": lambda: os.pwrite(fd, b"x", 0),
        "map": lambda: mmap.mmap(fd, size).__setitem__(0, 120),
        "open": lambda: os.pwrite(os.open(f"/proc/self/fd/{fd}", os.O_RDWR), b"x", 0),
        "shrink": lambda: os.ftruncate(fd, 1),
        "grow": lambda: os.ftruncate(fd, size + 1),
        "seal": lambda: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE),
    }
    raise Refused("damaged", ", ".join(name for name, attempt in attempts.items() if succeeds(attempt)) or "nothing")


def attempt_forbidden(line: str) -> None:
    """Try what the line names, as somebody would who has taken over this process; the refusal has the outcome."""
    name, folder, port, parent = json.loads(line)
    if name == forbidden.EXEC:
        forged = {"refused": {"reason": "damaged", "detail": "done"}, "last": True}
        os.dup2(0, 1)  # where the answer goes
        try:
            os.execv("/bin/echo", ["echo", json.dumps(forged)])
        except OSError as error:
            raise Refused("damaged", str(error.strerror)) from None
    target = forbidden.Target(folder, port, parent)
    raise Refused("damaged", forbidden.outcome((forbidden.FILES | forbidden.CALLS)[name], target))


def import_more() -> None:
    """Import what a file may need: codecs, the standard library, all of pypdf; the refusal names what failed."""
    packages = {"encodings.": encodings.__path__, "pypdf.": pypdf.__path__}
    names = [module.name for prefix, path in packages.items() for module in pkgutil.walk_packages(path, prefix)]
    failed = []
    for name in (*names, "bz2", "ctypes.util", "decimal", "lzma", "sqlite3", "ssl", "xml.sax"):
        try:
            importlib.import_module(name)
        except ImportError:
            failed.append(name)
    raise Refused("damaged", " ".join(failed) or "nothing")


def succeeds(attempt: Callable[[], object]) -> bool:
    """Whether the kernel lets us."""
    try:
        attempt()
    except OSError:
        return False
    return True


ORDERS: dict[bytes, Callable[[str], object]] = {
    b"SEGFAULT": lambda _: ctypes.string_at(0),
    b"KILL": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    b"SLEEP": lambda _: time.sleep(1000),
    b"LOOP": lambda _: loop(),
    b"HOG": lambda _: hog(),
    b"BABBLE": lambda _: answer(b"nonsense"),
    b"FORGE": lambda _: answer(b'{"facts": {"pages": 1}, "last": false}'),
    b"INVENT": lambda _: answer(b'{"refused": {"reason": "because", "detail": ""}, "last": false}'),
    b"FAIL": lambda order: {}[order],
    b"ONCE": lambda _: crash_once(),
    b"WRITE": write,
    b"TAMPER": lambda _: tamper(),
    b"TRY": attempt_forbidden,
    b"IMPORT": lambda _: import_more(),
}


def broken(fault: Callable[[], object]) -> Callable[..., PdfFacts]:
    """Return a check that fails on every file while the installation is broken.

    It is as long as a file `broken` lies in the first folder of the module path, which is the test's own.
    """

    def check(data: mmap.mmap, **wishes: Any) -> PdfFacts:
        if Path(sys.path[0], "broken").exists():
            fault()
        return obedient(data, **wishes)

    return check


killed = broken(lambda: os.kill(os.getpid(), signal.SIGKILL))
incomplete = broken(lambda: importlib.import_module("not_installed"))
without_memory = broken(lambda: bytearray(2**40))
stuck = broken(lambda: time.sleep(1000))
