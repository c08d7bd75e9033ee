"""The ledger in an SQLite file: one connection that writes, one that reads; safe for many threads.

What is SQLite's own: how the file is opened (`connect`), how a write begins (`_BEGIN`), that an `INTEGER PRIMARY KEY`
(`schema`) numbers itself, and that a number of more than 64 bits has to be text (`_stored`).
"""

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final

from invoicedrop.ledger.condition import make_ready, require_ours
from invoicedrop.ledger.engine import GroupCommit, Row, Statement, Values, Write
from invoicedrop.ledger.entry import stored_id
from invoicedrop.ledger.lease import InboxKey, LeaseTimes, SoleOwner
from invoicedrop.ledger.schema import SQLITE, migrate
from invoicedrop.ledger.statements import IDS
from invoicedrop.ledger.trouble import explained

_BUSY_SECONDS: Final = 30
"""How long a write waits for one of another process."""
_Key = tuple[int, int]
_OPEN: Final[Counter[_Key]] = Counter()
"""How often this process has each file open, by device and inode.

While it does, nothing but SQLite may open and close the file here: that would release SQLite's locks on it, and the
next process to close the file would take itself for the last one, and remove the log that we go on writing to
(https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
"""
_OPENING: Final = threading.Lock()
_BEGIN: Final = "BEGIN IMMEDIATE"
"""A transaction that asks for the right to write only when it first writes may be refused it without a wait."""


def connect(path: Path, factory: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
    """Open the SQLite file at `path` so that what is committed survives power loss, and readers never wait for it.

    That is WAL with `synchronous=FULL` (https://sqlite.org/pragma.html#pragma_synchronous). `factory` makes the
    connection: the crash harness counts commits by one of its own.
    """
    # No isolation level: the driver begins no transaction by itself.
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=factory
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


class Sqlite:
    """An `Engine` on one file. SQLite lets one writer in at a time, whatever process it is of."""

    def __init__(self, path: Path, writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._reading = threading.Lock()
        self._key: _Key | None = _key_of(path)
        if self._key is not None:
            _OPEN[self._key] += 1
        self._group = GroupCommit(self._transact, lambda error: isinstance(error, sqlite3.OperationalError))

    @classmethod
    def open(cls, path: Path) -> "Sqlite":
        """Open the database in the file at `path`, made if there is none, with its tables up to date.

        Raises:
            ConfigError: a newer program wrote it.

        """
        with _OPENING:
            if _key_of(path) not in _OPEN:
                make_ready(path)
            with _explained("written", path):
                writer = connect(path)
                try:
                    with _transaction(writer):
                        require_ours(writer, path)
                        migrate(writer.execute, SQLITE, str(path))
                    return cls(path, writer, connect(path))
                except BaseException:
                    writer.close()
                    raise

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self._path)

    def connect(self, *, make: bool = True) -> bool:  # noqa: ARG002 - it is open
        """Do nothing: it is open, and has its tables."""
        return True

    def alone_with(self, _keys: Sequence[str], _session: int | None) -> AbstractContextManager[None]:
        """Do nothing: there is no other daemon."""
        return nullcontext()

    def leases(self, _inboxes: Sequence[InboxKey], _times: LeaseTimes, _identity: Callable[[], str]) -> SoleOwner:
        """Return that all of them are ours."""
        return SoleOwner()

    def shortcoming(self) -> None:
        """Nothing keeps a commit from being on disk: see `connect`."""

    def close(self) -> None:
        """Close both connections, each when its statement under way is done."""
        self._group.alone(self._writer.close)
        with self._reading:
            self._reader.close()
        with _OPENING:
            key, self._key = self._key, None
            if key is not None:
                _OPEN[key] -= 1
                if not _OPEN[key]:
                    del _OPEN[key]

    def read(self, statement: str, values: Values) -> list[Row]:
        """Execute a statement that changes nothing; return its rows."""
        with _explained("read", self._path), self._reading:
            return self._reader.execute(statement, _stored(values)).fetchall()

    def write(
        self,
        statement: str,
        values: Values,
        session: int | None = None,  # noqa: ARG002 - one file has one owner
        then: Sequence[Statement] = (),
    ) -> list[Row]:
        """Execute a statement; return its rows when what it wrote is on disk."""
        with _explained("written", self._path):
            return self._group.write(statement, values, None, then)

    def _transact(self, batch: Sequence[Write]) -> list[list[Row]]:
        with _transaction(self._writer):
            return [write.executed_by(self._executed) for write in batch]

    def _executed(self, statement: str, values: Values) -> list[Row]:
        return self._writer.execute(statement, _stored(values)).fetchall()


def _key_of(path: Path) -> _Key | None:
    """Return what tells the file from every other one; None where it is not there, or cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _stored(values: Values) -> Values:
    """Return the values as SQLite takes them."""
    longer = {name: stored_id(values[name]) for name in IDS & values.keys()}
    return {**values, **longer} if longer else values


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute(_BEGIN)
    try:
        yield
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


@contextmanager
def _explained(done: str, path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise explained(error, done, path) from error
