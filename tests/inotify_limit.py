"""inotify as the kernel answers when a user has used up its watches."""

import ctypes
import errno

import pytest
from watchdog.observers import inotify_c


def refuse_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every system call that asks for a watch fail with ENOSPC."""

    def inotify_add_watch(*_arguments: object) -> int:
        ctypes.set_errno(errno.ENOSPC)
        return -1

    monkeypatch.setattr(inotify_c, "inotify_add_watch", inotify_add_watch)
