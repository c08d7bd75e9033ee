"""The company's rate limit, on a clock of its own."""

import heapq
import random
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invoicedrop.channable.rate_limit import RateLimiter
from invoicedrop.errors import Stopping
from invoicedrop.sandbox.bucket import LeakyBucket
from manual_clock import ManualClock


class Company:
    """Requests that pass our rate limiter, travel for a while, and meet Channable's own bucket."""

    def __init__(self, *, rate: float = 4.0, burst: int = 200, jitter: float = 0.0, seed: int = 0) -> None:
        self.clock = ManualClock()
        self.arrival = ManualClock()
        self.rate_limiter = RateLimiter(rate, burst, clock=self.clock)
        self.theirs = LeakyBucket(rate, burst, clock=self.arrival)
        self._jitter = jitter
        self._random = random.Random(seed)

    def send_times(self, count: int) -> Iterator[float]:
        """Let `count` requests leave, each as early as it may; yield when each one left."""
        for _ in range(count):
            while (wait := self.rate_limiter._reserve()) > 0:
                # Less than this would not move the clock at all.
                self.clock.now += max(wait, 1e-6)
            yield self.clock.now

    def refusals(self, departures: list[float]) -> int:
        """Let requests that left then arrive, each a little later; return how many Channable would have refused."""
        for arrival in sorted(at + self._random.uniform(0, self._jitter) for at in departures):
            self.arrival.now = max(self.arrival.now, arrival)
            self.theirs.take()
        return self.theirs.refused


@pytest.mark.parametrize("jitter", [0.0, 0.1, 0.5, 1.0])
def test_a_backlog_never_overflows_channables_bucket(jitter: float) -> None:
    """A thousand requests, each up to a second late, are all let in."""
    company = Company(jitter=jitter)
    assert company.refusals(list(company.send_times(1000))) == 0


@settings(max_examples=60, deadline=None)
@given(
    rate=st.sampled_from([0.5, 2.0, 4.0, 50.0]),
    burst=st.sampled_from([1, 2, 10, 100, 200]),
    bursts=st.lists(st.tuples(st.integers(1, 60), st.floats(0, 100)), max_size=6),
)
def test_no_pattern_of_work_overflows_the_bucket(rate: float, burst: int, bursts: list[tuple[int, float]]) -> None:
    """Whatever the rate, the burst, and the stops and starts of the work, our own requests are never too many."""
    company = Company(rate=rate, burst=burst)
    departures: list[float] = []
    for count, rest in bursts:
        departures.extend(company.send_times(count))
        company.clock.now += rest
    assert company.refusals(departures) == 0


def test_a_thousand_invoices_take_the_ideal_time() -> None:
    """A backlog of 1,000 takes at most 3 % longer than Channable's bucket forces it to."""
    company = Company()
    started = company.clock.now
    *_, ended = company.send_times(1000)
    ideal = (1000 - 200) / 4
    assert ideal <= ended - started <= 1.03 * ideal


def test_rate_zero_is_no_limit() -> None:
    """Without a limit nothing waits."""
    company = Company(rate=0, burst=1)
    assert len(set(company.send_times(5000))) == 1


def test_other_clients_get_their_share_and_their_end_is_noticed() -> None:
    """While another client uses half the rate we settle near the rest with few refusals, and speed up when it stops."""
    clock = ManualClock()
    ours, theirs = RateLimiter(4, 200, clock=clock), LeakyBucket(4, 200, clock=clock)
    accepted: list[float] = []
    refused: list[float] = []
    # The other client comes twice a second for an hour, we whenever we may.
    arrivals = [(clock.now + 0.5 * n, "other") for n in range(2 * 3600)] + [(clock.now, "we")]
    heapq.heapify(arrivals)
    start = clock.now
    while arrivals and arrivals[0][0] < start + 5400:
        clock.now, client = heapq.heappop(arrivals)
        if client == "other":
            theirs.take()
            continue
        wait = ours._reserve()
        if wait <= 0:
            if theirs.take():
                accepted.append(clock.now - start)
            else:
                refused.append(clock.now - start)
                ours.refused(None)
        heapq.heappush(arrivals, (clock.now + max(wait, 1e-6), "we"))
    shared = sum(600 < at < 3600 for at in accepted) / 3000
    alone = sum(3900 < at < 5400 for at in accepted) / 1500
    assert 1.6 < shared <= 2.1
    assert alone > 3.8
    assert len(refused) < 0.05 * len(accepted)
    assert not [at for at in refused if at > 3700]


def test_retry_after_is_obeyed_and_capped() -> None:
    """`Retry-After` holds every request of the company back, but not for longer than five minutes."""
    company = Company()
    assert company.rate_limiter.refused(30.0) == 30.0
    assert next(company.send_times(1)) - 1000 >= 30
    company = Company()
    assert company.rate_limiter.refused(86400.0) == 300.0
    assert next(company.send_times(1)) - 1000 == pytest.approx(300, abs=1)


def test_several_refusals_at_once_slow_down_once() -> None:
    """Requests that were under way together are refused together: that is one sign, not eight."""
    company = Company()
    company.rate_limiter.refused(None)
    slowed = company.rate_limiter.rate
    for _ in range(7):
        company.rate_limiter.refused(None)
    assert company.rate_limiter.rate == slowed
    assert slowed < 4


def test_the_rate_never_falls_to_nothing() -> None:
    """However often we are refused, now and then a request leaves and notices when the others have stopped."""
    company = Company()
    for _ in range(100):
        company.clock.now += 2
        company.rate_limiter.refused(None)
    assert company.rate_limiter.rate >= 4 / 16
    first, second = company.send_times(2)
    assert second - first <= 4.01


def test_where_others_leave_nothing_we_ask_ever_less_often() -> None:
    """A 429 that comes soon after the one before is waited for longer each time; nothing is saved up meanwhile."""
    company = Company()
    waits = [company.rate_limiter.refused(None)]
    for _ in range(8):
        *_, left = company.send_times(2)
        waits.append(company.rate_limiter.refused(None))
        first, second = company.send_times(2)
        assert first >= left + waits[-1]
        assert second >= first + 1
    assert waits == [2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 180.0, 180.0]


def test_enough_requests_that_pass_end_the_long_waits() -> None:
    """Once others have left room for some requests, a 429 is waited for as a first one is."""
    company = Company()
    for _ in range(4):
        list(company.send_times(1))
        company.rate_limiter.refused(None)
    list(company.send_times(40))
    assert company.rate_limiter.refused(None) == 2.0


def test_a_wait_that_the_server_asks_for_is_obeyed_as_it_is() -> None:
    """However many 429 come in a row, `Retry-After: 1` is one second."""
    company = Company()
    for _ in range(5):
        list(company.send_times(1))
        assert company.rate_limiter.refused(1.0) == 1.0


def test_a_restart_does_not_spend_the_burst_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was in the bucket when we stopped is in it, less what has leaked, when we start."""
    wall = ManualClock()
    monkeypatch.setattr(time, "time", wall)
    before = Company()
    list(before.send_times(150))
    remembered = before.rate_limiter.level()
    assert remembered[0] == pytest.approx(150)
    wall.now += 10
    after = Company()
    after.rate_limiter.restore(*remembered)
    departures = list(after.send_times(200))
    at_once = sum(at == departures[0] for at in departures)
    assert at_once == pytest.approx(196 - 150 + 40, abs=1)


def test_a_level_remembered_from_the_future_is_no_more_than_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a crash, or with a clock set back, we start with a full bucket at worst, and it leaks as ever."""
    monkeypatch.setattr(time, "time", ManualClock())
    company = Company()
    company.rate_limiter.restore(1e9, 1e12)
    times = list(company.send_times(9))
    assert times[-1] - 1000 == pytest.approx(9 / 4, abs=0.5)


def test_a_level_remembered_long_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a night's stop the whole burst may be used again."""
    monkeypatch.setattr(time, "time", ManualClock())
    company = Company()
    company.rate_limiter.restore(200, 0.0)
    assert len(set(company.send_times(196))) == 1


def test_threads_share_one_bucket() -> None:
    """Eight real threads get no more than one would."""
    rate_limiter = RateLimiter(200, 20)
    began = time.monotonic()
    passed: list[float] = []

    def work() -> None:
        for _ in range(8):
            rate_limiter.acquire()
            passed.append(time.monotonic() - began)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    passed.sort()
    # 18 fit at once (20, less what is kept free); then 200 a second.
    assert all(at >= (count - 18) / 200 - 0.001 for count, at in enumerate(passed, 1))
    assert passed[-1] < 2


def test_close_wakes_every_waiting_thread() -> None:
    """A stop does not wait for the rate limit."""
    rate_limiter = RateLimiter(0.001, 1)
    rate_limiter.acquire()
    stopped = threading.Event()

    def wait() -> None:
        with pytest.raises(Stopping):
            rate_limiter.acquire()
        stopped.set()

    thread = threading.Thread(target=wait)
    thread.start()
    rate_limiter.close()
    assert stopped.wait(5)
    thread.join()
    with pytest.raises(Stopping):
        rate_limiter.acquire()


# What nobody waits for


def _spare_until(company: Company, end: float) -> int:
    """Let as many spare requests leave as may until then; return how many did."""
    left = 0
    while company.clock.now < end:
        wait = company.rate_limiter.spare()
        left += wait <= 0
        company.clock.now += max(wait, 1e-6)
    return left


def test_spare_requests_take_a_quarter_of_the_rate() -> None:
    """Where nothing else leaves, a hundred seconds at 4 a second let about a hundred spare requests pass."""
    company = Company()
    assert 98 <= _spare_until(company, company.clock.now + 100) <= 101


@pytest.mark.parametrize("burst", [1, 2, 20, 200])
def test_spare_requests_delay_a_backlog_by_one_drop(burst: int) -> None:
    """A backlog that comes after, and during, any number of spare requests leaves a quarter of a second later."""
    alone, beside = Company(burst=burst), Company(burst=burst)
    for company in (alone, beside):
        company.clock.now += 1000
    assert _spare_until(beside, beside.clock.now) == 0
    assert beside.rate_limiter.spare() == 0
    without, times = list(alone.send_times(300)), []
    for departure in beside.send_times(300):
        times.append(departure)
        if burst > 1:
            # A thread that wants to send is waiting: of a larger bucket even the drops that are in it tell that.
            assert beside.rate_limiter.spare() > 0
    assert max(b - a for a, b in zip(without, times, strict=True)) <= 1 / 4 + 1e-3


def test_an_upload_that_waits_goes_first() -> None:
    """While a thread waits for its turn nothing spare leaves, however small the bucket is."""
    rate_limiter = RateLimiter(5, 1)
    rate_limiter.acquire()
    thread = threading.Thread(target=rate_limiter.acquire)
    thread.start()
    while thread.is_alive():
        # Once it has had its drop, that drop stands in the way as well.
        assert rate_limiter.spare() > 0
    thread.join()


def test_a_refusal_slows_what_is_spare() -> None:
    """After a 429 nothing spare leaves until the wait is over, and our own mirror of the bucket is empty again."""
    company = Company()
    assert company.rate_limiter.refused(3.0) == 3.0
    began = company.clock.now
    assert company.rate_limiter.spare() == 3.0
    assert _spare_until(company, began + 40) == 0
    assert _spare_until(company, began + 120) > 0


def test_without_a_limit_spare_requests_wait_for_a_refusal_only() -> None:
    """Rate 0: they leave at once, but not before the time that a 429 has asked for."""
    company = Company(rate=0, burst=1)
    assert [company.rate_limiter.spare() for _ in range(100)] == [0.0] * 100
    company.rate_limiter.refused(2.0)
    assert company.rate_limiter.spare() == 2.0


def test_nothing_spare_leaves_after_a_stop() -> None:
    """`close` ends it for what is spare, too."""
    rate_limiter = RateLimiter(4, 200)
    rate_limiter.close()
    with pytest.raises(Stopping):
        rate_limiter.spare()
