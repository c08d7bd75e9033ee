"""Signals wake the loop, whenever they come."""

import os
import signal
import threading
import time

from invoicedrop.service.signals import SignalQueue
from invoicedrop.service.waker import Waker


def test_a_signal_ends_a_sleep_without_its_handler_s_help() -> None:
    """The interpreter itself wakes the loop: a handler that is due just as the sleep begins would come too late."""
    with Waker() as waker, SignalQueue(lambda: None, waker.woken_by_signals).handlers():
        killer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGHUP))
        killer.start()
        began = time.monotonic()
        waker.wait(30)
        killer.join()
    assert time.monotonic() - began < 20


def test_what_wakes_is_put_back() -> None:
    """After the block, signals write where they wrote before."""
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    with Waker() as waker, waker.woken_by_signals():
        pass
    after = signal.set_wakeup_fd(before)
    assert after == before
