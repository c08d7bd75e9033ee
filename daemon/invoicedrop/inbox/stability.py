"""Which files hold still: a pure tracker, fed with what was seen, asked what is settled now.

It touches no file and no clock but the one it is given, so that every order of events can be tried in a test.
A file is settled when it has not changed for `settle_seconds` since it was first seen like this: its own times are
not believed (a Windows copy keeps the old ones). Order is order of arrival; those that were put off and are due take
turns with those that were not, the longest due first, so that neither can starve the other.
"""

from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Final

from invoicedrop.inbox.identity import Identity

WINDOW: Final = 4000
"""Files tracked at once, those put off not counted: a longer backlog waits its turn in the folder, not in memory."""


class TrackedFile:
    """What is known of one file: when it was first seen like this, and when it is due."""

    __slots__ = ("again", "busy", "due", "identity", "number", "since", "waits")

    def __init__(self, identity: Identity, number: int, now: float, due: float) -> None:
        self.identity = identity
        self.number = number
        self.since = now
        self.due = due
        self.busy = False
        self.waits = False
        self.again = False


class StabilityTracker:
    """What is known of the files in one folder. Times are seconds of `clock`."""

    def __init__(self, settle_seconds: float, *, clock: Callable[[], float], window: int = WINDOW) -> None:
        self._settle = settle_seconds
        self._clock = clock
        self._window = window
        self._files: dict[str, TrackedFile] = {}
        self._settling: list[tuple[float, int, str]] = []
        self._ready: list[tuple[int, str]] = []
        self._ready_again: list[tuple[float, int, str]] = []
        self._again_next = False
        self._put_off = 0
        self._numbers = 0

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, name: str) -> bool:
        return name in self._files

    @property
    def room(self) -> int:
        """How many more files may be tracked."""
        return max(0, self._window - (len(self._files) - self._put_off))

    @property
    def low(self) -> bool:
        """Say whether most of what was tracked is done, so that it is time to look for more."""
        return self.room > self._window * 3 // 4

    def saw(self, name: str, identity: Identity) -> None:
        """A file is there, like this."""
        known = self._files.get(name)
        if known is not None and (known.identity == identity or known.busy):
            return
        now = self._clock()
        if known is None:
            self._numbers += 1
            known = self._files[name] = TrackedFile(identity, self._numbers, now, now + self._settle)
        else:
            self._count_wait(known, waits=False)
            known.identity, known.since, known.due, known.again = identity, now, now + self._settle, False
        heappush(self._settling, (known.due, known.number, name))

    def complete(self, name: str) -> None:
        """The file's writer has closed or moved it, and its end is complete: it need not wait any longer."""
        known = self._files.get(name)
        if known is not None and not known.busy and not known.waits:
            known.due = self._clock()
            heappush(self._settling, (known.due, known.number, name))

    def gone(self, name: str) -> None:
        """The file is not there any more."""
        known = self._files.get(name)
        if known is not None and not known.busy:
            self._count_wait(known, waits=False)
            del self._files[name]

    def only(self, names: Iterable[str]) -> None:
        """A whole scan saw these names and no others."""
        for name in self._files.keys() - names:
            self.gone(name)

    def take(self, limit: int) -> list[tuple[str, Identity, float]]:
        """Return up to `limit` settled files, oldest arrival first, with the time of their last change seen.

        They are busy until `release` or `put_off`.
        """
        now = self._clock()
        while self._settling and self._settling[0][0] <= now:
            due, number, name = heappop(self._settling)
            known = self._files.get(name)
            if known is not None and known.number == number and known.due == due and not known.busy:
                self._count_wait(known, waits=False)
                self._queue(known, name)
        taken: list[tuple[str, Identity, float]] = []
        while (self._ready or self._ready_again) and len(taken) < limit:
            number, name = self._next()
            known = self._files.get(name)
            # It may have changed, or been put off, since it was found settled.
            if known is not None and known.number == number and known.due <= now and not known.busy:
                known.busy = True
                self._again_next = not known.again
                taken.append((name, known.identity, known.since))
        return taken

    def release(self, name: str) -> None:
        """It is done with, or to be looked at anew."""
        self._files.pop(name, None)

    def put_back(self, name: str) -> None:
        """It was not its fault: it keeps its place in the order."""
        known = self._files.get(name)
        if known is not None:
            known.busy = False
            self._queue(known, name)

    def put_off(self, name: str, delay: float) -> None:
        """It must wait `delay` seconds, unless it changes before."""
        known = self._files.get(name)
        if known is not None:
            known.busy = False
            self._count_wait(known, waits=True)
            known.again = True
            known.due = self._clock() + delay
            heappush(self._settling, (known.due, known.number, name))

    def next_due(self) -> float | None:
        """Return the time when something may be settled; None if there is nothing to wait for."""
        if self._ready or self._ready_again:
            return self._clock()
        return self._settling[0][0] if self._settling else None

    def put_off_until(self) -> float | None:
        """Return when the first of the files put off is due; None if none is."""
        return min((known.due for known in self._files.values() if known.waits), default=None)

    def _queue(self, known: TrackedFile, name: str) -> None:
        if known.again:
            heappush(self._ready_again, (known.due, known.number, name))
        else:
            heappush(self._ready, (known.number, name))

    def _next(self) -> tuple[int, str]:
        if self._ready_again and (self._again_next or not self._ready):
            _, number, name = heappop(self._ready_again)
            return number, name
        return heappop(self._ready)

    def _count_wait(self, known: TrackedFile, *, waits: bool) -> None:
        self._put_off += waits - known.waits
        known.waits = waits
