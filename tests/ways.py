"""The ways of moving a file (see `invoicedrop.system.mover`), each alone, whatever the file system can do."""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from invoicedrop.system.mover import renameat2
from system_calls import refusing

WAYS: Final = ("rename", "link", "placeholder", "copy")


def unheld(path: Path) -> Path:
    """Return the path of a file in a folder that is held (`invoicedrop.system.held_folder`), as others see it."""
    held = re.match(r"/proc/self/fd/\d+", str(path))
    if held is None:
        return path
    return Path(os.readlink(held[0]) + str(path)[held.end() :])  # noqa: PTH115 - called thousands of times


def first_way(way: str, rename: Callable[[Path, Path], None] = renameat2) -> Callable[[Path, Path], Any]:
    """Return what a `Mover` tries first where this is the only way; for "placeholder", refuse links as well."""
    match way:
        case "rename":
            return rename
        case "copy":
            return lambda source, target: _across_disks(source, target, rename)
        case _:
            return refusing(errno.ENOSYS)


def _across_disks(source: Path, target: Path, rename: Callable[[Path, Path], None]) -> None:
    # Processed and failed are on another disk; a folder that a file is put aside in is not.
    if len({unheld(path).parent.name in {"processed", "failed"} for path in (source, target)}) > 1:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    rename(source, target)
