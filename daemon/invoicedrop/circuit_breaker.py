"""The circuit breaker of a project, or of an inbox's folders: after a failure nothing starts but one probe at a time.

Closed, requests flow. Tripped, it is open: nothing starts until a backoff step is over, then one request, the probe,
may go. Its success closes the circuit; its failure starts the next step, twice as long.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from invoicedrop.errors import PauseCause, Paused
from invoicedrop.timing import DEFAULT_TIMING, Timing, backoff


class CircuitBreaker:
    """Stops all requests while none can succeed. Thread-safe.

    `on_change(detail or None, seconds until the next probe)` is called once when the circuit opens, whenever the detail
    changes, and once when it closes again.
    """

    FAILURE_THRESHOLD: Final = 3
    """Failures of this many different invoices in a row, without a success between, mean that the API fails."""

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
        self._cause = PauseCause.OUTAGE
        self._probing = False
        self._failures: set[str] = set()

    @property
    def detail(self) -> str | None:
        """Why the circuit is open, in words; None while it is closed."""
        return self._detail

    @property
    def until(self) -> float:
        """Clock time of the next probe; meaningless while the circuit is closed."""
        return self._until

    def allowance(self, busy: int, wanted: int) -> int:
        """Return how many jobs may start now while `busy` are under way: all that are wanted, one as a probe, or 0."""
        with self._lock:
            if self._detail is None:
                return wanted
            if self._clock() < self._until or busy or self._probing:
                return 0
            return min(1, wanted)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Let one request through: any while the circuit is closed, one probe when a backoff step is over.

        Raises:
            Paused: the circuit is open, and it is too early for a probe or another one is under way.

        """
        with self._lock:
            probe = self._detail is not None
            if probe:
                if self._probing or self._clock() < self._until:
                    raise Paused(self._detail or "", self._cause)
                self._probing = True
        try:
            yield
        finally:
            if probe:
                with self._lock:
                    self._probing = False

    def reset(self) -> None:
        """Close the circuit: a request has succeeded."""
        with self._lock:
            self._failures.clear()
            if self._detail is None:
                return
            self._detail = None
            self._step = 0.0
        self._on_change(None, 0.0)

    def trip(
        self, detail: str, cause: PauseCause, *, wait: float | None = None, retry_after: float | None = None
    ) -> None:
        """Open the circuit for the next backoff step.

        Args:
            detail: why, in words.
            cause: why, for whoever is held back by `guard`.
            wait: seconds to wait instead of the backoff step, if not 0: what `RateLimiter.refused` made of a 429, which
                is no outage.
            retry_after: seconds that the API asks for, capped. They can make a step longer, not shorter: a server that
                answers 503 with `Retry-After: 1` for hours is probed ever less often all the same.

        """
        with self._lock:
            changed = detail != self._detail
            now = self._clock()
            shortest = wait or min(retry_after or 0.0, self._timing.longest_retry_after)
            if self._detail is None or now >= self._until:
                self._step = backoff(self._step, self._timing.first_probe, self._timing.longest_probe)
                step = self._step * random.uniform(0.75, 1.0)  # noqa: S311 - jitter, no secret
                self._until = now + (wait or max(step, shortest))
            else:
                # Requests that were under way when the circuit opened fail too: that is no further step.
                self._until = max(self._until, now + shortest)
            self._detail = detail
            self._cause = cause
            remaining = max(0.0, self._until - now)
        if changed:
            self._on_change(detail, remaining)

    def record_failure(self, subject: str, detail: str) -> None:
        """Count a failure that may be one invoice's own; trip when several in a row have one."""
        with self._lock:
            self._failures.add(subject)
            isolated = len(self._failures) < self.FAILURE_THRESHOLD and self._detail is None
        if not isolated:
            self.trip(detail, PauseCause.OUTAGE)

    def probe_now(self) -> None:
        """Allow a probe at once: what was wrong may have been mended (a new token, say)."""
        with self._lock:
            self._until = self._clock()
            self._step = 0.0
