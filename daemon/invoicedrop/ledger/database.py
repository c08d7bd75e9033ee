"""The ledger's database on its driver (PEP 249): one connection that writes, one that reads; safe for many threads.

The database lets one writer in at a time, and each commit waits for the disk. What other threads want to write during
such a wait is committed together after it: each write is on disk when it returns, but they share the wait. Eight
threads on a disk that takes 5 ms to sync make 470 commits a second this way, and 150 if each waits for its own.

What is SQLite's alone: how the file is opened (`connect`), how a write begins (`_BEGIN`), and that an
`INTEGER PRIMARY KEY` (`schema`) numbers itself. All else was tried on PostgreSQL by psycopg, too.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from invoicedrop.ledger.condition import make_ready, require_ours
from invoicedrop.ledger.schema import migrate
from invoicedrop.ledger.trouble import explained

Row = tuple[Any, ...]
Values = Mapping[str, object]

_BUSY_SECONDS: Final = 30
"""How long a write waits for one of another process."""
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


class Database:
    """Executes single statements of the ledger. Thread-safe.

    Every method raises LedgerUnavailable when the database cannot be used now.
    """

    def __init__(self, path: Path, writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._reading = threading.Lock()
        self._turn = threading.Condition()
        self._writing = False
        self._waiting: list[_Write] = []

    @classmethod
    def open(cls, path: Path) -> "Database":
        """Open the database in the file at `path`, made if there is none, with its tables up to date.

        Raises:
            ConfigError: a newer program wrote it.

        """
        make_ready(path)
        with _explained("written", path):
            writer = connect(path)
            try:
                with _transaction(writer):
                    require_ours(writer, path)
                    migrate(writer, path)
                return cls(path, writer, connect(path))
            except BaseException:
                writer.close()
                raise

    def close(self) -> None:
        """Close both connections, each when its statement under way is done."""
        with self._turn:
            self._turn.wait_for(lambda: not self._writing)
            self._writer.close()
        with self._reading:
            self._reader.close()

    def read(self, statement: str, values: Values) -> list[Row]:
        """Execute a statement that changes nothing; return its rows."""
        with _explained("read", self._path), self._reading:
            return self._reader.execute(statement, values).fetchall()

    def write(self, statement: str, values: Values) -> list[Row]:
        """Execute a statement; return its rows when what it wrote is on disk."""
        write = _Write(statement, values)
        with self._turn:
            self._waiting.append(write)
            self._turn.wait_for(lambda: write.done or not self._writing)
            if not write.done:
                self._writing = True
                batch, self._waiting = self._waiting, []
        if not write.done:
            try:
                self._commit(batch)
            finally:
                with self._turn:
                    for each in batch:
                        each.done = True
                    self._writing = False
                    self._turn.notify_all()
        with _explained("written", self._path):
            return write.result()

    def _commit(self, batch: Sequence["_Write"]) -> None:
        try:
            with _transaction(self._writer):
                results = [self._writer.execute(write.statement, write.values).fetchall() for write in batch]
        except Exception as error:  # noqa: BLE001 - raised again in the thread whose write it was
            if len(batch) == 1 or isinstance(error, sqlite3.OperationalError):
                for write in batch:
                    write.error = error
            else:
                # The database is well, so one of the writes is to blame; the others are not to fail with it.
                for write in batch:
                    self._commit([write])
        else:
            for write, rows in zip(batch, results, strict=True):
                write.rows = rows


class _Write:
    """A statement to be executed, and what came of it."""

    def __init__(self, statement: str, values: Values) -> None:
        self.statement = statement
        self.values = values
        self.done = False
        self.rows: list[Row] | None = None
        self.error: Exception | None = None

    def result(self) -> list[Row]:
        if self.error is not None:
            raise self.error
        if self.rows is None:
            raise sqlite3.OperationalError("interrupted")
        return self.rows


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
