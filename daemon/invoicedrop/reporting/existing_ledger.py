"""The ledger as one who only reads it opens it: it is never made, and what this user may not do is said in words."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from invoicedrop.errors import LedgerUnavailable
from invoicedrop.ledger.ledger import LEDGER_FILE, Ledger
from invoicedrop.service.ledger_place import shared_ledger
from invoicedrop.settings.models import Settings
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
    path = settings.state_dir / LEDGER_FILE
    if not _is_usable(path):
        yield None
        return
    with Ledger.open(settings.state_dir) as ledger:
        yield ledger


def _is_usable(path: Path) -> bool:
    """Whether the ledger exists; LedgerUnavailable if it does and this user cannot use it."""
    try:
        owner = path.stat().st_uid
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError as error:
        raise LedgerUnavailable(permissions.explained(path.parent, error).sentence) from error
    except OSError as error:
        raise LedgerUnavailable(f"{path} cannot be used: {error.strerror}") from error
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        name = permissions.user_name(owner)
        raise LedgerUnavailable(
            f"{path} belongs to {name} and we run as {permissions.ourselves()}: "
            f"run this command as that user (sudo -u {name} invoicedrop ...)"
        )
    return True
