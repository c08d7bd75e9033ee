"""Which ledger was at work in a state folder, and how far it had come: kept beside it, in `known_ledger.json`.

The status file does not do: it may lie where a restart of the machine clears it.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from invoicedrop.ledger.ledger import Ledger
from invoicedrop.system import small_file

_FILE_NAME: Final = "known_ledger.json"
_MODE: Final = 0o600


class KnownLedger(NamedTuple):
    """A ledger's identity, and the id of its last entry."""

    identity: str
    last_id: int


class LedgerMemory:
    """What is remembered of the ledger of a running service."""

    def __init__(self, state_dir: Path, ledger: Ledger) -> None:
        self._state_dir = state_dir
        self._ledger = ledger
        self._identity = ""
        self._written: KnownLedger | None = None

    def refresh(self) -> None:
        """Write down how far the ledger has come, if it has; no harm is done where that fails.

        Raises:
            LedgerUnavailable: the ledger cannot be read now.

        """
        self._identity = self._identity or self._ledger.identity()
        known = KnownLedger(self._identity, self._ledger.last_id())
        if known == self._written:
            return
        path = self._state_dir / _FILE_NAME
        with suppress(OSError):
            small_file.write(path, json.dumps(known._asdict()).encode(), mode=_MODE)
            self._written = known


def known_ledger(state_dir: Path) -> KnownLedger | None:
    """Return the ledger that was at work here last; None where that is not known, or cannot be read."""
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        known = json.loads((state_dir / _FILE_NAME).read_bytes())
        return KnownLedger(str(known["identity"]), int(known["last_id"]))
    return None
