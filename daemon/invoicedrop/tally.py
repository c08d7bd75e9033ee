"""Counts that several threads add to and one reads: what the API answered, why invoices failed, how long checks took.

They begin with the process, as counters of monitoring do.
"""

import bisect
import threading
from collections import Counter
from collections.abc import Sequence


class Tally:
    """How often each of a few things has happened. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, what: str) -> None:
        """It has happened once more."""
        with self._lock:
            self._counts[what] += 1

    def counts(self) -> dict[str, int]:
        """Return how often each has happened."""
        with self._lock:
            return dict(self._counts)


class Durations:
    """How long something took, each time: how many times up to each of `bounds`, and beyond the last. Thread-safe."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._lock = threading.Lock()
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, seconds: float) -> None:
        """It took so long once more."""
        with self._lock:
            self._counts[bisect.bisect_left(self._bounds, seconds)] += 1
            self._total += seconds

    def summary(self) -> tuple[list[int], float]:
        """Return how many times it took up to each bound and longer than the one before, and the seconds in all."""
        with self._lock:
            return list(self._counts), self._total
