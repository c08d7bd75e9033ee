"""How many uploads may be under way at once: as many as the line carries.

Additive increase, multiplicative decrease, as TCP does it (RFC 5681): where bytes do not leave in time, half as many as
were under way go at once, down to one; uploads that leave quickly add one more for each round of them. On a slow line
each takes less time then, and all together no more.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from invoicedrop.channable.upload_progress import UploadProgress

_DECREASE: Final = 0.5
_LOOK: Final = 0.5
"""Seconds; whoever waits for a place asks this often whether it still wants one."""


class ConcurrencyLimit:
    """Lets up to `allowed` uploads go at once, never more than `most`. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._under_way: set[UploadProgress] = set()
        self._decreased_at = float("-inf")
        self._changed = threading.Condition()

    @property
    def allowed(self) -> int:
        """How many may go at once now."""
        return int(self._limit)

    @contextmanager
    def place(self, upload: UploadProgress, require_open: Callable[[], None]) -> Iterator[None]:
        """Wait for a place, and learn from how the upload went; `require_open` may end the wait by raising."""
        with self._changed:
            while len(self._under_way) >= self.allowed:
                self._changed.wait(_LOOK)
                require_open()
            self._under_way.add(upload)
            for each in self._under_way:
                each.shared_by = max(each.shared_by, len(self._under_way))
        started = time.monotonic()
        try:
            yield
        finally:
            with self._changed:
                self._learn(upload, started)
                self._under_way.remove(upload)
                self._changed.notify_all()

    def _learn(self, upload: UploadProgress, started: float) -> None:
        if upload.has_left and not upload.is_slow:
            self._limit = min(self._most, self._limit + 1 / self._limit)
        elif not upload.has_left and upload.is_slow and started > self._decreased_at:
            # Once for all that were under way together.
            self._decreased_at = time.monotonic()
            self._limit = max(1.0, len(self._under_way) * _DECREASE)
