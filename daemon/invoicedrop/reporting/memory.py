"""What is remembered across a restart so that nobody is told the same again: a small file in the state folder."""

import errno
import json
import os
from pathlib import Path
from typing import Any, Final

from invoicedrop.system import disk

_BLOCK: Final = 4096
"""A file is filled up with spaces to whole blocks of so many bytes, so that it can be written anew on a full disk."""
_LARGEST: Final = 1024 * 1024
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}


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
        """Replace the file in one step; on a full disk, write into it. Where both fail, it stays as it is."""
        text = json.dumps(content).encode()
        filled = text.ljust(-(-len(text) // _BLOCK) * _BLOCK)
        try:
            temporary = disk.write_new(self._path.parent, filled)
            temporary.chmod(0o600)
            disk.replace(temporary, self._path)
        except OSError as error:
            if error.errno in _FULL:
                self._write_into(filled)

    def _write_into(self, filled: bytes) -> None:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                # No block more than it has: there is none.
                if os.fstat(descriptor).st_size >= len(filled):
                    os.pwrite(descriptor, filled.ljust(os.fstat(descriptor).st_size), 0)
            finally:
                os.close(descriptor)
        except OSError:
            pass
