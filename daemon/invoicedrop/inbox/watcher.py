"""From a drop folder to settled files: the directory is the truth, events are only wake-ups.

A scan decides what is there. inotify (through watchdog) says which names to look at sooner, and that a file's writer
has closed or moved it. Files that were there before, that came while we were stopped, or on a share that sends no
events, take the same way, a little later.

watchdog's reader is used without its observer (watchdog 7.1): that holds every event for up to half a second behind
a moved-out file, and our own filing moves every file out.
"""

import heapq
import os
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from invoicedrop.errors import FolderUnavailable
from invoicedrop.inbox.events import Events
from invoicedrop.inbox.identity import Identity, identity_of
from invoicedrop.inbox.names import ignored
from invoicedrop.inbox.stability import StabilityTracker
from invoicedrop.system import disk, permissions

_SCAN_SHARE: Final = 20
"""A scan that takes long is followed by this many times its length of something else."""
_TAIL: Final = 1024
"""Bytes at the end of a PDF in which its end-of-file marker must stand (ISO 32000-1, Annex H, note 18)."""


class Watcher:
    """One drop folder. All methods are for one thread, but for what `wake` is called by.

    `on_ignored(name, why)` is told once of each file that is left alone.
    """

    def __init__(
        self,
        folder: Path,
        tracker: StabilityTracker,
        *,
        scan_interval: float,
        wake: Callable[[], None],
        on_ignored: Callable[[str, str], None],
        own_folders: Iterable[Path] = (),
        events: bool = True,
    ) -> None:
        self.folder = folder
        self.tracker = tracker
        self.waiting = 0
        self.events_refused: str | None = None
        self._scan_interval = scan_interval
        self._events = Events(wake) if events else None
        self._on_ignored = on_ignored
        self._own = {path.name for path in own_folders if path.parent == folder}
        self._left_alone: set[str] = set()
        self._folder_identity: tuple[int, int] | None = None
        self._next_scan = 0.0
        self.longer_backlog = False

    @property
    def mode(self) -> str:
        """How the folder is watched: "events" (and scans), or "scans" alone."""
        return "events" if self._events is not None and self._events.at_work else "scans"

    @property
    def next_scan(self) -> float:
        """Monotonic time of the next scan."""
        return self._next_scan

    def scan_soon(self) -> None:
        """Scan at the next look."""
        self._next_scan = 0.0

    def close(self) -> None:
        """Stop listening to events."""
        if self._events is not None:
            self._events.close()

    def look(self) -> None:
        """See what is new: names with events at once, the whole folder when a scan is due.

        Raises:
            FolderUnavailable: the folder cannot be read now.

        """
        names, lost = self._events.take() if self._events is not None else ({}, False)
        now = time.monotonic()
        if lost or now >= self._next_scan or (self.longer_backlog and self.tracker.low):
            self._scan(now)
        for name, done in names.items():
            self.look_at(name, done=done)

    def look_at(self, name: str, *, done: bool = False) -> None:
        """See what is new about one name; `done`: its writer has closed it or moved it there."""
        if name not in self.tracker and (self.longer_backlog or not self.tracker.room):
            return
        try:
            found = os.lstat(self.folder / name)
        except OSError:
            self.tracker.gone(name)
            return
        if not self._is_invoice(name, found.st_mode):
            return
        identity = identity_of(found)
        self.tracker.saw(name, identity)
        if done and ends_like_a_pdf(self.folder / name, identity):
            self.tracker.complete(name)

    def _scan(self, started: float) -> None:
        try:
            self._listen()
            self._compare()
        except OSError as error:
            self._next_scan = started + self._scan_interval
            self._folder_identity = None
            if isinstance(error, FileNotFoundError):
                # To make it anew would hide that a share is not mounted.
                raise FolderUnavailable(f"{self.folder} is not there: is its share mounted?") from error
            refusal = permissions.explained(self.folder, error)
            raise FolderUnavailable(f"{self.folder} cannot be read ({error.strerror}): {refusal.sentence}") from error
        took = time.monotonic() - started
        self._next_scan = started + max(self._scan_interval, took * _SCAN_SHARE)

    def _listen(self) -> None:
        """Listen to the folder that is there now: it may be another one than before, under the same name."""
        found = self.folder.stat()
        identity = (found.st_dev, found.st_ino)
        if self._events is not None and (identity != self._folder_identity or not self._events.at_work):
            self.events_refused = self._events.watch(self.folder)
        self._folder_identity = identity

    def _compare(self) -> None:
        """Tell the tracker what is there; of a backlog that is too long for it, the oldest."""
        seen: set[str] = set()
        left_alone: set[str] = set()
        waiting = 0
        tracker = self.tracker

        def newcomers() -> Iterable[tuple[int, str, Identity]]:
            nonlocal waiting
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    name = entry.name
                    try:
                        found = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if not self._is_invoice(name, found.st_mode, left_alone):
                        continue
                    waiting += 1
                    if name in tracker:
                        seen.add(name)
                        tracker.saw(name, identity_of(found))
                    else:
                        yield found.st_mtime_ns, name, identity_of(found)

        room = tracker.room
        fresh = heapq.nsmallest(room + 1, newcomers())
        self.longer_backlog = len(fresh) > room
        for _, name, identity in fresh[:room]:
            seen.add(name)
            tracker.saw(name, identity)
        tracker.only(seen)
        self.waiting = waiting
        self._left_alone = left_alone

    def _is_invoice(self, name: str, mode: int, left_alone: set[str] | None = None) -> bool:
        """Say whether a name is an invoice's; what is not is left alone, with one log line."""
        why = ignored(name)
        if why is None and stat.S_ISREG(mode):
            return True
        if (stat.S_ISDIR(mode) and name in self._own) or name.startswith(disk.TEMPORARY):
            return False
        if name not in self._left_alone:
            kind = "a hidden file" if why is not None and why.why == "hidden file" else _kind(mode)
            self._on_ignored(name, why.why if why is not None and stat.S_ISREG(mode) else kind)
        self._left_alone.add(name)
        if left_alone is not None:
            left_alone.add(name)
        return False


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFBLK: "a device",
        stat.S_IFCHR: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "no regular file")


def ends_like_a_pdf(path: Path, identity: Identity) -> bool:
    """Say whether the file begins and ends as a whole PDF does; a cheap look that decides only how soon it is read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if identity_of(os.fstat(descriptor)) != identity:
            return False
        head = os.pread(descriptor, _TAIL, 0)
        tail = os.pread(descriptor, _TAIL, max(0, identity.size - _TAIL))
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return b"%PDF-" in head and b"%%EOF" in tail
