"""What is remembered of deferred files while the process lives: the delay of each, and what was logged of it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from structlog.typing import FilteringBoundLogger as Log

from invoicedrop.errors import Deferred, FileUnavailable
from invoicedrop.reasons import Reason
from invoicedrop.timing import Timing, backoff

_MAX_FILES: Final = 10_000
"""Files that are remembered; of more, the oldest begin anew."""


@dataclass(slots=True)
class _Memory:
    """One file: how often it was tried, the delay after the last try, the words logged last, and when (monotonic)."""

    tries: int = 0
    delay: float = 0.0
    detail: str | None = None
    logged: float = 0.0


class Deferrals:
    """The deferred files of one inbox. Thread-safe."""

    def __init__(self, timing: Timing, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._timing = timing
        self._clock = clock
        self._lock = threading.Lock()
        self._files: dict[str, _Memory] = {}

    def forget(self, name: str) -> None:
        """The file has come through, or is another one now."""
        with self._lock:
            self._files.pop(name, None)

    def is_repeated(self, name: str) -> bool:
        """Whether more than one try of the file in a row has failed because it could not be read or moved."""
        with self._lock:
            return name in self._files and self._files[name].tries > 1

    def next_delay(self, name: str, first: float) -> float:
        """Return the delay of a file that cannot be read or moved: `first`, then twice the one before."""
        with self._lock:
            memory = self._memory(name)
            memory.tries += 1
            memory.delay = backoff(memory.delay, first, self._timing.longest_retry)
            return memory.delay

    def is_news(self, name: str, detail: str) -> bool:
        """Whether a deferral is to be logged: its words are new, or were logged too long ago."""
        now = self._clock()
        with self._lock:
            memory = self._memory(name)
            if memory.detail == detail and now < memory.logged + self._timing.deferral_logged:
                return False
            memory.detail, memory.logged = detail, now
            return True

    def note(self, name: str, log: Log, delay: float, detail: str, reason: Reason | None = None) -> Deferred:
        """Note that an invoice waits, and return what to raise. `reason`: what it fails for if nothing changes."""
        if self.is_news(name, detail):
            fields = {} if reason is None else {"reason": str(reason)}
            log.info("invoice.deferred", seconds=round(delay, 1), detail=detail, **fields)
        return Deferred(delay, detail)

    @contextmanager
    def noted(self, name: str, log: Log) -> Iterator[None]:
        """Note the deferral of a file that cannot be read, or moved, while the block runs.

        Raises:
            Deferred: what the block raised, with the delay that follows from the tries before.

        """
        try:
            yield
        except FileUnavailable as trouble:
            delay = self.next_delay(name, trouble.delay)
            self._log(name, log, delay, trouble.detail)
            raise FileUnavailable(delay, trouble.detail) from trouble
        except Deferred as trouble:
            self._log(name, log, trouble.delay, trouble.detail)
            raise

    def _log(self, name: str, log: Log, delay: float, detail: str) -> None:
        if self.is_news(name, detail):
            log.warning("invoice.deferred", seconds=round(delay, 1), detail=detail)

    def _memory(self, name: str) -> _Memory:
        if name not in self._files:
            while len(self._files) >= _MAX_FILES:
                del self._files[next(iter(self._files))]
            self._files[name] = _Memory()
        return self._files[name]
