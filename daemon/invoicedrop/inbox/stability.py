"""Which files no longer change: a pure tracker, told what was seen, asked what is settled now.

It touches no file and no clock but the one it is given, so that every order of events can be tried in a test. A file
is settled when it has not changed, and no event said that somebody writes to it, for `settle_seconds` since it was
first seen like this: its own times are not believed (a Windows copy keeps the old ones). Files come out in order of
arrival; those that were put off and are due take turns with those that were not, the longest due first, so that
neither can starve the other.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

from invoicedrop.inbox.identity import Identity

WINDOW: Final = 4000
"""Files tracked at once, not counting those put off: a longer backlog waits in the folder, not in memory."""
_RENUMBERED: Final = 3
"""So often a file may have got another inode number, nothing else having changed: then inode numbers say nothing."""


@dataclass(slots=True)
class TrackedFile:
    """One file: what it was last seen as and since when, its place in the order of arrival, and when it is due.

    It is `busy` from `take` until it comes back, `waits` while it is put off, and counts as `retried` from then on
    until it changes. `renumbered` counts how often only its inode number has changed.
    """

    identity: Identity
    arrival: int
    since: float
    due: float
    busy: bool = False
    waits: bool = False
    retried: bool = False
    renumbered: int = 0


class StabilityTracker:
    """The files of one folder. Times are in seconds of `clock`."""

    def __init__(self, settle_seconds: float, *, clock: Callable[[], float], window: int = WINDOW) -> None:
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._window = window
        self._files: dict[str, TrackedFile] = {}
        self._settling: list[tuple[float, int, str]] = []
        self._ready: list[tuple[int, str]] = []
        self._ready_retries: list[tuple[float, int, str]] = []
        self._retry_next = False
        self._put_off = 0
        self._arrivals = 0
        self.unstable_inodes = False
        """Whether inode numbers were seen to change from look to look, so that files are compared without them."""

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, name: str) -> bool:
        return name in self._files

    @property
    def room(self) -> int:
        """How many more files may be tracked."""
        return max(0, self._window - (len(self._files) - self._put_off))

    @property
    def nearly_empty(self) -> bool:
        """Whether most of what was tracked is done, so that it is time to look for more."""
        return self.room > self._window * 3 // 4

    def observe(self, name: str, identity: Identity) -> None:
        """A file is there, like this."""
        file = self._files.get(name)
        if file is not None and (file.identity.is_like(identity) or file.busy):
            return
        if file is not None:
            file.renumbered = file.renumbered + 1 if file.identity[2:] == identity[2:] else 0
            self.unstable_inodes = self.unstable_inodes or file.renumbered >= _RENUMBERED
        if self.unstable_inodes:
            identity = identity.without_inode
        now = self._clock()
        if file is None:
            self._arrivals += 1
            file = self._files[name] = TrackedFile(identity, self._arrivals, now, now + self._settle_seconds)
        else:
            self._set_waits(file, waits=False)
            file.identity, file.since, file.due, file.retried = identity, now, now + self._settle_seconds, False
        heappush(self._settling, (file.due, file.arrival, name))

    def written(self, name: str) -> None:
        """Somebody writes to the file, or has just closed it: whoever comes back to it soon is waited for."""
        file = self._files.get(name)
        if file is not None and not file.busy:
            file.since = self._clock()
            file.due = max(file.due, file.since + self._settle_seconds)
            heappush(self._settling, (file.due, file.arrival, name))

    def complete(self, name: str, delay: float = 0.0) -> None:
        """The file came here whole: it need not settle, but for `delay` seconds in which an event may say otherwise."""
        file = self._files.get(name)
        if file is not None and not file.busy and not file.waits:
            file.due = min(file.due, self._clock() + delay)
            heappush(self._settling, (file.due, file.arrival, name))

    def forget(self, name: str) -> None:
        """The file is not there any more."""
        file = self._files.get(name)
        if file is not None and not file.busy:
            self._set_waits(file, waits=False)
            del self._files[name]

    def keep_only(self, names: Iterable[str]) -> None:
        """A whole scan saw these names and no others."""
        for name in self._files.keys() - names:
            self.forget(name)

    def take(self, limit: int) -> list[tuple[str, Identity, float]]:
        """Return up to `limit` settled files, in order, each with the time when it was first seen like this.

        They are busy until `release`, `put_back` or `put_off`.
        """
        now = self._clock()
        while self._settling and self._settling[0][0] <= now:
            due, arrival, name = heappop(self._settling)
            file = self._files.get(name)
            if file is not None and file.arrival == arrival and file.due == due and not file.busy:
                self._set_waits(file, waits=False)
                self._queue(file, name)
        taken: list[tuple[str, Identity, float]] = []
        while (self._ready or self._ready_retries) and len(taken) < limit:
            arrival, name = self._next()
            file = self._files.get(name)
            # It may have changed, or been put off, since it was found settled.
            if file is not None and file.arrival == arrival and file.due <= now and not file.busy:
                file.busy = True
                self._retry_next = not file.retried
                taken.append((name, file.identity, file.since))
        return taken

    def release(self, name: str) -> None:
        """The file is done with, or to be looked at anew."""
        self._files.pop(name, None)

    def settle_again(self, name: str) -> None:
        """The file is not the one that was taken: it is new as it is seen next, and until then waits anew."""
        file = self._files.get(name)
        if file is not None:
            file.busy = file.retried = False
            file.since = self._clock()
            file.due = file.since + self._settle_seconds
            heappush(self._settling, (file.due, file.arrival, name))

    def put_back(self, name: str, *, last: bool = False) -> None:
        """The file could not be worked on, through no fault of its own: it keeps its place in the order.

        `last`: it may be its fault after all, so that the others come first.
        """
        file = self._files.get(name)
        if file is not None:
            file.busy = False
            if last:
                self._arrivals += 1
                file.arrival, file.due = self._arrivals, self._clock()
            self._queue(file, name)

    def put_off(self, name: str, delay: float) -> None:
        """The file must wait `delay` seconds, unless it changes before."""
        file = self._files.get(name)
        if file is not None:
            file.busy = False
            self._set_waits(file, waits=True)
            file.retried = True
            file.due = self._clock() + delay
            heappush(self._settling, (file.due, file.arrival, name))

    def next_due(self) -> float | None:
        """Return the time when something may be settled; None if there is nothing to wait for."""
        if self._ready or self._ready_retries:
            return self._clock()
        return self._settling[0][0] if self._settling else None

    def _queue(self, file: TrackedFile, name: str) -> None:
        if file.retried:
            heappush(self._ready_retries, (file.due, file.arrival, name))
        else:
            heappush(self._ready, (file.arrival, name))

    def _next(self) -> tuple[int, str]:
        if self._ready_retries and (self._retry_next or not self._ready):
            _, arrival, name = heappop(self._ready_retries)
            return arrival, name
        return heappop(self._ready)

    def _set_waits(self, file: TrackedFile, *, waits: bool) -> None:
        self._put_off += waits - file.waits
        file.waits = waits
