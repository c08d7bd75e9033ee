"""The crash harness: real lives of the real service, each of which may end, or go wrong, at any one of its effects.

An effect is a file-system call that changes something, a commit of the ledger, or a request to the API. A driver
process (this file, run as a program by the fork server, which has imported everything) forks a child for every life. In
the child each effect is counted, in a sequence of its own for the main thread and for the upload thread; there is only
one of these, so that number N is the same effect in every life. At the chosen one the child ends by `os._exit`: nothing
is unwound or closed. What only a power cut could do (losing what was not synced) is not shown by this.

The PDF check is answered by a stand-in: it changes nothing, so that a death in it is a death before the next effect,
and starting its process for each of thousands of lives would be most of the time.
"""

import errno
import gc
import json
import os
import shutil
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, Self

from fork_server import ForkServer
from invoicedrop import exit_codes, logs
from invoicedrop.channable import client
from invoicedrop.ledger import postgres_session, sqlite
from invoicedrop.service import service
from invoicedrop.settings.load import load
from invoicedrop.system.mover import Mover, renameat2
from quick_service import QUICK
from system_calls import refusing
from unchecked import EveryPdfIsGood
from ways import first_way

if TYPE_CHECKING:
    import pytest

_TIMING: Final = replace(QUICK, lease_beat=3600.0, lease_valid=1e6, lease_stale=0.05)
"""A lease is renewed when it is taken, and then no more: what else a life does, it does in the same order each time."""
DIED: Final = 137
BROKE: Final = 99
MAIN: Final = "main"
UPLOAD: Final = "upload"


class Death(NamedTuple):
    """Die at effect `number` (from 1) of `thread`, right before it or right after it."""

    thread: str
    number: int
    after: bool


class Lived(NamedTuple):
    """How a life ended: its exit code, and the effects that it had, by thread."""

    code: int
    effects: dict[str, list[str]]


class LedgerConnection(sqlite3.Connection):
    """A connection whose methods can be wrapped: those of sqlite3's own cannot."""

    def commit(self) -> None:
        """Commit what was executed."""
        super().commit()

    def execute(self, *args: Any) -> sqlite3.Cursor:
        """Execute a statement."""
        return super().execute(*args)


@contextmanager
def effects_undone() -> Iterator["pytest.MonkeyPatch"]:
    """Let calls be wrapped in this very process while the block runs; at its end they are what they were."""
    import pytest  # noqa: PLC0415 - this module is part of the daemons under test, too: they are measured without it

    with pytest.MonkeyPatch.context() as patch:
        for owner, names in (
            (os, "link unlink rename replace mkdir utime fsync open scandir stat lstat memfd_create sendfile"),
            (shutil, "copyfileobj"),
            (LedgerConnection, "commit execute"),
            (sqlite, "connect"),
            (postgres_session.Session, "commit"),
            (client, "_exchange"),
        ):
            for name in names.split():
                patch.setattr(owner, name, getattr(owner, name))
        yield patch


class Effects:
    """Counts the effects of this process, by thread; `meet` is called before and after each."""

    def __init__(self, meet: Callable[[str, int, str, bool], None]) -> None:
        self.seen: dict[str, list[str]] = {MAIN: [], UPLOAD: []}
        self._meet = meet

    def install(self) -> None:
        """Wrap every function that has an effect; for good, in a process that was forked for it."""
        for name in ("link", "unlink", "rename", "replace", "mkdir", "utime", "fsync"):
            self._wrap(os, name)
        self._wrap(os, "open", lambda _path, flags, *_rest, **_more: bool(flags & os.O_CREAT))
        self._wrap(shutil, "copyfileobj")
        vars(sqlite)["connect"] = partial(sqlite.connect, factory=LedgerConnection)
        self._wrap(LedgerConnection, "commit")
        self._wrap(postgres_session.Session, "commit")
        self._wrap(client, "_exchange")

    def mover(self, way: str = "rename") -> Mover:
        """Return what moves files in this way; the call that it is given is an effect, too."""
        return Mover(first_way(way, self._counted("renameat2", renameat2)))

    def _wrap(self, owner: Any, name: str, changes: Callable[..., bool] = lambda *_args, **_more: True) -> None:
        setattr(owner, name, self._counted(name, getattr(owner, name), changes))

    def _counted(
        self, name: str, real: Callable[..., Any], changes: Callable[..., bool] = lambda *_args, **_more: True
    ) -> Callable[..., Any]:
        def effect(*args: Any, **more: Any) -> Any:
            if not changes(*args, **more):
                return real(*args, **more)
            thread = MAIN if threading.current_thread() is threading.main_thread() else UPLOAD
            self.seen[thread].append(name)
            number = len(self.seen[thread])
            self._meet(thread, number, name, False)
            result = None
            try:
                result = real(*args, **more)
            finally:
                try:
                    self._meet(thread, number, name, True)
                except Exception:
                    # Whoever asked for it never learns that it was opened, so nobody else can close it.
                    if name in {"open", "memfd_create"} and result is not None:
                        os.close(result)
                    elif name == "scandir" and result is not None:
                        result.close()
                    raise
            return result

        return effect


# The driver: one job a line on standard input, one answer a line on standard output


def _live(environment: Mapping[str, str], log: str, way: str, death: Death | None) -> Lived:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        code = BROKE
        try:
            code = _be_the_service(environment, log, way, death, writing)
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:  # noqa: BLE001 - this is the end of the process
            with Path(log).open("a", encoding="utf-8") as stream:
                stream.write(traceback.format_exc())
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    _, status = os.waitpid(pid, 0)
    return Lived(os.waitstatus_to_exitcode(status), json.loads(told) if told else {MAIN: [], UPLOAD: []})


def _be_the_service(environment: Mapping[str, str], log: str, way: str, death: Death | None, pipe: int) -> int:
    stream = Path(log).open("a", encoding="utf-8")  # noqa: SIM115 - for the rest of this process's life
    logs.configure("json", "info", stream)

    def meet(thread: str, number: int, name: str, after: bool) -> None:
        if death is not None and (thread, number, after) == death:
            stream.write(f"died {'after' if after else 'before'} {thread} {number} {name}\n")
            stream.flush()
            os.write(pipe, json.dumps(effects.seen).encode())
            os._exit(DIED)

    effects = Effects(meet)
    if way == "placeholder":
        os.link = refusing(errno.EPERM)
    effects.install()
    settings = load(None, environment)
    code = service.Service(settings, timing=_TIMING, validator=EveryPdfIsGood, mover=effects.mover(way)).run(once=True)
    os.write(pipe, json.dumps(effects.seen).encode())
    return code


def main() -> None:
    """Be the driver."""
    # A life does not go through what there was before it, nor copy its pages.
    gc.freeze()
    for line in sys.stdin:
        job = json.loads(line)
        death = None if job["death"] is None else Death(*job["death"])
        lived = _live(job["environment"], job["log"], job["way"], death)
        sys.stdout.write(json.dumps(lived) + "\n")
        sys.stdout.flush()


def _errors() -> IO[bytes]:
    return open(2, "wb", closefd=False)


class Driver:
    """The driver process, seen from a test."""

    def __init__(self) -> None:
        (its_input, jobs), (answers, its_output) = os.pipe(), os.pipe()
        with os.fdopen(its_input, "rb") as stdin, os.fdopen(its_output, "wb") as stdout, _errors() as stderr:
            self._process = ForkServer.running().start(
                [__file__], stdin=stdin, stdout=stdout, stderr=stderr, env=os.environ, cwd=Path.cwd()
            )
        self._stdin: IO[str] = os.fdopen(jobs, "w")
        self._stdout: IO[str] = os.fdopen(answers)

    def live(self, environment: Mapping[str, str], log: Path, *, way: str = "rename", death: Death | None) -> Lived:
        """Live one life of the service."""
        job = {"environment": dict(environment), "log": str(log), "way": way, "death": death}
        self._stdin.write(json.dumps(job) + "\n")
        self._stdin.flush()
        code, effects = json.loads(self._stdout.readline())
        return Lived(code, effects)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stdin.close()
        self._process.wait(30)
        self._stdout.close()


def until_worked_off(live: Callable[[], Lived], *, lives: int = 20) -> Sequence[Lived]:
    """Start the service again and again until nothing is left to do; return its lives."""
    lived = [live()]
    while lived[-1].code == exit_codes.TRY_LATER and len(lived) < lives:
        time.sleep(QUICK.file_retry)
        lived.append(live())
    return lived
