"""The circuit breaker of a project, or of an inbox's folders: after a failure nothing starts but one probe at a time.

Closed, requests flow. Tripped, it is open: nothing starts until a backoff step is over, then one request, the probe,
may go. Its success closes the circuit; its failure starts the next step, twice as long.

Trouble of one resource (an order, an attachment's URL) opens nothing; that of several different ones in a row does. And
where one resource is the probe again and again, in vain, it is put aside, so that another one tells whether the trouble
is over.

An upload that is refused opens the circuit at once. Such a circuit is closed by an upload only: that orders can be
read while none is taken would open and close it for ever. Where another upload goes through, those that were refused
may have been what was in trouble: their next refusal counts as their own.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from invoicedrop.errors import PauseCause, Paused
from invoicedrop.timing import DEFAULT_TIMING, Timing, backoff

_MOST_SUSPECTS: Final = 1000
"""Uploads that are remembered as refused while another one was taken."""


class CircuitBreaker:
    """Stops all requests while none can succeed. Thread-safe.

    `on_change(detail or None, seconds until the next probe)` is called once when the circuit opens, whenever the detail
    changes, and once when it closes again.
    """

    FAILURE_THRESHOLD: Final = 3
    """Failures of this many different invoices in a row, without a success between, mean that the API fails."""
    PROBES_OF_ONE: Final = 3
    """Probes of one resource in a row that fail before the resource may be what is in trouble."""

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
        self._since = 0.0
        self._until = 0.0
        self._detail: str | None = None
        self._cause = PauseCause.OUTAGE
        self._probing = False
        self._by_write = False
        self._refused: set[str] = set()  # uploads, since the last one that was taken
        self._suspects: set[str] = set()  # those of them after which another one was taken
        self._failures: dict[str, bool] = {}  # subjects, and whether each was about a write
        self._probed: tuple[str, int] = ("", 0)  # the last probe's subject, and how many in a row had it

    @property
    def detail(self) -> str | None:
        """Why the circuit is open, in words; None while it is closed."""
        return self._detail

    @property
    def cause(self) -> PauseCause:
        """Why the circuit is open, or was opened last."""
        return self._cause

    @property
    def since(self) -> float:
        """Clock time when the circuit opened; meaningless while it is closed."""
        return self._since

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

    def reset(self, subject: str | None = None, *, by_read: bool = False) -> None:
        """Close the circuit: a request for `subject` has succeeded. `by_read`: it says nothing about writes."""
        with self._lock:
            if not by_read:
                if len(self._suspects) > _MOST_SUSPECTS:
                    self._suspects.clear()
                self._suspects = (self._suspects | self._refused) - {subject or ""}
                self._refused.clear()
            self._failures = {subject: True for subject, writes in self._failures.items() if writes and by_read}
            if self._detail is None or (by_read and self._by_write):
                return
            self._detail = None
            self._step = 0.0
            self._by_write = False
            self._probed = ("", 0)
        self._on_change(None, 0.0)

    def trip(
        self,
        detail: str,
        cause: PauseCause,
        *,
        wait: float | None = None,
        retry_after: float | None = None,
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
            if self._detail is None:
                self._since = now
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

    def record_failure(
        self,
        subject: str,
        detail: str,
        cause: PauseCause = PauseCause.OUTAGE,
        *,
        writes: bool = False,
        retry_after: float | None = None,
    ) -> bool:
        """Count a failure that may be one invoice's own; trip when several in a row have one.

        Returns whether it is everybody's, as far as is known.
        """
        with self._lock:
            if self._detail is None:
                self._failures[subject] = writes
                if len(self._failures) < self.FAILURE_THRESHOLD:
                    return False
            self._by_write |= writes
            put_aside = self._is_put_aside(subject)
        self.trip(detail, cause, retry_after=retry_after)
        return not put_aside

    def record_refusal(self, subject: str, detail: str, cause: PauseCause, *, retry_after: float | None = None) -> bool:
        """Trip because an upload was refused; return what `record_failure` does."""
        with self._lock:
            is_suspect = subject in self._suspects and self._detail is None
            if not is_suspect:
                self._by_write = True
                self._refused.add(subject)
                put_aside = self._is_put_aside(subject)
        if is_suspect:
            return self.record_failure(subject, detail, cause, writes=True, retry_after=retry_after)
        self.trip(detail, cause, retry_after=retry_after)
        return not put_aside

    def _is_put_aside(self, subject: str) -> bool:
        """Count a probe that failed; return whether its resource has had enough of them in a row."""
        before, probes = self._probed
        probes = probes + 1 if subject == before else 1
        put_aside = probes >= self.PROBES_OF_ONE
        self._probed = (subject, 0 if put_aside else probes)
        return put_aside

    def probe_now(self) -> None:
        """Allow a probe at once: what was wrong may have been mended (a new token, say)."""
        with self._lock:
            self._until = self._clock()
            self._step = 0.0
