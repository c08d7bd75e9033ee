"""`invoicedrop backup FILE`: copies the ledger while the service runs."""

import stat
from pathlib import Path

import typer

from invoicedrop import exit_codes
from invoicedrop.errors import BackupFailed
from invoicedrop.ledger.backup import back_up
from invoicedrop.ledger.condition import is_database
from invoicedrop.ledger.ledger import LEDGER_FILE
from invoicedrop.ledger.trouble import SIDE_FILES
from invoicedrop.printable import printable
from invoicedrop.reporting.existing_ledger import ledger_file
from invoicedrop.reporting.wording import counted
from invoicedrop.settings.settings import Settings


def backup(settings: Settings, target: Path) -> int:
    """Write a checked copy of the ledger as `target`, which may be an older one; print what it holds and return 0.

    Raises:
        typer.BadParameter: `target` is something that a backup must not replace.
        BackupFailed: there is no ledger yet, or the copy cannot be written.
        LedgerUnavailable: the ledger cannot be read now, or (LedgerDamaged) is damaged.

    """
    if settings.has_ledger_url:
        raise BackupFailed(
            "the ledger is in a PostgreSQL database: back it up with PostgreSQL's own tools (pg_dump, or base backups "
            "with its log: https://www.postgresql.org/docs/current/backup.html)"
        )
    _require_target(target, settings.state_dir)
    ledger = ledger_file(settings)
    if ledger is None:
        raise BackupFailed(f"there is no ledger in {settings.state_dir} yet: it is made at the first start")
    written = back_up(ledger, target)
    entries = counted(written.content.entries, "invoice")
    typer.echo(printable(f"{target}: {entries}, {written.size} bytes, checked"))
    return exit_codes.OK


def _require_target(target: Path, state_dir: Path) -> None:
    """See that `target` is not there, or a file that may be replaced: an older backup, or an empty file."""
    try:
        if target.name == "" or target.is_dir():
            raise _bad(f"{target} is a folder: name a file")
        if _is_of_ledger(target, state_dir):
            raise _bad(f"{target} is the ledger itself: name another file, best on another disk")
        try:
            status = target.lstat()
        except FileNotFoundError:
            return
        if stat.S_ISLNK(status.st_mode):
            raise _bad(f"{target} is a link: name the file that it leads to")
        if not stat.S_ISREG(status.st_mode):
            raise _bad(f"{target} is no file")
        if status.st_size and not is_database(target):
            raise _bad(f"{target} is no backup of a ledger, and would be lost: name another file")
    except OSError as error:
        raise BackupFailed(f"{target} cannot be looked at: {error.strerror or error}") from error


def _is_of_ledger(target: Path, state_dir: Path) -> bool:
    ledger = state_dir / LEDGER_FILE
    if target.exists() and ledger.exists() and target.samefile(ledger):
        return True
    own = {LEDGER_FILE, *(LEDGER_FILE + ending for ending in (*SIDE_FILES, "-journal"))}
    return target.name in own and target.parent.resolve() == state_dir.resolve()


def _bad(sentence: str) -> typer.BadParameter:
    return typer.BadParameter(printable(sentence), param_hint="FILE")
