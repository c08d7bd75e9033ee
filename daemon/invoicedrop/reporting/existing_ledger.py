"""The ledger as one who only reads it opens it: it is never made, and what this user may not do is said in words."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from invoicedrop.errors import LedgerUnavailable
from invoicedrop.ledger.ledger import LEDGER_FILE, Ledger
from invoicedrop.service.ledger_place import shared_ledger
from invoicedrop.settings.settings import Settings
from invoicedrop.system import permissions

_PATIENCE: Final = 60.0
"""Seconds; what a command asks of a database may take longer than what the daemon does."""


@contextmanager
def existing_ledger(settings: Settings) -> Iterator[Ledger | None]:
    """Open the ledger, if there is one; a command never makes it.

    Raises:
        LedgerUnavailable: there is one, but it cannot be used by this user, or not now.
        ConfigError: a newer program wrote it, or its address is wrong.

    """
    shared = shared_ledger(settings, patience=_PATIENCE)
    if shared is not None:
        with shared:
            yield shared if shared.connect(make=False) else None
        return
    if ledger_file(settings) is None:
        yield None
        return
    with Ledger.open(settings.state_dir) as ledger:
        yield ledger


def ledger_file(settings: Settings) -> Path | None:
    """Return the ledger's file, if there is one with something in it.

    Raises:
        LedgerUnavailable: there is one, and this user cannot use it.

    """
    path = settings.state_dir / LEDGER_FILE
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise LedgerUnavailable(permissions.of_another(path, _owner(path.parent))) from error
    except OSError as error:
        raise LedgerUnavailable(f"{path} cannot be used: {error.strerror}") from error
    if status.st_size == 0:
        # To SQLite an empty database, of which it would make a ledger.
        return None
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        raise LedgerUnavailable(permissions.of_another(path, status.st_uid)) from PermissionError()
    return path


def _owner(folder: Path) -> int | None:
    try:
        return folder.stat().st_uid
    except OSError:
        return None
