"""What is remembered across a restart so that nobody is told the same again: a small file in the state folder."""

import hashlib
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from invoicedrop.system import disk, small_file

_LARGEST: Final = 1024 * 1024


class Memory:
    """A JSON object in a file. For one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Any]:
        """Return what was written last; nothing where there is no such file, or no sense in it."""
        try:
            descriptor = disk.open_regular(self._path)
            if descriptor is None:
                return {}
            with os.fdopen(descriptor, "rb") as file:
                content = json.loads(file.read(_LARGEST))
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def write(self, content: dict[str, Any]) -> None:
        """Replace what is remembered, also on a full disk; where that fails, it stays as it is."""
        with suppress(OSError):
            small_file.write(self._path, json.dumps(content).encode(), mode=0o600, sync=True)


def salt_in(content: dict[str, Any]) -> str:
    """Return the salt that is remembered; a new one where there is none."""
    salt = content.get("salt")
    return salt if isinstance(salt, str) else secrets.token_hex(16)


def fingerprint(secret: str, salt: str) -> str:
    """Return by what a secret is known again: with the salt of this state folder it tells nothing to anybody else."""
    return hashlib.blake2b(secret.encode(), key=salt.encode()[:64], digest_size=12).hexdigest()


def moments_in(content: dict[str, Any]) -> dict[str, float]:
    """Return what is remembered under "since": a moment, in seconds since the epoch, for each name."""
    since = content.get("since")
    if not isinstance(since, dict):
        return {}
    return {str(name): float(moment) for name, moment in since.items() if isinstance(moment, int | float)}
