"""What held up all invoices of an inbox lately: no API, no folder, a person's pause. So each one's history can tell.

An invoice that only waits with all others has no entry in the ledger yet, and gets none for that: an outage of days
writes nothing. What it waited for is written with its first step.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from invoicedrop.ledger.step import Step, StepKind


@dataclass(frozen=True, slots=True)
class _HoldUp:
    """Why, from when, and until when (None: it goes on), in seconds since the epoch."""

    words: str
    began: float
    ended: float | None = None


class HeldUp:
    """The last hold-up of each kind, as long as it was no shorter than `least` seconds. Thread-safe."""

    def __init__(self, *, least: float, clock: Callable[[], float] = time.time) -> None:
        self._least = least
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[str, _HoldUp] = {}

    def note(self, kind: str, words: str | None) -> None:
        """A hold-up of this kind has begun, or has other words now; or it is over (None)."""
        with self._lock:
            known, now = self._last.get(kind), self._clock()
            goes_on = known is not None and known.ended is None
            if words is None:
                if known is not None and goes_on:
                    self._last[kind] = replace(known, ended=now)
            elif known is not None and goes_on:
                self._last[kind] = replace(known, words=words)
            else:
                self._last[kind] = _HoldUp(words, now)

    def steps_since(self, moment: float) -> list[Step]:
        """Return what held up an invoice that was there at that moment, as its steps."""
        with self._lock:
            now, last = self._clock(), sorted(self._last.values(), key=lambda each: each.began)
        waits = [(each.words, max(moment, each.began), now if each.ended is None else each.ended) for each in last]
        return [
            Step(StepKind.WAITED, began, words, last_at=ended)
            for words, began, ended in waits
            if ended - began >= self._least
        ]
