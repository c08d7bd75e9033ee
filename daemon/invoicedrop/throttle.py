"""When a request may leave: the company's leaky bucket, and the pause of a project that cannot upload.

`Throttle` mirrors Channable's leaky bucket (4 requests a second, burst 200, per company): every request adds one drop,
the bucket leaks at the allowed rate, and a request waits until its drop fits. Two things make our own mirror differ
from theirs, and both are handled here: other programs of the company draw on the same bucket (so the rate adapts to
429), and a request arrives a little earlier or later than it was counted (so the last few drops are never used).

`Pause` is one probe at a time for a destination that does not answer: doubling, jittered, capped.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from invoicedrop.invoice import Paused, Stopping

_ARRIVAL_JITTER: Final = 1.0
"""Seconds by which requests may bunch up on their way: so many drops are kept free."""
_RETRY_AFTER_CAP: Final = 300.0
"""Seconds; a longer Retry-After is not believed: the next 429 will say it again."""
_SLOWEST_SHARE: Final = 1 / 16
"""Of the allowed rate: slower than this we never get, so that we notice when the other client stops."""
_SLOW_DOWN: Final = 0.7
_SPEED_UP_SECONDS: Final = 120.0
"""Without a 429, the rate grows from nothing back to the allowed one in this time."""
_UNTOLD_WAIT: Final = 1.0
"""Seconds to wait after a 429 that does not say how long."""
_SAME_NEWS: Final = 1.0
"""Seconds within which several refusals tell one thing once."""


class BucketLevel(NamedTuple):
    """What is remembered of a bucket across a restart: drops in it, at which wall-clock time."""

    level: float
    at: float


class Throttle:
    """One company's leaky bucket. `rate` in requests a second (0 = no limit), `burst` in requests."""

    def __init__(self, rate: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._allowed = rate
        self._rate = rate
        self._capacity = max(1.0, burst - min(rate * _ARRIVAL_JITTER, burst * 0.1))
        self._clock = clock
        self._level = 0.0
        self._at = clock()
        self._not_before = self._at
        self._slowed_at = float("-inf")
        self._closed = False
        self._changed = threading.Condition()

    @property
    def rate(self) -> float:
        """The rate in force now, in requests a second; 0 = no limit."""
        return self._rate

    def acquire(self) -> None:
        """Wait until one request may leave.

        Raises:
            Stopping: `close` was called meanwhile.

        """
        with self._changed:
            while True:
                if self._closed:
                    raise Stopping("stopped while waiting for the rate limit")
                wait = self._reserve()
                if wait <= 0:
                    return
                self._changed.wait(wait)

    def _reserve(self) -> float:
        """Take a drop's place and return 0, or return the seconds until one could be free."""
        now = self._clock()
        if now < self._not_before:
            return self._not_before - now
        if self._allowed <= 0:
            return 0.0
        self._leak(now)
        if self._level + 1 <= self._capacity:
            self._level += 1
            return 0.0
        return (self._level + 1 - self._capacity) / self._rate

    def _leak(self, now: float) -> None:
        passed = max(0.0, now - self._at)
        self._at = now
        if now - self._slowed_at > _SAME_NEWS:
            self._rate = min(self._allowed, self._rate + self._allowed * passed / _SPEED_UP_SECONDS)
        self._level = max(0.0, self._level - passed * self._rate)

    def refused(self, retry_after: float | None) -> float:
        """Learn from a 429: the bucket is full and somebody else uses it too. Return the seconds to wait."""
        with self._changed:
            now = self._clock()
            wait = _UNTOLD_WAIT if retry_after is None else min(max(retry_after, 0.0), _RETRY_AFTER_CAP)
            if self._allowed > 0:
                self._leak(now)
                if now - self._slowed_at > _SAME_NEWS:
                    self._rate = max(self._allowed * _SLOWEST_SHARE, self._rate * _SLOW_DOWN)
                    self._slowed_at = now
                self._level = self._capacity
            self._not_before = max(self._not_before, now + wait)
            self._changed.notify_all()
            return wait

    def level(self) -> BucketLevel:
        """Return what is in the bucket now, to be remembered across a restart."""
        with self._changed:
            self._leak(self._clock())
            return BucketLevel(self._level, time.time())

    def restore(self, remembered: BucketLevel) -> None:
        """Start with what was in the bucket before the restart, less what has leaked since."""
        with self._changed:
            away = max(0.0, time.time() - remembered.at)
            self._leak(self._clock())
            self._level = min(self._capacity, max(self._level, remembered.level - away * self._allowed))

    def require_open(self) -> None:
        """Raise Stopping if nothing new may leave any more."""
        if self._closed:
            raise Stopping("stopped before the request left")

    def close(self) -> None:
        """Wake everybody who waits; from now on `acquire` raises Stopping."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Pause:
    """Holds back a project while nobody can upload, and lets one probe through at the end of each backoff step.

    `on_change(detail or None, seconds until the next probe)` is told once when the way closes, whenever the reason
    changes, and once when it opens again.
    """

    FIRST: Final = 2.0
    """Seconds of the first backoff step."""
    CAP: Final = 300.0
    """Seconds of the longest one."""
    STRAINS: Final = 3
    """So many troubles of single invoices in a row, without a success between, mean that the trouble is the API's."""

    def __init__(
        self,
        on_change: Callable[[str | None, float], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        first: float = FIRST,
        cap: float = CAP,
    ) -> None:
        self._on_change = on_change
        self._clock = clock
        self._first = first
        self._cap = cap
        self._lock = threading.Lock()
        self._step = 0.0
        self._until = 0.0
        self._detail: str | None = None
        self._probing = False
        self._strains: set[str] = set()

    @property
    def detail(self) -> str | None:
        """Why the way is closed; None if it is open."""
        return self._detail

    @property
    def until(self) -> float:
        """Clock time of the next probe; meaningless while the way is open."""
        return self._until

    def room(self, busy: int, wanted: int) -> int:
        """Say how many jobs may be started now, `busy` being under way: all, one as a probe, or none."""
        with self._lock:
            if self._detail is None:
                return wanted
            if self._clock() < self._until or busy or self._probing:
                return 0
            return min(1, wanted)

    @contextmanager
    def passage(self) -> Iterator[None]:
        """Let one request through: always while open, one at a time as a probe when a backoff step is over.

        Raises:
            Paused: the way is closed, or somebody else is probing.

        """
        with self._lock:
            probe = self._detail is not None
            if probe:
                if self._probing or self._clock() < self._until:
                    raise Paused(self._detail or "")
                self._probing = True
        try:
            yield
        finally:
            if probe:
                with self._lock:
                    self._probing = False

    def opened(self) -> None:
        """Open the way: a request went through."""
        with self._lock:
            self._strains.clear()
            if self._detail is None:
                return
            self._detail = None
            self._step = 0.0
        self._on_change(None, 0.0)

    def closed(self, detail: str, *, wait: float | None = None, retry_after: float | None = None) -> None:
        """Nobody can upload now: close the way for the next backoff step.

        Args:
            detail: why, in words.
            wait: seconds to wait instead of the backoff step, if not 0: what `Throttle.refused` made of a 429, which is
                no outage.
            retry_after: seconds that the API asks for, capped. They can make a step longer, not shorter: a server that
                answers 503 with `Retry-After: 1` for hours is probed ever less often all the same.

        """
        with self._lock:
            news = detail != self._detail
            now = self._clock()
            wish = wait or min(retry_after or 0.0, _RETRY_AFTER_CAP)
            if self._detail is None or now >= self._until:
                self._step = min(self._cap, self._step * 2 or self._first)
                step = self._step * random.uniform(0.75, 1.0)  # noqa: S311 - jitter, no secret
                self._until = now + (wait or max(step, wish))
            else:
                # Requests that were under way when the way closed fail too, and are no further step.
                self._until = max(self._until, now + wish)
            self._detail = detail
            left = max(0.0, self._until - now)
        if news:
            self._on_change(detail, left)

    def strained(self, who: str, detail: str) -> None:
        """Count trouble that may be one invoice's alone; close the way when several in a row have it."""
        with self._lock:
            self._strains.add(who)
            alone = len(self._strains) < self.STRAINS and self._detail is None
        if not alone:
            self.closed(detail)

    def hurry(self) -> None:
        """Probe at once: what was wrong may have been mended (a new token, say)."""
        with self._lock:
            self._until = self._clock()
            self._step = 0.0
