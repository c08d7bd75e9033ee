"""How the C library's allocator keeps freed memory: little, as a daemon rests most of its time."""

import ctypes
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
"""The numbers of glibc's malloc.h, https://man7.org/linux/man-pages/man3/mallopt.3.html."""
_LARGE: Final = 256 * 1024
"""Bytes from which a block has pages of its own, which its end gives back: an invoice, and its request."""


def keep_little() -> None:
    """Let freed memory go back to the system soon, instead of keeping what a burst took; for this process.

    Without this, glibc makes an arena for each thread, and learns from one large block to keep all. Another C library
    (musl) has no such settings, and needs none.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, 2)
        mallopt(_MMAP_THRESHOLD, _LARGE)
        mallopt(_TRIM_THRESHOLD, _LARGE)
