"""System calls that fail, as they do on a machine in trouble."""

import ctypes
import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from watchdog.observers import inotify_c

if TYPE_CHECKING:
    import pytest


def refusing(code: int) -> Callable[..., NoReturn]:
    """Return a call that the operating system refuses with this error."""

    def refuse(*_arguments: object, **_named: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    return refuse


def refuse_watches(monkeypatch: "pytest.MonkeyPatch") -> None:
    """Let inotify give no watch, as when a user has used up theirs."""

    def inotify_add_watch(*_arguments: object) -> int:
        ctypes.set_errno(errno.ENOSPC)
        return -1

    monkeypatch.setattr(inotify_c, "inotify_add_watch", inotify_add_watch)
