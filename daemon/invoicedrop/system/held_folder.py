"""A folder that is held open: what is done in it is done there, wherever its name leads meanwhile.

A path is walked anew by each call, so that whoever may write into one of its folders can put a link in between. A path
below `/proc/self/fd/N` is not walked: it begins at the open folder itself (proc_pid_fd(5)), as openat(2) does, also for
calls that take no descriptor. Only the last name is looked up, so nothing may follow that one (O_NOFOLLOW, lstat).
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from invoicedrop.system.dated_folder import DatedFolder
from invoicedrop.system.permissions import Refusal
from invoicedrop.system.presence import is_there


class Place(NamedTuple):
    """Where a folder really lies: its path without links, its device (`st_dev`), and its mount.

    What is beneath a bind mount may be on the same device; a mount has a number of its own ("mnt_id" in
    proc_pid_fdinfo(5)).
    """

    path: str
    device: int
    mount: str


@contextmanager
def held(folder: Path, *, follow: bool = True) -> Iterator[Path]:
    """Hold a folder open while the block runs; yield the path that leads to it meanwhile.

    Raises:
        OSError: it cannot be opened; ENOTDIR if it is a link and `follow` is false.

    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(folder, flags)
    try:
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def place_of(path: Path) -> Place:
    """Return where the folder lies that is held as `path`."""
    # Read by the bare calls: this is asked several times for each invoice.
    descriptor = os.open(f"/proc/self/fdinfo/{path.name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        information = os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
    mount = next((line for line in information.splitlines() if line.startswith(b"mnt_id:")), b"")
    return Place(real_path_of(path), path.stat().st_dev, mount.decode())


def real_path_of(path: Path) -> str:
    """Return the path without links of the folder that is held as `path`."""
    return os.readlink(path)  # noqa: PTH115 - a text is wanted


def is_strangers_link(folder: Path) -> bool:
    """Whether a folder is a link that neither root, nor we, nor the owner of the folder around it has made.

    So the kernel judges links in a folder that everybody writes to (proc_sys_fs(5), protected_symlinks).
    """
    status = folder.lstat()
    return stat.S_ISLNK(status.st_mode) and status.st_uid not in {0, os.geteuid(), folder.parent.stat().st_uid}


def link_below(folder: DatedFolder, moment: float) -> Path | None:
    """Return a link on the way from the fixed part of a folder to what it is at a moment, if there is one.

    Raises:
        OSError: it cannot be looked at.

    """
    path = folder.fixed
    for name in folder.names_at(moment):
        path /= name
        if is_there(path) and stat.S_ISLNK(path.lstat().st_mode):
            return path
    return None


def link_below_in_words(link: Path, fixed: Path) -> Refusal:
    """Return what is wrong with such a link, and what helps."""
    return Refusal(
        f"{link} is a link, and below {fixed}, where folders are made for years and months, no link is followed",
        "put a real folder in its place, or have the setting name where it leads",
    )


def strangers_link_in_words(folder: Path) -> Refusal:
    """Return what is wrong with a folder that is such a link, and what helps."""
    return Refusal(
        f"{folder} is a link to {os.path.realpath(folder)}, made by somebody who does not own the folder around it",
        "remove it, or make it anew as root",
    )
