"""The token that an inbox works with: a new one in its file is noticed, and told apart by a fingerprint."""

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from invoicedrop.errors import ConfigError
from invoicedrop.settings.token import fingerprint

_Identity = tuple[int, int, int, int]
_GONE: Final = (0, 0, 0, 0)


class TokenWatch:
    """`file` is where the token is (None: in the settings), `in_use` what requests have, `interval` in seconds."""

    def __init__(
        self, file: Path | None, read: Callable[[], str], in_use: Callable[[], str | None], *, interval: float
    ) -> None:
        self._file = file
        self._read = read
        self._in_use = in_use
        self._interval = interval
        self._due = 0.0
        self._seen: _Identity = _GONE
        self._salt = secrets.token_hex(8)

    def has_new(self) -> bool:
        """Whether the file has another token than requests have; looked at once in an interval.

        A file that has no token, perhaps as it is being written, or that may not be read, changes nothing: it is read
        again at the next look.
        """
        now = time.monotonic()
        if self._file is None or now < self._due:
            return False
        self._due = now + self._interval
        identity = self._identity(self._file)
        if identity == self._seen:
            return False
        token = self._token()
        if token is None:
            # What makes it readable (chmod, a rule of the system) may change nothing that can be seen of it.
            return False
        self._seen = identity
        in_use = self._in_use()
        return in_use is not None and token != in_use

    def mark(self) -> str | None:
        """Return a fingerprint of the token that the next request has; None where there is none."""
        token = self._in_use() or self._token()
        return None if token is None else fingerprint(token, self._salt)

    def _token(self) -> str | None:
        try:
            return self._read()
        except ConfigError:
            return None

    @staticmethod
    def _identity(file: Path) -> _Identity:
        try:
            status = file.stat()
        except OSError:
            return _GONE
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
