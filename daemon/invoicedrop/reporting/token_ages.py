"""Since when a token is used here: nobody else says when it expires, and its year began at the latest then.

Tokens are known by a fingerprint with a salt of this state folder, which tells nothing of them to anybody else.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from invoicedrop.reporting.memory import Memory, fingerprint, moments_in, salt_in

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
        salt = salt_in(self._known)
        since = moments_in(self._known)
        found = {fingerprint(token, salt): now for token in tokens}
        # A moment that is still to come, or was before the clock was set, is forgotten.
        right = {print_: min(first, now) for print_, first in since.items() if first >= _EARLIEST}
        latest = dict(sorted((found | right).items(), key=lambda item: item[1], reverse=True)[:_MOST])
        if latest != since:
            self._known = {"salt": salt, "since": latest}
            self._memory.write(self._known)


def token_since(state_dir: Path, token: str) -> float | None:
    """Return when this token was first seen with this state folder; None where that is not known."""
    known = Memory(state_dir / _FILE_NAME).read()
    return moments_in(known).get(fingerprint(token, salt_in(known)))
