"""What tells one state of a file from another: its identity, without reading it, or the digest of its bytes."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from invoicedrop.system import disk


class Identity(NamedTuple):
    """What tells one state of a file from another without reading it."""

    device: int
    inode: int
    size: int
    mtime_ns: int


def identity_of(status: os.stat_result) -> Identity:
    """Return the identity of the file with this status."""
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def digest(path: Path) -> str | None:
    """Return the SHA-256 of the regular file at `path`, in hex; None if there is none (any more).

    Raises:
        OSError: it cannot be read now.

    """
    descriptor = disk.open_regular(path)
    if descriptor is None:
        return None
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
