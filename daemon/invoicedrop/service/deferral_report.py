"""The deferred files as people are shown them: until when each waits, and why."""

import time
from typing import Final

from invoicedrop.inbox.stability import StabilityTracker
from invoicedrop.inbox.watcher import Watcher
from invoicedrop.printable import storable

_MAX_FILES: Final = 100
"""Deferred files whose reason and time are kept."""


class DeferralReport:
    """The deferred files of one inbox. For one thread."""

    def __init__(self, tracker: StabilityTracker, watcher: Watcher) -> None:
        self._tracker = tracker
        self._watcher = watcher
        self._files: dict[str, tuple[float, str]] = {}

    def note(self, name: str, delay: float, detail: str) -> None:
        """A file is tried again after `delay` seconds."""
        if len(self._files) >= _MAX_FILES:
            self._files = {other: wait for other, wait in self._files.items() if other in self._tracker}
        if len(self._files) < _MAX_FILES:
            self._files[name] = (time.monotonic() + delay, detail)

    def forget(self, name: str) -> None:
        """A file was tried again."""
        self._files.pop(name, None)

    def current(self) -> dict[str, tuple[float, str]]:
        """Return until when (seconds since the epoch) files are deferred, and why.

        Those that cannot even be looked at wait for the next scan.
        """
        # Waits are kept by the monotonic clock: what is shown follows a wall clock that somebody sets.
        ahead = time.time() - time.monotonic()
        next_scan = max(time.monotonic(), self._watcher.next_scan) + ahead
        unseen = {storable(name): (next_scan, detail) for name, detail in self._watcher.unseen.items()}
        # One that is due stays: it may have to wait for its turn, and then for the same reason.
        return unseen | {
            storable(name): (until + ahead, detail)
            for name, (until, detail) in self._files.items()
            if name in self._tracker
        }
