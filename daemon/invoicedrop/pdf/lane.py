"""A limited number of places, given to threads in the order in which they come."""

import threading
from collections import deque

from invoicedrop.errors import Stopping

STOPPED = "stopped before the PDF was checked"


class Lane:
    """A number of places, each taken by one thread at a time: first come, first served."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()
        self._closed = False

    def enter(self) -> None:
        """Wait for a place, and take it.

        Raises:
            Stopping: the lane is closed.

        """
        with self._lock:
            if self._closed:
                raise Stopping(STOPPED)
            if self._free > 0:
                self._free -= 1
                return
            gate = threading.Event()
            self._waiting.append(gate)
        gate.wait()
        if self._closed:
            raise Stopping(STOPPED)

    def enter_if_free(self) -> bool:
        """Take a place if one is free now; return whether it was."""
        with self._lock:
            if self._free <= 0:
                return False
            self._free -= 1
            return True

    def leave(self) -> None:
        """Free a place, for the thread that has waited longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()  # handed over: no other thread can slip in between
            else:
                self._free += 1

    def close(self) -> None:
        """Let in no thread any more, not even one that waits."""
        with self._lock:
            self._closed = True
            for gate in self._waiting:
                gate.set()
