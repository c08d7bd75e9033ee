"""Which start of the machine this is, and how long ago: what the wall clock cannot tell, since it is set.

The monotonic clock (clock_gettime(2)) is the same for all processes of one start of a machine, containers included.
"""

from functools import cache
from pathlib import Path
from typing import Final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
"""A random number of this start of the kernel (random(4))."""


@cache
def boot_id() -> str:
    """Return what tells this start of this machine from every other one; empty where the system does not say it."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError):
        return ""
