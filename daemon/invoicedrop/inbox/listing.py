"""What lies in a drop folder: the invoices, and what is left alone and why."""

import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

from invoicedrop.errors import Changed, FileUnavailable, FolderUnavailable
from invoicedrop.inbox.names import split_ending
from invoicedrop.languages.catalogue import phrase
from invoicedrop.system import file_errors
from invoicedrop.system.presence import is_there
from invoicedrop.timing import DEFAULT_TIMING, Timing

_TEMPORARY: Final = ("*.tmp", "*.part", "*.partial", "*.filepart", "*.crdownload", "~$*", "thumbs.db", "desktop.ini")
TEMPORARY_FILE: Final = phrase("temporary file")
"""Why a file is left alone that somebody may still be copying."""
_KINDS: Final = {
    stat.S_IFDIR: phrase("a folder"),
    stat.S_IFLNK: phrase("a symbolic link"),
    stat.S_IFIFO: phrase("a FIFO"),
    stat.S_IFSOCK: phrase("a socket"),
    stat.S_IFBLK: phrase("a device"),
    stat.S_IFCHR: phrase("a device"),
}


class FolderEntry(NamedTuple):
    """One name in a drop folder; `left_alone` is why it is no invoice, None if it is one. Links are not followed.

    Where the entry cannot be looked at, `error` says why, `status` is None, and the name alone decides.
    """

    name: str
    status: os.stat_result | None
    left_alone: str | None
    error: OSError | None = None


def list_folder(folder: Path) -> Iterator[FolderEntry]:
    """Go through the entries of a folder, in no order; one that vanishes meanwhile is left out.

    Raises:
        OSError: the folder cannot be read, or the trouble with an entry is the whole disk's or process's.

    """
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                yield _unseen(entry.name, error)
                continue
            yield FolderEntry(entry.name, status, why_left_alone(entry.name, status.st_mode))


def look_up(folder: Path, name: str) -> FolderEntry:
    """Return the entry of this name.

    Raises:
        OSError: there is none, or the trouble is the whole disk's or process's.

    """
    try:
        status = os.lstat(folder / name)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        return _unseen(name, error)
    return FolderEntry(name, status, why_left_alone(name, status.st_mode))


def require_present(path: Path, *, timing: Timing = DEFAULT_TIMING) -> None:
    """Check that there still is something at `path`.

    Raises:
        Changed: there is nothing any more.
        FileUnavailable: it cannot be looked at now.
        FolderUnavailable: no file can be looked at now.

    """
    if not is_present(path, timing=timing):
        raise Changed("the file is gone")


def is_present(path: Path, *, timing: Timing = DEFAULT_TIMING) -> bool:
    """Whether there is something at `path`.

    Raises:
        FileUnavailable: it cannot be looked at now.
        FolderUnavailable: no file can be looked at now.

    """
    try:
        return is_there(path)
    except OSError as error:
        if file_errors.is_everybodys(error):
            raise FolderUnavailable(f"files in {path.parent} cannot be looked at: {error.strerror or error}") from error
        raise FileUnavailable(timing.file_retry, unseen_in_words(path.name, error)) from error


def unseen_in_words(name: str, error: OSError) -> str:
    """Return why an entry cannot be looked at, in words."""
    return phrase("{file} cannot be looked at: {why}", file=name, why=file_errors.in_words(error))


def _unseen(name: str, error: OSError) -> FolderEntry:
    if file_errors.is_everybodys(error):
        raise error
    return FolderEntry(name, None, _why_ignored(name), error)


def why_left_alone(name: str, mode: int) -> str | None:
    """Return why an entry of this name and mode (`st_mode`) is none of our business; None if it is an invoice."""
    ignored = _why_ignored(name)
    if stat.S_ISREG(mode):
        return ignored
    return (
        phrase("a hidden file")
        if ignored == "hidden file"
        else _KINDS.get(stat.S_IFMT(mode), phrase("no regular file"))
    )


def _why_ignored(name: str) -> str | None:
    folded = name.casefold()
    if folded.startswith("."):
        return phrase("hidden file")
    if any(fnmatchcase(folded, pattern) for pattern in _TEMPORARY):
        return TEMPORARY_FILE
    if not split_ending(name)[1]:
        return "not a .pdf file"
    return None
