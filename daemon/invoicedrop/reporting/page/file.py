"""The page's file: replaced in one step, never in the place of somebody else's, and never through somebody's link."""

import os
import stat
from pathlib import Path
from typing import Final

from invoicedrop.system import disk
from invoicedrop.system.held_folder import held, is_strangers_link, strangers_link_in_words
from invoicedrop.system.mover import DEFAULT_MOVER, is_placeholder

MARK: Final = "<!-- invoicedrop status page -->"
"""By this a page of ours is known; it stands at its beginning."""
_HEAD: Final = 256
"""Bytes at the beginning in which the mark must stand."""
_STALE: Final = 3600.0
"""Seconds after which an unfinished file is what a crash left; another page may be written into the same folder."""


class NotOurPage(Exception):  # noqa: N818 - a state of affairs, no fault
    """What has the page's name is somebody's own: it stays, and there is no page."""

    def __init__(self, path: Path) -> None:
        self.problem = f"{path} is somebody's own, no page of this service"
        self.remedy = "rename it, or set status_page to another path (empty for no page)"
        super().__init__(f"{self.problem}: {self.remedy}")


def write_page(path: Path, content: bytes, *, mode: int | None) -> None:
    """Write the page, with these rights if they are given.

    Raises:
        NotOurPage: what is there is no page of ours.
        OSError: it cannot be written now; on a share also because somebody has it open.

    """
    if is_strangers_link(path.parent):
        raise PermissionError(strangers_link_in_words(path.parent).sentence)
    with held(path.parent) as folder:
        target = folder / path.name
        is_new = not _is_ours(target, path)
        temporary = disk.write_new(folder, content)
        try:
            disk.give_mode(temporary, mode)
            if is_new:
                DEFAULT_MOVER.move(temporary, target)
            else:
                disk.replace(temporary, target)
        except BaseException:
            disk.remove(temporary)
            raise


def require_ours(path: Path) -> None:
    """Check that the page's name is free, or a page of ours has it.

    Raises:
        NotOurPage: it is somebody's own.
        OSError: it cannot be looked at now.

    """
    _is_ours(path, path)


def clear_unfinished(folder: Path, *, now: float) -> None:
    """Remove what a crash left of pages in a folder that no inbox clears; `now` is in seconds since the epoch.

    Raises:
        OSError: the folder cannot be read.

    """
    disk.clear_unfinished(folder, os.geteuid(), before=now - _STALE)


def _is_ours(target: Path, shown: Path) -> bool:
    """Whether a page of ours is at `target` (which has the name `shown`); False if there is nothing."""
    try:
        status = target.lstat()
    except FileNotFoundError:
        return False
    if is_placeholder(target, os.geteuid()):
        # What a crash left of the first page, where files are moved that way.
        return True
    if not stat.S_ISREG(status.st_mode):
        raise NotOurPage(shown)
    descriptor = disk.open_regular(target)
    if descriptor is None:
        return False
    try:
        if MARK.encode() not in os.pread(descriptor, _HEAD, 0):
            raise NotOurPage(shown)
    finally:
        os.close(descriptor)
    return True
