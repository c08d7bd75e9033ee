"""Channable's rate limit: a leaky bucket shared by all requests of a company."""

import threading
import time
from collections.abc import Callable


class LeakyBucket:
    """A bucket that holds `burst` requests and leaks `rate` of them a second; a full bucket refuses.

    A refused request adds nothing to the bucket. Safe to use from several threads.

    Attributes:
        accepted, refused: how many requests were accepted and refused.

    Raises:
        ValueError: rate or burst is impossible; the message says why.

    """

    def __init__(self, rate: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.accepted = 0
        self.refused = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._level = 0.0
        self._seen = clock()
        self.rate = 0.0
        self.burst = 0
        self.configure(rate, burst)

    def configure(self, rate: float, burst: int) -> None:
        """Change the limit; the bucket keeps its level. Rate 0 switches the limit off."""
        if rate < 0 or (rate > 0 and burst < 1):
            raise ValueError(f"a rate of {rate} with a burst of {burst} would let nothing through; rate 0 is no limit")
        with self._lock:
            self._leak()
            self.rate, self.burst = rate, burst

    def take(self) -> bool:
        """Put one request into the bucket; return False if it does not fit."""
        with self._lock:
            return self._take()

    def drain(self, requests: int) -> int:
        """Count requests of another client of the company; return how many were accepted."""
        with self._lock:
            return sum(self._take() for _ in range(requests))

    @property
    def level(self) -> float:
        """How many requests are in the bucket now."""
        with self._lock:
            self._leak()
            return self._level

    def empty(self) -> None:
        """Empty the bucket, as a long pause would."""
        with self._lock:
            self._level = 0.0

    def _take(self) -> bool:
        self._leak()
        # Without this tolerance, rounding would refuse a client that sends at exactly the rate.
        if self.rate and self._level + 1 > self.burst + 1e-6:
            self.refused += 1
            return False
        if self.rate:
            self._level += 1
        self.accepted += 1
        return True

    def _leak(self) -> None:
        now = self._clock()
        self._level = max(0.0, self._level - self.rate * (now - self._seen))
        self._seen = now
