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

    @property
    def without_inode(self) -> "Identity":
        """The same for a file system whose inode numbers change from look to look: device and inode are 0."""
        return self._replace(device=0, inode=0)

    def is_like(self, other: "Identity") -> bool:
        """Whether both are the same state of one file, as far as can be told where one is without its inode."""
        return self == other or (0 in {self.inode, other.inode} and self[2:] == other[2:])


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
