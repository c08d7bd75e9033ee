"""Holds back while nobody can upload; one probe at a time."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from invoicedrop.errors import Paused
from invoicedrop.timing import DEFAULT_TIMING, Timing


class CircuitBreaker:
    """Holds back a project while nobody can upload, and lets one probe through at the end of each backoff step.

    `on_change(detail or None, seconds until the next probe)` is told once when the way closes, whenever the reason
    changes, and once when it opens again.
    """

    FAILURE_THRESHOLD: Final = 3
    """So many troubles of single invoices in a row, without a success between, mean that the trouble is the API's."""

    def __init__(
        self,
        on_change: Callable[[str | None, float], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        self._on_change = on_change
        self._clock = clock
        self._timing = timing
        self._lock = threading.Lock()
        self._step = 0.0
        self._until = 0.0
        self._detail: str | None = None
        self._probing = False
        self._failures: set[str] = set()

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
    def guard(self) -> Iterator[None]:
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

    def reset(self) -> None:
        """Open the way: a request went through."""
        with self._lock:
            self._failures.clear()
            if self._detail is None:
                return
            self._detail = None
            self._step = 0.0
        self._on_change(None, 0.0)

    def trip(self, detail: str, *, wait: float | None = None, retry_after: float | None = None) -> None:
        """Nobody can upload now: close the way for the next backoff step.

        Args:
            detail: why, in words.
            wait: seconds to wait instead of the backoff step, if not 0: what `RateLimiter.refused` made of a 429, which
                is no outage.
            retry_after: seconds that the API asks for, capped. They can make a step longer, not shorter: a server that
                answers 503 with `Retry-After: 1` for hours is probed ever less often all the same.

        """
        with self._lock:
            news = detail != self._detail
            now = self._clock()
            wish = wait or min(retry_after or 0.0, self._timing.longest_retry_after)
            if self._detail is None or now >= self._until:
                self._step = min(self._timing.longest_probe, self._step * 2 or self._timing.first_probe)
                step = self._step * random.uniform(0.75, 1.0)  # noqa: S311 - jitter, no secret
                self._until = now + (wait or max(step, wish))
            else:
                # Requests that were under way when the way closed fail too, and are no further step.
                self._until = max(self._until, now + wish)
            self._detail = detail
            left = max(0.0, self._until - now)
        if news:
            self._on_change(detail, left)

    def record_failure(self, who: str, detail: str) -> None:
        """Count trouble that may be one invoice's alone; close the way when several in a row have it."""
        with self._lock:
            self._failures.add(who)
            alone = len(self._failures) < self.FAILURE_THRESHOLD and self._detail is None
        if not alone:
            self.trip(detail)

    def probe_now(self) -> None:
        """Probe at once: what was wrong may have been mended (a new token, say)."""
        with self._lock:
            self._until = self._clock()
            self._step = 0.0
