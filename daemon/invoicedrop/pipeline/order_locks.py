"""Taking turns: one order at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class KeyedLock:
    """Lets only one thread at a time work on an order, or on a PDF.

    Invoices of one order could be taken for each other, and a PDF could go to two orders at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: dict[object, tuple[threading.Lock, int]] = {}

    @contextmanager
    def hold(self, key: object) -> Iterator[None]:
        """Work on `key` alone."""
        with self._lock:
            lock, users = self._busy.get(key, (threading.Lock(), 0))
            self._busy[key] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, users = self._busy.pop(key)
                if users > 1:
                    self._busy[key] = (lock, users - 1)
