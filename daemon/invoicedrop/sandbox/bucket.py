"""Channable's rate limit: a leaky bucket shared by everything that a company does."""

import threading
import time
from collections.abc import Callable


class LeakyBucket:
    """A bucket that holds `burst` requests and leaks `rate` of them a second; a full one refuses.

    A refused request adds nothing to the bucket. Safe to use from several threads.

    Attributes:
        accepted, refused: how many requests were let in and how many were not.

    Raises:
        ValueError: in words, for a rate or burst that cannot be.

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
        """Change the limit; what is in the bucket stays in it. Rate 0 switches the limit off."""
        if rate < 0 or (rate > 0 and burst < 1):
            raise ValueError(f"a rate of {rate} with a burst of {burst} would let nothing through; rate 0 is no limit")
        with self._lock:
            self._leak()
            self.rate, self.burst = rate, burst

    def take(self) -> bool:
        """Put one request into the bucket; False if it does not fit."""
        with self._lock:
            return self._take()

    def drain(self, requests: int) -> int:
        """Let another client of the same company do so many requests; return how many were let in."""
        with self._lock:
            return sum(self._take() for _ in range(requests))

    @property
    def level(self) -> float:
        """How many requests are in the bucket now."""
        with self._lock:
            self._leak()
            return self._level

    def empty(self) -> None:
        """Forget every request so far, as after a long rest."""
        with self._lock:
            self._level = 0.0

    def _take(self) -> bool:
        self._leak()
        # The tolerance keeps rounding from refusing a client that sends at exactly the rate.
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
