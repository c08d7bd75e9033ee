"""In which condition the ledger's SQLite file is: there or not, whole or not, and with what beside it.

SQLite takes an empty file for an empty database, and whatever has the name of its write-ahead log for that database's
own, as a log does not say which file it belongs to. A log that a dead ledger left beside a backup which was put in its
place would be played into the backup, and destroy it. So a backup's header says that it has no log (`_WITHOUT_LOG`),
as that of a ledger in use never does; a log that is found beside such a file, or beside none, is set aside.
"""

import fcntl
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple

from invoicedrop.ledger.trouble import damaged, explained
from invoicedrop.system import disk

_MAGIC: Final = b"SQLite format 3\0"
_HEADER: Final = 100
"""Bytes of a database's header, https://sqlite.org/fileformat.html#the_database_header."""
_WRITE_VERSION: Final = 18
"""Where the header says how the database is written: 1 with a rollback journal, 2 with a write-ahead log."""
_WITHOUT_LOG: Final = 1
_BUSY_SECONDS: Final = 30
"""How long a reader waits for another process that has the file for itself: while it mends it after a crash, say."""
_STEPS: Final = 20_000
"""Of SQLite's virtual machine, from one look at the clock to the next: some milliseconds."""


class File(Enum):
    """What is there under the ledger's name."""

    MISSING = "missing"
    EMPTY = "empty"
    """A file of 0 bytes: a ledger that was lost, or one that was just being made."""
    DATABASE = "database"
    SOMETHING_ELSE = "something else"


class Condition(NamedTuple):
    """What is there before the ledger is opened.

    `log` is a write-ahead log with content: what is in it was not yet written into the file when the last process that
    had it open died. `is_strange`: the file has no log of its own; if there is one, it is another file's.
    """

    file: File
    log: Path | None
    is_strange: bool


def condition_of(path: Path) -> Condition:
    """Look at the ledger's file, without opening it as a database, and before this process does.

    (Whoever closes a file that SQLite has open in the same process releases SQLite's locks on it:
    https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_.)

    Raises:
        LedgerUnavailable: it cannot be looked at.

    """
    with _explained(path):
        header = _header(path)
        log = log_of(path)
        found = log if _size(log) else None
    if header is None:
        return Condition(File.MISSING, found, is_strange=True)
    if not header:
        return Condition(File.EMPTY, found, is_strange=True)
    if len(header) < _HEADER or not header.startswith(_MAGIC):
        return Condition(File.SOMETHING_ELSE, found, is_strange=False)
    return Condition(File.DATABASE, found, is_strange=header[_WRITE_VERSION] == _WITHOUT_LOG)


def is_database(path: Path) -> bool:
    """Whether the regular file at `path` begins as a database does.

    Raises:
        OSError: it cannot be read.

    """
    return (_header(path) or b"").startswith(_MAGIC)


def log_of(path: Path) -> Path:
    """Return the name of a database's write-ahead log."""
    return path.with_name(f"{path.name}-wal")


def make_ready(path: Path) -> None:
    """See that what is at `path` may be opened as a ledger; it is done while no other process of ours does it.

    Raises:
        LedgerDamaged: it is no database, or another program's.
        LedgerUnavailable: it cannot be seen now.

    """
    found = condition_of(path)
    if found.file is File.SOMETHING_ELSE:
        raise damaged(path, "file is not a database")
    if found.file is File.DATABASE and found.is_strange:
        with _explained(path), closing(open_to_read(path, "&immutable=1")) as connection:
            require_ours(connection, path)
    if found.log is None or not found.is_strange:
        return
    with _explained(path), _alone_in(path.parent):
        # Another process may have done so meanwhile, and have a log of its own by now.
        found = condition_of(path)
        if found.log is None or not found.is_strange:
            return
        found.log.rename(found.log.with_name(f"{found.log.name}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}"))
        disk.sync_folder(path.parent)
        if found.file is File.DATABASE:
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")


def require_ours(connection: sqlite3.Connection, path: Path) -> None:
    """Check that the database has a ledger's tables, or none at all.

    Raises:
        LedgerDamaged: it has not.

    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and "schema_version" not in tables:
        raise damaged(path, "it is a database of another program")
    if "invoices" not in tables and tables and connection.execute("SELECT 1 FROM schema_version").fetchone():
        raise damaged(path, "its table of invoices is missing")


class Finding(NamedTuple):
    """What an examination found: `damage`, if any, and whether all was looked at within the time."""

    damage: str | None
    is_complete: bool


def examine(path: Path, *, seconds: float, indexes: bool) -> Finding:
    """Look for damage, for so long at the most; nothing is changed, and no writer waits.

    Without `indexes` it is not looked whether each index has what its table has: that takes ten times as long.

    Raises:
        LedgerUnavailable: it cannot be read.

    """
    with _explained(path), closing(open_to_read(path)) as connection:
        until = time.monotonic() + seconds
        connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
        try:
            rows = connection.execute(f"PRAGMA {'integrity' if indexes else 'quick'}_check(1)").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                return Finding(None, is_complete=False)
            raise
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                return Finding(str(error), is_complete=True)
            raise
    return Finding(None if rows == [("ok",)] else " ".join(str(rows[0][0]).split()), is_complete=True)


def require_sound(path: Path, *, seconds: float) -> None:
    """Look for damage, for so long at the most.

    Raises:
        LedgerDamaged: there is some.
        LedgerUnavailable: it cannot be read.

    """
    found = examine(path, seconds=seconds, indexes=False)
    if found.damage is not None:
        raise damaged(path, found.damage)


def open_to_read(path: Path, options: str = "") -> sqlite3.Connection:
    """Open a database that nothing is written into: not even its own log, when it is closed."""
    address = f"{path.absolute().as_uri()}?mode=ro{options}"
    return sqlite3.connect(address, timeout=_BUSY_SECONDS, uri=True, isolation_level=None)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise explained(error, "read", path) from error


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _header(path: Path) -> bytes | None:
    """Return the first bytes of a file; None if there is none."""
    try:
        # Not blocking: a FIFO in its place would hold us up for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return os.read(descriptor, _HEADER) if stat.S_ISREG(os.fstat(descriptor).st_mode) else _MAGIC
    finally:
        os.close(descriptor)


def _size(path: Path) -> int:
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
