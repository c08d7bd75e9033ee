"""How many uploads may be under way at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from invoicedrop.channable.concurrency_limit import ConcurrencyLimit
from invoicedrop.channable.upload_progress import UploadProgress
from invoicedrop.errors import Stopping
from waiting import wait_until


def upload(*, seconds: float = 0.1, has_left: bool = True) -> UploadProgress:
    """Return an upload that has left in so many seconds, or has not; more than one second is slow."""
    progress = UploadProgress(10.0, 1.0)
    progress.seconds, progress.has_left = seconds, has_left
    return progress


def stay_open() -> None:
    """The service is not being stopped."""


def pass_through(limit: ConcurrencyLimit, *uploads: UploadProgress) -> None:
    """Let these uploads pass, all at once."""
    with ExitStack() as places:
        for each in uploads:
            places.enter_context(limit.place(each, stay_open))


STUCK = upload(seconds=1.5, has_left=False)
SLOW = upload(seconds=1.5)
QUICK = upload()
NOT_BEGUN = upload(seconds=0.0, has_left=False)


def test_what_does_not_leave_halves_the_limit_down_to_one() -> None:
    """Uploads whose bytes do not leave in time halve what goes at once, and one always goes."""
    limit = ConcurrencyLimit(8)
    limits = []
    for _ in range(5):
        pass_through(limit, STUCK)
        limits.append(limit.allowed)
    assert limits == [4, 2, 1, 1, 1]


def test_uploads_that_are_stuck_together_halve_it_once() -> None:
    """Eight uploads that were under way on the same slow line are one piece of news."""
    limit = ConcurrencyLimit(8)
    pass_through(limit, *[STUCK] * 8)
    assert limit.allowed == 4


def test_what_leaves_quickly_adds_one_for_each_round() -> None:
    """After as many quick uploads as may go at once, one more may, up to the most."""
    limit = ConcurrencyLimit(3)
    pass_through(limit, STUCK)
    assert limit.allowed == 1
    pass_through(limit, QUICK)
    assert limit.allowed == 2
    pass_through(limit, QUICK)
    assert limit.allowed == 2
    pass_through(limit, QUICK, QUICK)
    assert limit.allowed == 3
    pass_through(limit, *[QUICK] * 3)
    assert limit.allowed == 3


@pytest.mark.parametrize("progress", [SLOW, NOT_BEGUN], ids=["slow", "not begun"])
def test_what_says_nothing_changes_nothing(progress: UploadProgress) -> None:
    """An upload that left slowly, or was never begun, is no reason for more or fewer."""
    limit = ConcurrencyLimit(4)
    pass_through(limit, STUCK)
    for _ in range(10):
        pass_through(limit, progress)
    assert limit.allowed == 2


def test_whoever_finds_no_place_waits_for_one() -> None:
    """No more uploads than allowed are under way, and each gets its turn."""
    limit = ConcurrencyLimit(2)
    lock = threading.Lock()
    under_way: list[int] = []
    passed: list[int] = []

    def pass_one(number: int) -> None:
        with limit.place(QUICK, stay_open):
            with lock:
                under_way.append(number)
                assert len(under_way) <= 2
            threading.Event().wait(0.002)
            with lock:
                under_way.remove(number)
                passed.append(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(pass_one, range(40)))
    assert sorted(passed) == list(range(40))


def test_a_stop_ends_the_wait_for_a_place() -> None:
    """Whoever waits for a place when the service is stopped goes back."""
    limit = ConcurrencyLimit(1)
    stopping = threading.Event()
    ended: list[Stopping] = []

    def require_open() -> None:
        if stopping.is_set():
            raise Stopping("stopped")

    def wait() -> None:
        try:
            with limit.place(QUICK, require_open):
                pass
        except Stopping as error:
            ended.append(error)

    with limit.place(QUICK, require_open):
        thread = threading.Thread(target=wait)
        thread.start()
        stopping.set()
        wait_until(lambda: ended, what="the end of the wait")
        thread.join()
