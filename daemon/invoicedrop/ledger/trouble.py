"""What is wrong with the ledger's file, in words for a person: trouble that passes, or damage, which does not."""

import errno
import os
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from invoicedrop.errors import LedgerDamaged, LedgerUnavailable
from invoicedrop.system import permissions

SIDE_FILES: Final = ("-wal", "-shm")
"""What SQLite keeps beside a database that is open, by what its names have more."""
_DAMAGE: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_NOT_OURS: Final = ("no such table", "no such column")
"""How the words begin that SQLite has for a table or column which every ledger has: all statements are ours."""
_PRIMARY: Final = 0xFF
"""The lowest byte of a result code says the kind (https://sqlite.org/rescode.html#primary_result_codes)."""


def damaged(path: Path, what: str) -> LedgerDamaged:
    """Return what is to be said of damage: `what` is wrong, what to do, and what it costs."""
    side_files = " and ".join(path.name + ending for ending in SIDE_FILES)
    return LedgerDamaged(
        f"the ledger {path} is damaged ({what}). Stop the service and move it away, with {side_files} where they are "
        f"there. Then put the last backup (invoicedrop backup) in its place, if there is one; without it the next "
        f"start makes a new ledger. Each order is looked at before its invoice is sent, so that nothing is sent twice "
        f"(but where order_check is off); lost is what the ledger alone knew: uploads in doubt, what persons decided, "
        f"what verify and status look back on"
    )


def explained(error: sqlite3.Error | OSError, done: str, path: Path) -> LedgerUnavailable:
    """Return the error that says why the ledger cannot be `done` ("read", "written"), and what helps."""
    if isinstance(error, OSError):
        return LedgerUnavailable(_with_hint(f"the ledger cannot be {done}: {error.strerror or error}", _refused(path)))
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    if code in _DAMAGE or (code == sqlite3.SQLITE_ERROR and str(error).startswith(_NOT_OURS)):
        return damaged(path, str(error))
    return LedgerUnavailable(_with_hint(f"the ledger cannot be {done}: {error}", _hint(code, path)))


def _with_hint(sentence: str, hint: str) -> str:
    return f"{sentence} ({hint})" if hint else sentence


def _hint(code: int, path: Path) -> str:
    """Return what lies behind a result code, as far as it can be seen; "" where SQLite's own words say it all."""
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"another program holds {path}, such as an sqlite3 shell or a tool that makes backups: end it"
        case sqlite3.SQLITE_IOERR:
            return f"the disk with {path.parent} does not answer as it should: see the kernel's log"
        case sqlite3.SQLITE_FULL:
            return f"the disk with {path.parent} is full: make room"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return _refused(path)
    return ""


def _refused(path: Path) -> str:
    """Return what keeps us from opening or writing the file, or what SQLite needs beside it."""
    with suppress(OSError):
        if os.statvfs(path.parent).f_flag & os.ST_RDONLY:
            return f"{path.parent} is on a file system that is mounted read-only"
    if not os.access(path.parent, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        if not path.parent.exists():
            return permissions.missing_folder(path.parent).sentence
        return permissions.explained(path.parent, PermissionError(errno.EACCES, os.strerror(errno.EACCES))).sentence
    for file in (path, *(path.with_name(path.name + ending) for ending in SIDE_FILES)):
        with suppress(FileNotFoundError):
            status = file.lstat()
            if not stat.S_ISREG(status.st_mode):
                return f"{file} is no file: remove it"
            if not os.access(file, os.R_OK | os.W_OK, effective_ids=True):
                return f"{file} belongs to {permissions.owned(status)}; we run as {permissions.ourselves()}"
    return ""
