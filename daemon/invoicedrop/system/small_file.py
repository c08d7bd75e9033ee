"""Small files of our own that are written again and again: replaced in one step, and on a full disk written into.

They are filled up with spaces to whole blocks, so that the content finds room in the blocks that they have. A reader on
a full disk may, at worst, find a mixture of two contents, which is no JSON then.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from invoicedrop.system import disk

_BLOCK: Final = 4096
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_FLAGS: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""What stands in a file's place is not followed, and not waited for."""


def write(path: Path, content: bytes, *, mode: int, sync: bool = False) -> None:
    """Have `content`, and spaces behind it, in the file at `path`, with these rights; `sync`: on disk at the return.

    Raises:
        OSError: it could not be written; what is there is as it was.

    """
    filled = content.ljust(-(-len(content) // _BLOCK) * _BLOCK)
    temporary = path.with_suffix(".tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS, 0o600), "wb") as file:
            file.write(filled)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if sync:
                os.fsync(file.fileno())
        disk.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            disk.remove(temporary)
        if error.errno not in _FULL or not _write_into(path, filled):
            raise


def _write_into(path: Path, filled: bytes) -> bool:
    """Write into the file that is there, if it has the room; return whether it has."""
    try:
        descriptor = os.open(path, os.O_WRONLY | _FLAGS)
    except OSError:
        return False
    try:
        size = os.fstat(descriptor).st_size
        return size >= len(filled) and os.pwrite(descriptor, filled.ljust(size), 0) == size
    except OSError:
        return False
    finally:
        os.close(descriptor)
