"""A copy of an SQLite ledger while it is in use: of one moment, checked, and only then given its name.

The copy is of what was committed when it began. No writer waits for it: a reader of a write-ahead log holds up nobody.
"""

import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from invoicedrop.errors import BackupFailed, LedgerDamaged
from invoicedrop.ledger.condition import make_ready, open_to_read
from invoicedrop.ledger.trouble import damaged, explained
from invoicedrop.system import disk

_PAGES: Final = 1024
"""Pages (4 MiB) of one step: between two of them a Ctrl-C is heard."""
_NO_LOCKS: Final = "&vfs=unix-none"
"""The copy is ours alone until it has its name, and many a network share has no locks, or bad ones."""


class Content(NamedTuple):
    """What a ledger holds: its schema's version, and how many entries."""

    version: int
    entries: int


class Backup(NamedTuple):
    """A backup that was written: what it holds, and its size in bytes."""

    content: Content
    size: int


def back_up(ledger: Path, target: Path) -> Backup:
    """Write a copy of the ledger as `target`, in one step, when it has passed its check; on disk when this returns.

    What `target` was before is replaced then, and is as it was if this fails. What a killed one has left behind is
    removed. The copy may be read by its owner alone.

    Raises:
        LedgerDamaged: the ledger is damaged, or its copy is.
        LedgerUnavailable: the ledger cannot be read now.
        BackupFailed: the copy cannot be written, or another one is being written.

    """
    make_ready(ledger)
    with _explained(ledger, target), _unfinished(target) as (copy, descriptor):
        content = _copy(ledger, copy)
        _require_good(copy, content, ledger, target)
        os.fsync(descriptor)
        size = copy.stat().st_size
        disk.replace(copy, target)
        disk.sync_folder(target.parent)
        return Backup(content, size)


def _copy(ledger: Path, copy: Path) -> Content:
    address = f"{copy.as_uri()}?mode=rw{_NO_LOCKS}"
    with (
        closing(open_to_read(ledger)) as source,
        closing(sqlite3.connect(address, uri=True, isolation_level=None)) as destination,
    ):
        # One process alone, without a file for its log or journal beside it: what is unfinished is thrown away.
        destination.execute("PRAGMA locking_mode = EXCLUSIVE")
        destination.execute("PRAGMA journal_mode = OFF")
        # Within one transaction all steps read the same moment: SQLite would begin anew after each write of another
        # process, and never end beside a busy one.
        source.execute("BEGIN")
        content = _content(source)
        source.backup(destination, pages=_PAGES, sleep=0)
        source.execute("ROLLBACK")
        # From now on its header says that it has no log: see `condition`.
        destination.execute("PRAGMA journal_mode = DELETE")
    return content


def _require_good(copy: Path, content: Content, ledger: Path, target: Path) -> None:
    with closing(open_to_read(copy, _NO_LOCKS)) as connection:
        try:
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            complete = found == "ok" and _content(connection) == content
        except sqlite3.DatabaseError as error:
            found, complete = str(error), False
    if not complete:
        words = "entries are missing" if found == "ok" else " ".join(str(found).split())
        raise damaged(ledger, f"its copy does not pass its check: {words}; {target} is as it was")


def _content(connection: sqlite3.Connection) -> Content:
    (version,) = connection.execute("SELECT version FROM schema_version").fetchone()
    (entries,) = connection.execute("SELECT count(*) FROM invoices").fetchone()
    return Content(version, entries)


@contextmanager
def _unfinished(target: Path) -> Iterator[tuple[Path, int]]:
    """Make an empty file of ours beside `target`, which is gone at the end unless it was given its name."""
    # Always the same name for the same target: the next one finds what a killed one has left behind.
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()
    path = target.absolute().parent / f"{disk.TEMPORARY}{digest[:16]}.tmp"
    _remove_left_behind(path, target)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, target)
        try:
            yield path, descriptor
        finally:
            with suppress(OSError):
                if os.path.samestat(path.lstat(), os.fstat(descriptor)):
                    path.unlink()
    finally:
        os.close(descriptor)


def _remove_left_behind(path: Path, target: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _lock(descriptor, target)
        path.unlink()
    finally:
        os.close(descriptor)


def _lock(descriptor: int, target: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BackupFailed(f"another backup is writing {target} at this moment") from error
    except OSError:
        # A share without locks.
        pass


@contextmanager
def _explained(ledger: Path, target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupFailed(f"{target} cannot be written: {error.strerror or error}") from error
    except sqlite3.Error as error:
        trouble = explained(error, "read", ledger)
        if isinstance(trouble, LedgerDamaged):
            raise trouble from error
        raise BackupFailed(f"{target} cannot be written: {error}") from error
