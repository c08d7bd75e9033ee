"""Wakes the main loop from other threads and from signal handlers: the self-pipe (https://cr.yp.to/docs/selfpipe.html).

A pipe and no event or condition: a signal handler runs in the middle of the main thread's own code, and would wait for
ever for a lock that this code holds.
"""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self


class Waker:
    """What the main loop sleeps on. Open as a context manager; `wake` does nothing before and after."""

    def __init__(self) -> None:
        self._reading = self._writing = -1

    def __enter__(self) -> Self:
        self._reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        return self

    def __exit__(self, *_error: object) -> None:
        reading, writing = self._reading, self._writing
        self._reading = self._writing = -1
        os.close(reading)
        os.close(writing)

    @contextmanager
    def woken_by_signals(self) -> Iterator[None]:
        """Let the interpreter itself write to the pipe when a signal comes, while the block runs; in the main thread.

        Python runs a handler between two steps of its own code. One that is due just as `wait` begins to sleep would
        run when that ends, which nothing else may do for a long time.
        """
        before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)

    def wake(self) -> None:
        """End the current `wait`, or the next one. May be called from any thread and from signal handlers."""
        # A full pipe wakes as well.
        with suppress(OSError):
            os.write(self._writing, b"!")

    def wait(self, timeout: float) -> None:
        """Sleep until `wake` is called, at most `timeout` seconds."""
        select.select([self._reading], [], [], max(0.0, timeout))
        with suppress(BlockingIOError):
            while os.read(self._reading, 4096):
                pass
