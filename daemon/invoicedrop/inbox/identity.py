"""One state of a file told from another."""

import os
from typing import NamedTuple


class Identity(NamedTuple):
    """What tells one state of a file from another without reading it."""

    device: int
    inode: int
    size: int
    mtime_ns: int


def identity_of(found: os.stat_result) -> Identity:
    """Reduce a stat result to what tells one state of a file from another."""
    return Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
