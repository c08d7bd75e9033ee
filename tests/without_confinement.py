"""Runs a program as a container does that lets calls of Landlock or seccomp not through: with a filter of its own.

Usage: python without_confinement.py {landlock,seccomp,both} ERRNO PROGRAM ARGUMENT...
"""

import errno
import os
import sys
from collections.abc import Iterator

from invoicedrop.system import confinement

_PRCTL = (157, 167)


def _filter(column: int, *, landlock: bool, seccomp: bool, error: int) -> Iterator[bytes]:
    load, equal, returns = 0x20, 0x15, 0x06
    refuse = 0x00050000 | error
    step = confinement._step
    yield step(load, 0)
    for number in [*([444, 445, 446] if landlock else []), *([confinement._SECCOMP[column]] if seccomp else [])]:
        yield from (step(equal, number, 0, 1), step(returns, refuse))
    if seccomp:
        # Its older way: prctl with PR_SET_SECCOMP.
        yield from (step(equal, _PRCTL[column], 0, 3), step(load, 16), step(equal, 22, 0, 1), step(returns, refuse))
    yield step(returns, 0x7FFF0000)


def main() -> None:
    """Take away what the first argument names, and become the program."""
    what, error, *command = sys.argv[1:]
    confinement._prctl(38, 1)  # PR_SET_NO_NEW_PRIVS
    architecture = confinement._architecture()
    assert architecture is not None
    column = architecture[1]
    program = _filter(column, landlock=what != "seccomp", seccomp=what != "landlock", error=getattr(errno, error))
    assert confinement._install(b"".join(program), column)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
