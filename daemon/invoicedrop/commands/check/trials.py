"""Using a folder as the daemon does, to see what works.

A running daemon is not disturbed: trial files have names that its watcher ignores, and nothing is left behind,
folders made for the trial included.
"""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from invoicedrop.inbox.events import Events
from invoicedrop.system import disk, permissions
from invoicedrop.system.mover import DEFAULT_MOVER
from invoicedrop.system.presence import is_folder, is_there

_TRIES: Final = 3
"""A daemon that starts, or recovers from trouble, removes trial files as leftovers: then they are made again."""
_CONTENT: Final = b"A trial of invoicedrop check; may be removed.\n"


def use(folder: Path) -> permissions.Refusal | None:
    """List, write, rename and delete in `folder`; return what was refused."""

    def trial() -> None:
        with os.scandir(folder) as entries:
            next(entries, None)
        _move_file(folder, folder)

    try:
        if not is_folder(folder) and is_there(folder):
            return permissions.explained(folder, OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
        retry(trial)
    except OSError as error:
        return permissions.explained(folder, error)
    return None


def move(source: Path, target: Path) -> None:
    """Move a file from one folder to another as a finished invoice is moved, and delete it there.

    Raises:
        OSError: it cannot be moved; EXDEV where only a copy would do.

    """
    retry(lambda: _move_file(source, target))


def retry(trial: Callable[[], None]) -> None:
    """Run `trial`, again if its file was removed meanwhile."""
    for left in reversed(range(_TRIES)):
        try:
            trial()
        except FileNotFoundError:
            if not left:
                raise
        else:
            return


def _move_file(source: Path, target: Path) -> None:
    """Write a trial file in one folder, move it to another (or rename it within), and delete it there."""
    trial = disk.write_new(source, _CONTENT)
    moved = target / disk.unfinished_name()
    try:
        DEFAULT_MOVER.move(trial, moved)
        moved.unlink()
    finally:
        for path in (trial, moved):
            # What cannot be removed is what is being reported.
            with suppress(OSError):
                disk.remove(path)


@contextmanager
def temporarily_made(folder: Path, drop_dir: Path) -> Iterator[None]:
    """Make a missing folder as the daemon does at its start (but never the drop folder itself); remove it again.

    Raises:
        OSError: it cannot be made.

    """
    missing = [path for path in (folder, *folder.parents) if is_missing(path)]
    try:
        disk.make_folder(folder, parents=drop_dir not in missing)
        yield
    finally:
        for path in missing:
            # A daemon that has started meanwhile may have put something into it.
            with suppress(OSError):
                path.rmdir()


def is_missing(path: Path) -> bool:
    """Whether there is nothing at `path`; what cannot be looked at is not taken for missing."""
    try:
        return not is_there(path)
    except OSError:
        return False


def read_start(path: Path) -> OSError | None:
    """Return the error that reading the start of a waiting file meets, if it meets one."""
    try:
        descriptor = disk.open_regular(path)
        if descriptor is not None:
            try:
                os.read(descriptor, 1)
            finally:
                os.close(descriptor)
    except OSError as error:
        return error
    return None


def can_be_made(folder: Path) -> bool:
    """Whether the nearest parent that exists lets us make `folder`."""
    parent = next(parent for parent in folder.parents if not is_missing(parent))
    return os.access(parent, os.W_OK | os.X_OK, effective_ids=True)


def event_comes(events: Events, woken: threading.Event, folder: Path, seconds: float) -> bool:
    """Whether a file that we write into `folder` is announced by an event within `seconds`.

    `events` watches the folder and sets `woken`.

    Raises:
        OSError: the file cannot be written.

    """
    trial = disk.write_new(folder, _CONTENT)
    try:
        deadline = time.monotonic() + seconds
        while woken.wait(max(0.0, deadline - time.monotonic())):
            woken.clear()
            names, _ = events.take()
            if trial.name in names:
                return True
        return False
    finally:
        disk.remove(trial)
