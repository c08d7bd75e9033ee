"""Since when a token is used here: nobody else says when it expires, and its year began at the latest then.

Tokens are known by a fingerprint with a salt of this state folder, which tells nothing of them to anybody else.
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from invoicedrop.reporting.memory import Memory

_FILE_NAME: Final = "tokens.json"
_EARLIEST: Final = 1_750_000_000.0
"""Seconds since the epoch, of June 2025: a moment before it is a clock's that was not set yet."""
_MOST: Final = 100
"""Tokens that are remembered, the latest first."""


class TokenAges:
    """The tokens that were seen with this state folder. For one thread."""

    def __init__(self, state_dir: Path) -> None:
        self._memory = Memory(state_dir / _FILE_NAME)
        self._known = self._memory.read()

    def seen(self, tokens: Iterable[str], now: float) -> None:
        """Note that these tokens are in use; what is new is written down."""
        salt = self._known.get("salt")
        if not isinstance(salt, str):
            salt = secrets.token_hex(16)
        since = _since(self._known)
        found = {_fingerprint(token, salt): now for token in tokens}
        # A moment that is still to come, or was before the clock was set, is forgotten.
        right = {print_: min(first, now) for print_, first in since.items() if first >= _EARLIEST}
        latest = dict(sorted((found | right).items(), key=lambda item: item[1], reverse=True)[:_MOST])
        if latest != since:
            self._known = {"salt": salt, "since": latest}
            self._memory.write(self._known)


def token_since(state_dir: Path, token: str) -> float | None:
    """Return when this token was first seen with this state folder; None where that is not known."""
    known = Memory(state_dir / _FILE_NAME).read()
    salt = known.get("salt")
    return _since(known).get(_fingerprint(token, salt)) if isinstance(salt, str) else None


def _since(known: Mapping[str, object]) -> dict[str, float]:
    since = known.get("since")
    if not isinstance(since, dict):
        return {}
    return {str(print_): float(first) for print_, first in since.items() if isinstance(first, int | float)}


def _fingerprint(token: str, salt: str) -> str:
    return hashlib.blake2b(token.encode(), key=salt.encode()[:64], digest_size=12).hexdigest()
