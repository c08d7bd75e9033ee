"""Waiting for a fact, with a deadline."""

import threading
import time
from collections.abc import Callable

import pytest


def wait_until(fact: Callable[[], object], *, seconds: float = 20.0, what: str = "the fact") -> None:
    """Wait until `fact` holds; fail with `what` after so many seconds."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not fact():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s in vain for {what}")
        pause.wait(0.01)
