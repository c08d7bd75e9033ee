"""Whether a process that has written its number down is still there: known at once, where it can be known for certain.

A number says little by itself: it is given out again, and in another container it is another process's. So the time at
which the process began goes with it, and the namespace in which it has that number (pid_namespaces(7)).
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_PROC: Final = Path("/proc")
_DEAD: Final = frozenset({b"Z", b"X"})
"""The states of a process that has ended, but for its parent's taking note of it (proc_pid_stat(5))."""
_STATE, _STARTED = 0, 19
"""Among the fields after the command's name, which may have spaces in it."""


class Life(NamedTuple):
    """One process: its number, when it began (clock ticks since the machine's start), and where it has that number."""

    pid: int
    started: int
    namespace: str

    @classmethod
    def ours(cls) -> "Life":
        """Return what this process is; without what the system does not say."""
        pid = os.getpid()
        return cls(pid, int(_fields(pid)[_STARTED] or 0), _namespace())

    @property
    def is_over(self) -> bool:
        """Whether the process has certainly ended: false where that cannot be seen from here."""
        if self.pid <= 0 or not self.namespace or self.namespace != _namespace():
            return False
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except OSError:
            pass  # it is there, and another user's
        fields = _fields(self.pid)
        began = int(fields[_STARTED] or 0)
        return fields[_STATE] in _DEAD or (began != self.started and began > 0 < self.started)


def _namespace() -> str:
    with suppress(OSError):
        return str((_PROC / "self/ns/pid").readlink())
    return ""


def _fields(pid: int) -> list[bytes]:
    """Return what the system says of a process; empty fields where it does not (hidepid in proc(5))."""
    with suppress(OSError):
        fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        if len(fields) > _STARTED and fields[_STARTED].isdigit():
            return fields
    return [b""] * (_STARTED + 1)
