"""File systems that a test mounts, for root: without the right to, the test is skipped."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_LIBC = ctypes.CDLL(None, use_errno=True)
_MNT_DETACH = 2
_MS_BIND = 4096


@contextmanager
def tmpfs(at: Path, options: str = "size=8m") -> Iterator[None]:
    """Mount a file system in memory while the block runs."""
    if os.geteuid() != 0 or _LIBC.mount(b"none", os.fsencode(at), b"tmpfs", 0, options.encode()) != 0:
        pytest.skip("no file system may be mounted here")
    try:
        yield
    finally:
        _LIBC.umount2(os.fsencode(at), _MNT_DETACH)


@contextmanager
def bind(source: Path, at: Path) -> Iterator[None]:
    """Mount a folder at another place too, while the block runs: the same file system, the same device."""
    if os.geteuid() != 0 or _LIBC.mount(os.fsencode(source), os.fsencode(at), b"none", _MS_BIND, None) != 0:
        pytest.skip("no folder may be mounted here")
    try:
        yield
    finally:
        _LIBC.umount2(os.fsencode(at), _MNT_DETACH)
