"""A real PostgreSQL on loopback, for tests: one that all test processes share, and servers of one's own.

PostgreSQL refuses to run as root: as root, its programs run as another user. What a test database loses in a power cut
matters to nobody: nothing is synced.
"""

import ctypes
import fcntl
import itertools
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from ports import free_port
from waiting import wait_until

_NUMBERS: Final = itertools.count(1)
_SUPERUSER: Final = "postgres"
_PR_SET_PDEATHSIG: Final = 1
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "log_min_messages": "fatal",
}
WITH_PASSWORD: Final = "locked"
MISSING: Final = "PostgreSQL is not installed (apt-get install postgresql): the tests of the shared ledger did not run"


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, the newest version's; None if there are none."""
    if (found := shutil.which("postgres")) is not None:
        return Path(found).parent
    # Debian keeps them out of PATH.
    folders = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return max((path.parent for path in folders), key=lambda path: float(path.parent.name), default=None)


class PostgresServer:
    """A server with its data in a folder of its own; made by `made`. `url` is its database, for its superuser."""

    def __init__(self, folder: Path, port: int, bin_folder: Path) -> None:
        self.folder = folder
        self.port = port
        self.url = f"postgresql://{_SUPERUSER}@127.0.0.1:{port}/postgres"
        self._bin = bin_folder
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def made(cls) -> "PostgresServer":
        """Make the data of a server, which does not run yet."""
        bin_folder = programs()
        if bin_folder is None:
            pytest.skip(MISSING)
        memory = Path("/dev/shm")
        folder = Path(tempfile.mkdtemp(prefix="invoicedrop-pg-", dir=memory if os.access(memory, os.W_OK) else None))
        if os.geteuid() == 0:
            shutil.chown(folder, _other_user())
        server = cls(folder, free_port(), bin_folder)
        command = ["initdb", "-D", "data", "-A", "trust", "-U", _SUPERUSER, "-N", "--no-locale", "-E", "UTF8"]
        server._run(command)
        # This user, and no other one, needs a password.
        rules = folder / "data" / "pg_hba.conf"
        rules.write_text(f"host all {WITH_PASSWORD} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        return server

    def start(self, **settings: str) -> None:
        """Start it, and wait until it answers. It ends with this process."""
        options = _SETTINGS | {"port": str(self.port), "unix_socket_directories": str(self.folder)} | settings
        arguments = [f"--{name}={value}" for name, value in options.items()]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._bin / "postgres", "-D", "data", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - one call of the kernel's
                **self._where(),
            )
        wait_until(self.answers, what="a PostgreSQL that answers")

    def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop it: SIGINT ends all sessions first, SIGQUIT is as a crash."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def restart(self) -> None:
        """Stop it, and start it again."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Stop it and remove its data."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Execute a statement as the superuser; return its rows, if it has any."""
        with closing(psycopg.connect(self.url, autocommit=True)) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description is not None else []

    def _run(self, command: list[str]) -> None:
        program, *arguments = command
        done = subprocess.run(
            [self._bin / program, *arguments], check=False, capture_output=True, text=True, **self._where()
        )
        assert done.returncode == 0, done.stderr

    def _where(self) -> dict[str, Any]:
        where: dict[str, Any] = {"cwd": self.folder, "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}}
        if os.geteuid() == 0:
            user = pwd.getpwnam(_other_user())
            where |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        return where


def _other_user() -> str:
    return "postgres" if any(user.pw_name == "postgres" for user in pwd.getpwall()) else "nobody"


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


# The one that all test processes share

_SHARED: Final = "postgres-server.json"
_STARTED: Final[list[PostgresServer]] = []
"""By this process: kept, for as long as it runs."""


def shared_url(base: Path) -> str:
    """Return the address of the server that all test processes share, started by the first that asks.

    `base` is the folder that they share.
    """
    with (base / f"{_SHARED}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        facts = base / _SHARED
        if not facts.exists():
            server = PostgresServer.made()
            server.start()
            _STARTED.append(server)
            assert server.process is not None
            facts.write_text(json.dumps([server.url, server.process.pid, str(server.folder)]))
        url: str = json.loads(facts.read_text())[0]
        return url


def end_shared(base: Path) -> None:
    """End the shared server, when all tests are over."""
    facts = base / _SHARED
    if facts.exists():
        _, pid, folder = json.loads(facts.read_text())
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)
        facts.unlink()


@contextmanager
def new_schema(url: str) -> Iterator[str]:
    """Make a schema of one's own in the database, as good as a database of one's own; yield its address."""
    name = f"test_{os.getpid()}_{next(_NUMBERS)}"
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    try:
        yield f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{name}"
    finally:
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            connection.execute(f"DROP SCHEMA {name} CASCADE")


def within(seconds: float, happens: Callable[[], bool]) -> float:
    """Return after how many seconds it happened; fail if it has not within `seconds`."""
    began = time.monotonic()
    wait_until(happens, seconds=seconds, what="what was to happen")
    return time.monotonic() - began
