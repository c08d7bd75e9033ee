"""Forks a child for our parent instead of for us: clone(2) with CLONE_PARENT.

So a process that has loaded what takes long can make ready ones for whoever started it, who waits for them, kills them
and slows them by their number, as for any child: the number cannot be another process's before it was waited for.
Descriptors of processes (pidfd) would do without the kinship, but need Linux 5.3, and containers that let them through.

The C library has no function for it that leaves us our stack, hence the call itself, by ctypes. What `os.fork` does
around it, for the interpreter, is done here as well. Only for a process with one thread.
"""

import ctypes
import os
import signal
import sys
from typing import Final

_python: Final = ctypes.pythonapi
"""Keeps the lock of the interpreter while it calls."""
_python_libc: Final = ctypes.PyDLL(None, use_errno=True)
_python_libc.syscall.restype = ctypes.c_long
_CLONE_PARENT: Final = 0x8000
_CLONE: Final = {"x86_64": 56, "ppc64le": 120}
"""The number of clone(2). Other architectures of 64 bits share theirs, those of 32 bits as well."""
_CLONE_64: Final = 220
_CLONE_32: Final = 120


def fork_sibling() -> int:
    """Fork as `os.fork` does, a child of our parent; return its number, in the child 0.

    Raises:
        OSError: the system gives no process.

    """
    number = _CLONE.get(os.uname().machine, _CLONE_64) if sys.maxsize > 1 << 32 else _CLONE_32
    nothing = ctypes.c_long(0)
    flags = ctypes.c_long(_CLONE_PARENT | signal.SIGCHLD)
    _python.PyOS_BeforeFork()
    pid = int(_python_libc.syscall(ctypes.c_long(number), flags, nothing, nothing, nothing, nothing))
    if pid == 0:
        _python.PyOS_AfterFork_Child()
        return 0
    error = ctypes.get_errno()
    _python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(error, os.strerror(error))
    return pid
