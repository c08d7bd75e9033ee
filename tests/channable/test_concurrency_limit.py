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


def stuck(count: int = 1) -> list[UploadProgress]:
    """Return uploads whose bytes do not leave in time."""
    return [upload(seconds=1.5, has_left=False) for _ in range(count)]


def quick(count: int = 1) -> list[UploadProgress]:
    """Return uploads that left at once."""
    return [upload() for _ in range(count)]


def test_what_does_not_leave_halves_the_limit_down_to_one() -> None:
    """Uploads whose bytes do not leave in time halve what goes at once, and one always goes."""
    limit = ConcurrencyLimit(8)
    limits = []
    for _ in range(5):
        pass_through(limit, *stuck(limit.allowed))
        limits.append(limit.allowed)
    assert limits == [4, 2, 1, 1, 1]


def test_uploads_that_are_stuck_together_halve_it_once() -> None:
    """Uploads that were under way on the same slow line are one piece of news, about as many as there were."""
    limit = ConcurrencyLimit(8)
    pass_through(limit, *stuck(6))
    assert limit.allowed == 3


def test_what_leaves_quickly_adds_one_for_each_round() -> None:
    """After as many quick uploads as may go at once, one more may, up to the most."""
    limit = ConcurrencyLimit(3)
    pass_through(limit, *stuck())
    assert limit.allowed == 1
    pass_through(limit, *quick())
    assert limit.allowed == 2
    pass_through(limit, *quick())
    assert limit.allowed == 2
    pass_through(limit, *quick(2))
    assert limit.allowed == 3
    pass_through(limit, *quick(3))
    assert limit.allowed == 3


@pytest.mark.parametrize(("seconds", "has_left"), [(1.5, True), (0.0, False)], ids=["slow", "not begun"])
def test_what_says_nothing_changes_nothing(seconds: float, has_left: bool) -> None:
    """An upload that left slowly, or was never begun, is no reason for more or fewer."""
    limit = ConcurrencyLimit(4)
    pass_through(limit, *stuck(4))
    for _ in range(10):
        pass_through(limit, upload(seconds=seconds, has_left=has_left))
    assert limit.allowed == 2


def test_whoever_finds_no_place_waits_for_one() -> None:
    """No more uploads than allowed are under way, and each gets its turn."""
    limit = ConcurrencyLimit(2)
    lock = threading.Lock()
    under_way: list[int] = []
    passed: list[int] = []

    def pass_one(number: int) -> None:
        with limit.place(upload(), stay_open):
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
            with limit.place(upload(), require_open):
                pass
        except Stopping as error:
            ended.append(error)

    with limit.place(upload(), require_open):
        thread = threading.Thread(target=wait)
        thread.start()
        stopping.set()
        wait_until(lambda: ended, what="the end of the wait")
        thread.join()


def test_uploads_that_share_the_line_have_more_time() -> None:
    """The total of each grows with how many were under way beside it at most, whoever came first."""
    limit = ConcurrencyLimit(8)
    first, second, third = (UploadProgress(10.0, 1.0, more=8.0) for _ in range(3))
    with limit.place(first, stay_open):
        assert first.total == 10
        with limit.place(second, stay_open):
            assert (first.total, second.total) == (18, 18)
        with limit.place(third, stay_open):
            assert third.total == 18
    assert first.total == 18
