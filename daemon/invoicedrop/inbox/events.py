"""Inotify, as a wake-up only."""

import os
import threading
from collections.abc import Callable
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
    InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
)
_MOST_NAMES: Final = 10_000
"""Events remembered by name; more than that, and a scan is quicker."""


class Events:
    """inotify's word that something happened in a folder: names to look at. Never the truth, and may be missing."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._names: dict[str, bool] = {}
        self._lost = False
        self._reader: InotifyFD | None = None
        self._watch: WatchDescriptor | None = None

    @property
    def at_work(self) -> bool:
        """Say whether events of the folder reach us."""
        return self._watch is not None and self._reader is not None and self._reader.is_alive()

    def watch(self, folder: Path) -> str | None:
        """Begin to listen to `folder`, from anew; return why not, if it cannot be done."""
        self.close()
        try:
            self._reader = InotifyFD()
            self._reader.start()
            self._watch = self._reader.add_callback(os.fsencode(folder), _EVENTS, self, CallbackId(id(self)))
        except OSError as error:
            self.close()
            return error.strerror or str(error)
        return None

    def close(self) -> None:
        """Stop listening."""
        reader, self._reader, self._watch = self._reader, None, None
        if reader is not None and reader.is_alive():
            reader.stop()
            reader.join()

    def take(self) -> tuple[dict[str, bool], bool]:
        """Return the names with news (true: closed or moved in), and whether a scan is needed."""
        with self._lock:
            names, self._names = self._names, {}
            lost, self._lost = self._lost, False
            return names, lost

    # Called by watchdog's reader thread

    def on_event(self, event: InotifyEvent) -> None:
        """Note one event."""
        with self._lock:
            if event.is_delete_self or event.is_move_self:
                self._watch = None
                self._lost = True
            elif len(self._names) < _MOST_NAMES:
                name = os.fsdecode(event.name)
                done = event.is_close_write or event.is_moved_to
                self._names[name] = done or self._names.get(name, False)
            else:
                self._lost = True
        self._wake()

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """Note that the folder went away."""
        if wd == self._watch:
            self._watch = None

    def on_queue_overflow(self) -> None:
        """Note that events were lost."""
        with self._lock:
            self._lost = True
        self._wake()

    @property
    def _callback(self) -> "Events":
        return self
