"""From a drop folder to settled files: the directory is the truth, events are only wake-ups.

A scan decides what is there. inotify says which names to look at sooner, which files came whole (moved or linked in),
and which are being written: those are left until nothing was heard of them for a while, since a writer may come back
to sign what it has closed, or to append an e-invoice. Files that were there before, that came while we were stopped,
or on a share that sends no events, take the same way, a little later.
"""

import os
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from invoicedrop.errors import FolderUnavailable
from invoicedrop.inbox.events import Events, News
from invoicedrop.inbox.identity import Identity, identity_of
from invoicedrop.inbox.listing import FolderEntry, list_folder, look_up, unseen_in_words
from invoicedrop.inbox.ownership import OWNER_FILE
from invoicedrop.inbox.stability import StabilityTracker
from invoicedrop.system import disk, permissions
from invoicedrop.system.mover import is_aside
from invoicedrop.timing import LOOK_SHARE

_NAMED: Final = 100
"""While more entries than these are left alone, new ones are only counted."""
_LINK_GRACE: Final = 0.05
"""Seconds in which the event of a write follows that of the file's creation, on its way through kernel and threads."""
_TAIL: Final = 1024
"""Bytes at the end of a PDF in which its end-of-file marker must stand (ISO 32000-1, Annex H, note 18)."""


class Watcher:
    """One drop folder, watched by scans and, unless `events` is None, by events. All methods are for one thread.

    `on_ignored(name, why)` is called once for each file that is left alone, while they are at most 100; beyond,
    `on_many_ignored(how many there are)` once for all that are new in a scan. `waiting` is the number of invoices that
    the last scan found; with a `longer_backlog` there are more than are tracked. `unseen` are those that could not be
    looked at, with the reason.
    """

    def __init__(
        self,
        folder: Path,
        tracker: StabilityTracker,
        *,
        scan_interval: float,
        events: Events | None,
        on_ignored: Callable[[str, str], None],
        on_many_ignored: Callable[[int], None] = lambda _count: None,
        own_folders: Iterable[Path] = (),
        own_files: Iterable[Path] = (),
    ) -> None:
        self.folder = folder
        self.tracker = tracker
        self.waiting = 0
        self.longer_backlog = False
        self.unseen: dict[str, str] = {}
        self._scan_interval = scan_interval
        self._events = events
        self._on_ignored = on_ignored
        self._on_many_ignored = on_many_ignored
        self._own_names = {path.name for path in own_folders if path.parent == folder}
        self._own_files = {OWNER_FILE, *(path.name for path in own_files if path.parent == folder)}
        self._left_alone: set[str] = set()
        self._unnamed = 0
        self._watched: tuple[int, int] | None = None
        self._next_scan = 0.0

    @property
    def mode(self) -> str:
        """How the folder is watched: by "events" (and scans), or by "scans" alone."""
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
        if lost or now >= self._next_scan or (self.longer_backlog and self.tracker.nearly_empty):
            self._scan(now)
        for name, news in names.items():
            self.look_at(name, news)

    def look_at(self, name: str, news: News | None = None) -> None:
        """See what is new about one name; `news` is what the last event said of it."""
        if name not in self.tracker and (self.longer_backlog or not self.tracker.room):
            return
        try:
            entry = look_up(self.folder, name)
        except (FileNotFoundError, NotADirectoryError):
            self.tracker.forget(name)
            return
        except OSError:
            # Whatever it is, the next scan meets it, too.
            return
        if self._is_own(entry):
            return
        if entry.left_alone is not None:
            self.tracker.forget(name)
            self._leave_alone(name, entry.left_alone)
            return
        if entry.status is None:
            return
        identity = identity_of(entry.status)
        self.tracker.observe(name, identity)
        if news is News.WRITTEN:
            self.tracker.written(name)
        elif news is News.MOVED_IN and ends_like_a_pdf(self.folder / name, identity):
            self.tracker.complete(name)
        elif news is News.CREATED and _linked_in(entry.status) and ends_like_a_pdf(self.folder / name, identity):
            self.tracker.complete(name, _LINK_GRACE)

    def _scan(self, started: float) -> None:
        try:
            self._listen()
            self._compare()
        except OSError as error:
            self._next_scan = started + self._scan_interval
            self._watched = None
            if isinstance(error, FileNotFoundError):
                # To make it anew would hide that a share is not mounted.
                raise FolderUnavailable(f"{self.folder} is not there: is its share mounted?") from error
            refusal = permissions.explained(self.folder, error)
            raise FolderUnavailable(f"{self.folder} cannot be read ({error.strerror}): {refusal.sentence}") from error
        took = time.monotonic() - started
        self._next_scan = started + max(self._scan_interval, took * LOOK_SHARE)

    def _listen(self) -> None:
        """Listen to the folder that is there now: it may be another one than before, under the same name."""
        status = self.folder.stat()
        folder = (status.st_dev, status.st_ino)
        if self._events is not None and (folder != self._watched or not self._events.at_work):
            self._events.watch(self.folder)
        self._watched = folder

    def _compare(self) -> None:
        """Show the tracker what is there; of a backlog that is too long for it, the oldest."""
        seen: set[str] = set()
        left_alone: set[str] = set()
        unseen: dict[str, str] = {}
        newcomers: list[tuple[int, str, Identity]] = []
        wanted = self.tracker.room + 1
        waiting = 0
        for entry in list_folder(self.folder):
            if entry.left_alone is not None:
                if not self._is_own(entry):
                    left_alone.add(entry.name)
                    self._leave_alone(entry.name, entry.left_alone)
                continue
            waiting += 1
            if entry.status is None:
                # Not seen is not gone: what is known of it stays.
                seen.add(entry.name)
                if entry.error is not None and len(unseen) < _NAMED:
                    unseen[entry.name] = unseen_in_words(entry.name, entry.error)
                continue
            identity = identity_of(entry.status)
            if entry.name in self.tracker:
                seen.add(entry.name)
                self.tracker.observe(entry.name, identity)
                continue
            newcomers.append((identity.mtime_ns, entry.name, identity))
            if len(newcomers) >= 2 * wanted:
                # A backlog of any length takes the memory of those that are wanted.
                newcomers.sort()
                del newcomers[wanted:]
        newcomers.sort()
        self.longer_backlog = len(newcomers) >= wanted
        for _, name, identity in newcomers[: wanted - 1]:
            seen.add(name)
            self.tracker.observe(name, identity)
        self.tracker.keep_only(seen)
        self.waiting = waiting
        self.unseen = unseen
        self._left_alone = left_alone
        if self._unnamed:
            self._unnamed = 0
            self._on_many_ignored(len(left_alone))

    def _is_own(self, entry: FolderEntry) -> bool:
        """Whether this is one of our own folders or files, or an unfinished one."""
        if entry.status is None:
            # One that cannot be looked at is taken for ours by its name.
            return entry.name in self._own_names or is_aside(entry.name) or disk.is_unfinished(entry.name)
        if stat.S_ISDIR(entry.status.st_mode):
            return entry.name in self._own_names or is_aside(entry.name)
        is_own = entry.name in self._own_files or disk.is_unfinished(entry.name)
        return is_own and stat.S_ISREG(entry.status.st_mode)

    def _leave_alone(self, name: str, why: str) -> None:
        if name in self._left_alone:
            return
        self._left_alone.add(name)
        if len(self._left_alone) <= _NAMED:
            self._on_ignored(name, why)
        else:
            self._unnamed += 1


def _linked_in(status: os.stat_result) -> bool:
    """Whether a file that has just been created here may be one that was there before, linked in.

    It has another name still, or its last change was to its names and not to its bytes. A file that is written here
    has this too when somebody links it elsewhere, or sets its times: but then an event says that it was written.
    """
    return status.st_nlink > 1 or status.st_ctime_ns > status.st_mtime_ns


def ends_like_a_pdf(path: Path, identity: Identity) -> bool:
    """Whether the file begins and ends as a whole PDF does; this decides only how soon it is read."""
    try:
        descriptor = disk.open_regular(path)
    except OSError:
        return False
    if descriptor is None:
        return False
    try:
        if not identity_of(os.fstat(descriptor)).is_like(identity):
            return False
        head = os.pread(descriptor, _TAIL, 0)
        tail = os.pread(descriptor, _TAIL, max(0, identity.size - _TAIL))
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return b"%PDF-" in head and b"%%EOF" in tail
