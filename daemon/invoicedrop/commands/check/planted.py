"""What `invoicedrop check` finds that somebody has put in the place of our own folders and files."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from invoicedrop.commands.check.finding import Finding, Level
from invoicedrop.inbox.ownership import OWNER_FILE
from invoicedrop.settings.inbox import Inbox
from invoicedrop.system import disk, permissions
from invoicedrop.system.held_folder import is_strangers_link, strangers_link_in_words
from invoicedrop.system.mover import is_aside

_MAX_ENTRIES: Final = 10_000
"""Of a longer folder, only so many entries are looked through."""
_MAX_NAMED: Final = 5


def strangers_link(folder: Path) -> permissions.Refusal | None:
    """Return what is wrong with a folder that is a link which we do not follow; None if it is none."""
    with suppress(OSError):
        if is_strangers_link(folder):
            return strangers_link_in_words(folder)
    return None


def of_inbox(inbox: Inbox, now: float) -> Iterator[Finding]:
    """Name what bears a name of our own temporary files or folders and is nothing that we make."""
    folders = dict.fromkeys((*inbox.fixed_folders, inbox.processed.at(now)))
    planted = [entry for folder in folders for entry in _planted(folder)]
    for path, status in planted[:_MAX_NAMED]:
        kind = "a link" if stat.S_ISLNK(status.st_mode) else "nothing that we make"
        text = f"{path} has a name of ours and is {kind} ({permissions.owned(status)}): it is left alone"
        yield Finding("planted", inbox.name, Level.WARNING, text, "see who made it, and remove it")
    if len(planted) > _MAX_NAMED:
        text = f"{len(planted) - _MAX_NAMED} more have names of ours and are nothing that we make"
        yield Finding("planted", inbox.name, Level.WARNING, text, "as above, then check again")


def _planted(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    # Whether the folder can be read is another finding.
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in islice(entries, _MAX_ENTRIES):
            if entry.name.startswith(disk.TEMPORARY) and not _is_ours(entry):
                with suppress(FileNotFoundError):
                    yield folder / entry.name, entry.stat(follow_symlinks=False)


def _is_ours(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is of the kind that we make under this name; other names of this prefix we do not make."""
    if is_aside(entry.name):
        return entry.is_dir(follow_symlinks=False)
    named_by_us = disk.is_unfinished(entry.name) or entry.name == OWNER_FILE
    return named_by_us and entry.is_file(follow_symlinks=False)
