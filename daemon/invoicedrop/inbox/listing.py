"""What lies in a drop folder: the invoices, and what is left alone and why."""

import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

from invoicedrop.errors import Changed, FolderUnavailable
from invoicedrop.inbox.names import split_ending

_TEMPORARY: Final = ("*.tmp", "*.part", "*.partial", "*.filepart", "*.crdownload", "~$*", "thumbs.db", "desktop.ini")
TEMPORARY_FILE: Final = "temporary file"
"""Why a file is left alone that somebody may still be copying."""
_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


class FolderEntry(NamedTuple):
    """One name in a drop folder; `left_alone` is why it is no invoice, None if it is one. Links are not followed."""

    name: str
    status: os.stat_result
    left_alone: str | None


def list_folder(folder: Path) -> Iterator[FolderEntry]:
    """Go through the entries of a folder, in no order; one that vanishes meanwhile is left out.

    Raises:
        OSError: the folder, or one of its entries, cannot be read.

    """
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield FolderEntry(entry.name, status, why_left_alone(entry.name, status.st_mode))


def look_up(folder: Path, name: str) -> FolderEntry:
    """Return the entry of this name.

    Raises:
        OSError: there is none, or it cannot be read.

    """
    status = os.lstat(folder / name)
    return FolderEntry(name, status, why_left_alone(name, status.st_mode))


def require_present(path: Path) -> None:
    """Check that there still is something at `path`.

    Raises:
        Changed: there is nothing any more.
        FolderUnavailable: it cannot be seen now.

    """
    if not is_there(path):
        raise Changed("the file is gone")


def is_there(path: Path) -> bool:
    """Whether there is something at `path`.

    Raises:
        FolderUnavailable: it cannot be seen now.

    """
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise FolderUnavailable(f"{path} cannot be seen: {error.strerror or error}") from error
    return True


def why_left_alone(name: str, mode: int) -> str | None:
    """Return why an entry of this name and mode (`st_mode`) is none of our business; None if it is an invoice."""
    ignored = _why_ignored(name)
    if stat.S_ISREG(mode):
        return ignored
    return "a hidden file" if ignored == "hidden file" else _KINDS.get(stat.S_IFMT(mode), "no regular file")


def _why_ignored(name: str) -> str | None:
    folded = name.casefold()
    if folded.startswith("."):
        return "hidden file"
    if any(fnmatchcase(folded, pattern) for pattern in _TEMPORARY):
        return TEMPORARY_FILE
    if not split_ending(name)[1]:
        return "not a .pdf file"
    return None
