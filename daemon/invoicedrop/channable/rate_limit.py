"""When a request may leave: the company's leaky bucket.

`RateLimiter` mirrors Channable's leaky bucket (4 requests a second, burst 200, per company): every request adds one
drop, the bucket leaks at the allowed rate, and a request waits until its drop fits. Two things make our own mirror
differ from theirs, and both are handled here: other programs of the company use the same bucket (so the rate adapts
to 429), and a request arrives a little earlier or later than it was counted (so the last few drops are never used).

After a 429 the rate is cut deeply, kept for a quarter of `rate_recovery`, and grows back in the rest of it. While it is
below our share, the company's bucket leaks and so has room for the other programs; and a deep cut is a long time until
the next 429; twice as long where too many are refused. Where the other programs leave nothing, no rate is low enough:
whatever we send is refused, or takes the place of what they send. So after a 429 that comes soon after the one before
nothing is sent, ever longer, up to `longest_refusal_wait`. That is a price: a longer wait would not notice in minutes
that they have stopped, and a shorter one costs them and us more refusals. tests/channable/test_room_for_others.py
measures all that beside a shop, for the rate limits of four servers.

What nobody waits for takes what is left over (`spare`): one drop into a bucket that is empty, and not more often than
a quarter of the rate. An upload that comes right after it finds one drop in the bucket, never more, however many such
requests went before it. While uploads use up the rate, nothing spare leaves at all.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from invoicedrop.errors import Paused, Stopping
from invoicedrop.timing import DEFAULT_TIMING, Timing, backoff

_SLOWEST_SHARE: Final = 1 / 16
"""Share of the allowed rate that always remains, so that we notice when the other client stops."""
_SLOW_DOWN: Final = 0.25
"""Factor by which a 429 lowers the rate."""
_KEPT: Final = 1 / 4
"""Share of `rate_recovery` for which a lowered rate is kept."""
_PER_REFUSAL: Final = 100.0
"""Requests that are to be let in for each refusal, so that fewer than 2% are refused."""
_FEW: Final = 10
"""After fewer requests than this, the next refusal says that the others leave nothing."""
_PATIENT: Final = 2.0
"""Factor by which `rate_recovery` is longer where too many are refused."""
_SPARE_SHARE: Final = 1 / 4
"""Share of the rate that is for what nobody waits for."""


class Share(Protocol):
    """A company's bucket as far as other machines of ours use it, too. Thread-safe; every method may raise Paused."""

    def take(self) -> float:
        """Take room for one request and return 0, or return the seconds until there may be some."""

    def fill(self) -> None:
        """The bucket is full, as the API says."""


def usable(rate: float, burst: int, timing: Timing) -> float:
    """Return how much of a bucket is used: not the last few drops, as requests may arrive early."""
    return max(1.0, burst - min(rate * timing.arrival_jitter, burst * 0.1))


class RateLimiter:
    """One company's leaky bucket. `rate` in requests a second (0 = no limit), `burst` in requests. Thread-safe.

    With a `share`, a request needs room in that as well.
    """

    def __init__(
        self,
        rate: float,
        burst: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        timing: Timing = DEFAULT_TIMING,
        share: Share | None = None,
    ) -> None:
        self._timing = timing
        self._share = share
        self._allowed = rate
        self._rate = rate
        self._capacity = usable(rate, burst, timing)
        self._clock = clock
        self._level = 0.0
        self._leaked_at = clock()
        self._not_before = self._leaked_at
        self._slowed_at = float("-inf")
        self._passed = _FEW  # since the last refusal
        self._balance = _PER_REFUSAL
        self._patience = 1.0
        self._refusal_wait = 0.0
        self._waiting = 0
        self._next_spare = self._leaked_at
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
            Paused: what other machines use cannot be asked for now.

        """
        self._acquire_own()
        while self._share is not None and (wait := self._share.take()) > 0:
            with self._changed:
                self.require_open()
                self._changed.wait(wait)

    def _acquire_own(self) -> None:
        with self._changed:
            self._waiting += 1
            try:
                while True:
                    if self._closed:
                        raise Stopping("stopped while waiting for the rate limit")
                    wait = self._reserve()
                    if wait <= 0:
                        return
                    self._changed.wait(wait)
            finally:
                self._waiting -= 1

    def spare(self) -> float:
        """Let one request leave that nobody waits for and return 0, or return the seconds until there may be room.

        Raises:
            Stopping: `close` was called.
            Paused: what other machines use cannot be asked for now.

        """
        wait = self._spare_own()
        return self._share.take() if wait <= 0 and self._share is not None else wait

    def _spare_own(self) -> float:
        with self._changed:
            self.require_open()
            now = self._clock()
            if (wait := self._wait_of_all(now)) is not None:
                return wait
            # At the allowed rate, as a lowered one grows meanwhile.
            wait = max(self._level / self._allowed, self._next_spare - now, 1 / self._rate if self._waiting else 0.0)
            if wait <= 0:
                self._level += 1
                self._passed += 1
                self._next_spare = now + 1 / (self._rate * _SPARE_SHARE)
            return max(0.0, wait)

    def _reserve(self) -> float:
        """Add a drop and return 0, or return the seconds until one may fit."""
        if (wait := self._wait_of_all(self._clock())) is not None:
            return wait
        if self._level + 1 <= self._capacity:
            self._level += 1
            self._passed += 1
            return 0.0
        return (self._level + 1 - self._capacity) / self._rate

    def _wait_of_all(self, now: float) -> float | None:
        """Return the seconds that every request has to wait, whatever is in the bucket; None if that decides."""
        if now < self._not_before:
            return self._not_before - now
        if self._allowed <= 0:
            return 0.0
        self._leak(now)
        return None

    def _leak(self, now: float) -> None:
        passed = max(0.0, now - self._leaked_at)
        self._leaked_at = now
        recovery = self._timing.rate_recovery * self._patience
        kept = recovery * _KEPT
        growing = min(passed, now - self._slowed_at - kept)
        if growing > 0:
            growth = self._allowed / (recovery - kept)
            self._rate = min(self._allowed, self._rate + growth * growing)
        self._level = max(0.0, self._level - passed * self._rate)

    def refused(self, retry_after: float | None) -> float:
        """Learn from a 429 that the bucket is full and others use it too; return the seconds to wait.

        `retry_after` is what the response asks for, in seconds.
        """
        if self._share is not None:
            with suppress(Paused):
                self._share.fill()
        with self._changed:
            now = self._clock()
            wait = (
                self._timing.unstated_wait
                if retry_after is None
                else min(max(retry_after, 0.0), self._timing.longest_retry_after)
            )
            if self._allowed > 0:
                self._leak(now)
                if now - self._slowed_at > self._timing.same_refusal:
                    self._rate = max(self._allowed * _SLOWEST_SHARE, self._rate * _SLOW_DOWN)
                    longer = self._learn_from_refusal()
                    # What the server itself asks for is obeyed as it is.
                    more = max(0.0, longer - wait) if retry_after is None else 0.0
                    wait += more
                    self._slowed_at = now + more
                    # Nothing is saved up meanwhile.
                    self._level = self._capacity + more * self._rate
                self._level = max(self._level, self._capacity)
            self._not_before = max(self._not_before, now + wait)
            self._changed.notify_all()
            return wait

    def _learn_from_refusal(self) -> float:
        """Become more, or less, patient; return for how long nothing is sent, as others leave nothing, in seconds."""
        timing, passed, self._passed = self._timing, self._passed, 0
        if passed < _FEW:
            self._refusal_wait = backoff(self._refusal_wait, timing.first_refusal_wait, timing.longest_refusal_wait)
            return self._refusal_wait
        self._refusal_wait = 0.0
        self._balance = max(-_PER_REFUSAL, min(_PER_REFUSAL, self._balance + passed - _PER_REFUSAL))
        self._patience = _PATIENT if self._balance < 0 else 1.0
        return 0.0

    def level(self) -> tuple[float, float]:
        """Return how many drops are in the bucket, and the wall-clock time of that: to be kept across a restart."""
        with self._changed:
            self._leak(self._clock())
            return self._level, time.time()

    def restore(self, level: float, at: float) -> None:
        """Start with what was in the bucket at an earlier wall-clock time, less what has leaked since."""
        with self._changed:
            elapsed = max(0.0, time.time() - at)
            self._leak(self._clock())
            self._level = min(self._capacity, max(self._level, level - elapsed * self._allowed))

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called: nothing new may leave."""
        return self._closed

    def require_open(self) -> None:
        """Raise Stopping after `close`: nothing new may leave."""
        if self._closed:
            raise Stopping("stopped before the request left")

    def close(self) -> None:
        """Wake every thread that waits; from now on `acquire` raises Stopping."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
