"""Waiting for a fact, with a deadline."""

import threading
import time
from collections.abc import Callable

import pytest

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.01, 0.1


def wait_until(fact: Callable[[], object], *, seconds: float = 45.0, what: str = "the fact") -> None:
    """Wait until `fact` holds; fail with `what` after so many seconds.

    Who waits leaves the processor to those that are waited for: a look that takes long, as it runs a command, is
    followed by twice its length of something else, and the longer the wait, the more seldom the looks.
    """
    begun = time.monotonic()
    pause = threading.Event()
    look_begun = begun
    while not fact():
        now = time.monotonic()
        if now - begun > seconds:
            pytest.fail(f"waited {seconds} s in vain for {what}")
        wanted = max(2 * (now - look_begun), (now - begun) / 20)
        pause.wait(min(max(_SHORTEST_PAUSE, wanted), _LONGEST_PAUSE))
        look_begun = time.monotonic()
