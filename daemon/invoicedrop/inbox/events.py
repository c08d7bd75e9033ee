"""inotify as a wake-up: which names of a folder to look at sooner. Never the truth, and may be missing.

watchdog's reader is used without its observer, which holds every event for up to half a second behind a moved-out file
(our own filing moves every file out). The reader is an inner part of watchdog: tests/inbox/test_events.py names all
that is used of it, and watchdog is pinned to the versions that have it.
"""

import os
import threading
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Final

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

_EVENTS: Final = Mask(
    InotifyConstants.IN_MODIFY
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
)
_MAX_NAMES: Final = 10_000


class News(Enum):
    """What the last event about a name says of it."""

    MOVED_IN = "moved in"
    """It was renamed to this name, from elsewhere or from another name in the folder."""
    CREATED = "created"
    """A writer opened it anew, or a file (or a folder, a symbolic link, ...) was linked in under this name."""
    WRITTEN = "written"
    """Somebody wrote into it, or closed it after opening it for writing."""


class Events:
    """The events of a folder, collected until they are taken.

    `wake` is called, from another thread, when there are some; not for each write into an open file, of which there
    are thousands and which only put off what is done with it. Beyond `max_names` names a scan is quicker, and is asked
    for instead.
    """

    def __init__(self, wake: Callable[[], None], *, max_names: int = _MAX_NAMES) -> None:
        self._wake = wake
        self._max_names = max_names
        self._lock = threading.Lock()
        self._names: dict[str, News] = {}
        self._lost = False
        self._reader: InotifyFD | None = None
        self._watch: WatchDescriptor | None = None

    @property
    def at_work(self) -> bool:
        """Whether events of the folder reach us."""
        return self._watch is not None and self._reader is not None and self._reader.is_alive()

    def watch(self, folder: Path) -> str | None:
        """Watch `folder` and no other from now on; return why it cannot be watched, if so."""
        self.close()
        try:
            self._reader = InotifyFD()
            self._reader.start()
            self._watch = self._reader.add_callback(os.fsencode(folder), _EVENTS, self, CallbackId(id(self)))
        except OSError as error:
            self.close()
            return error.strerror or str(error)
        except RuntimeError as error:
            # There is no thread for the reader, so that nobody else would close what it has opened.
            if self._reader is not None:
                self._reader.close()
            self._reader = self._watch = None
            return str(error)
        return None

    def close(self) -> None:
        """Stop watching."""
        reader, self._reader, self._watch = self._reader, None, None
        if reader is not None and reader.is_alive():
            reader.stop()
            reader.join()

    def take(self) -> tuple[dict[str, News], bool]:
        """Return the names with news, each with the last of them, and whether a scan is needed."""
        with self._lock:
            names, self._names = self._names, {}
            lost, self._lost = self._lost, False
            return names, lost

    # Called by watchdog's reader thread

    def on_event(self, event: InotifyEvent) -> None:
        """Record one event."""
        with self._lock:
            if event.is_delete_self or event.is_move_self:
                self._watch = None
                self._lost = True
            elif len(self._names) < self._max_names:
                self._names[os.fsdecode(event.name)] = _news(event)
            else:
                self._lost = True
        if not event.is_modify:
            self._wake()

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """Record that the folder is not watched any more."""
        if wd == self._watch:
            self._watch = None

    def on_queue_overflow(self) -> None:
        """Record that events were lost."""
        with self._lock:
            self._lost = True
        self._wake()


def _news(event: InotifyEvent) -> News:
    if event.is_moved_to:
        return News.MOVED_IN
    return News.CREATED if event.is_create else News.WRITTEN
