"""Signals as messages: a handler only records the signal and wakes the loop; the loop acts."""

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

_HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class SignalQueue:
    """The signals that were not handled yet, oldest first; `wake` is called after each.

    `woken` is entered while they are queued: it ends a sleep that a handler's turn would come too late for.
    """

    def __init__(
        self, wake: Callable[[], None], woken: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self._wake = wake
        self._woken = woken
        self._pending: deque[int] = deque()

    def put(self, number: int) -> None:
        """Add a signal. May be called from any thread and from signal handlers."""
        self._pending.append(number)
        self._wake()

    def pop(self) -> signal.Signals | None:
        """Remove the oldest signal and return it; None if there is none."""
        return signal.Signals(self._pending.popleft()) if self._pending else None

    @contextmanager
    def handlers(self) -> Iterator[None]:
        """Queue this process's signals while the block runs: in the main thread only, as Python demands."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, lambda caught, _frame: self.put(caught)) for number in _HANDLED}
        try:
            with self._woken():
                yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
