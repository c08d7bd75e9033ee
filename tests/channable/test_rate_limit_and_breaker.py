"""The company's rate limit and the pause, on a clock of their own: hours pass in milliseconds."""

import heapq
import random
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invoicedrop.channable.rate_limit import RateLimiter
from invoicedrop.circuit_breaker import CircuitBreaker
from invoicedrop.errors import Paused, Stopping
from invoicedrop.sandbox.bucket import LeakyBucket
from invoicedrop.timing import DEFAULT_TIMING


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Tell the time, in seconds."""
        return self.now


class Company:
    """Requests that go through our throttle, travel for a while, and meet Channable's own bucket."""

    def __init__(self, *, rate: float = 4.0, burst: int = 200, jitter: float = 0.0, seed: int = 0) -> None:
        self.clock = Clock()
        self.arrival = Clock()
        self.rate_limiter = RateLimiter(rate, burst, clock=self.clock)
        self.theirs = LeakyBucket(rate, burst, clock=self.arrival)
        self._jitter = jitter
        self._random = random.Random(seed)

    def send_times(self, count: int) -> Iterator[float]:
        """Let so many requests leave, each as early as it may; yield when they left."""
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
    pauses=st.lists(st.tuples(st.integers(1, 60), st.floats(0, 100)), max_size=6),
)
def test_no_pattern_of_work_overflows_the_bucket(rate: float, burst: int, pauses: list[tuple[int, float]]) -> None:
    """Whatever the rate, the burst, and the stops and starts of the work, our own requests are never too many."""
    company = Company(rate=rate, burst=burst)
    departures: list[float] = []
    for count, rest in pauses:
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


def test_other_clients_are_made_room_for_and_their_going_is_noticed() -> None:
    """While another client uses half the rate we settle near the rest with few refusals, and speed up when it stops."""
    clock = Clock()
    ours, theirs = RateLimiter(4, 200, clock=clock), LeakyBucket(4, 200, clock=clock)
    accepted: list[float] = []
    refused: list[float] = []
    # When who comes next: the other client twice a second for an hour, we whenever we may.
    turns = [(clock.now + 0.5 * n, "other") for n in range(2 * 3600)] + [(clock.now, "we")]
    heapq.heapify(turns)
    start = clock.now
    while turns and turns[0][0] < start + 5400:
        clock.now, who = heapq.heappop(turns)
        if who == "other":
            theirs.take()
            continue
        wait = ours._reserve()
        if wait <= 0:
            if theirs.take():
                accepted.append(clock.now - start)
            else:
                refused.append(clock.now - start)
                ours.refused(None)
        heapq.heappush(turns, (clock.now + max(wait, 1e-6), "we"))
    shared = sum(600 < at < 3600 for at in accepted) / 3000
    alone = sum(3900 < at < 5400 for at in accepted) / 1500
    assert 1.6 < shared <= 2.1
    assert alone > 3.8
    assert len(refused) < 0.05 * len(accepted)
    assert not [at for at in refused if at > 3700]


def test_a_wish_to_wait_is_obeyed_and_capped() -> None:
    """`Retry-After` holds every request of the company back, but not for longer than five minutes."""
    company = Company()
    assert company.rate_limiter.refused(30.0) == 30.0
    assert next(company.send_times(1)) - 1000 >= 30
    company = Company()
    assert company.rate_limiter.refused(86400.0) == 300.0
    assert next(company.send_times(1)) - 1000 == pytest.approx(300, abs=1)


def test_several_refusals_at_once_slow_down_once() -> None:
    """Requests that were under way together are refused together: that tells one thing, not eight."""
    company = Company()
    company.rate_limiter.refused(None)
    once = company.rate_limiter.rate
    for _ in range(7):
        company.rate_limiter.refused(None)
    assert company.rate_limiter.rate == once
    assert once < 4


def test_the_rate_never_falls_to_nothing() -> None:
    """However often we are refused, now and then a request leaves and notices that the way is free again."""
    company = Company()
    for _ in range(100):
        company.clock.now += 2
        company.rate_limiter.refused(None)
    assert company.rate_limiter.rate >= 4 / 16
    first, second = company.send_times(2)
    assert second - first <= 4.01


def test_a_restart_does_not_spend_the_burst_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was in the bucket when we stopped is in it, less what has leaked, when we start."""
    wall = Clock()
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
    monkeypatch.setattr(time, "time", Clock())
    company = Company()
    company.rate_limiter.restore(1e9, 1e12)
    times = list(company.send_times(9))
    assert times[-1] - 1000 == pytest.approx(9 / 4, abs=0.5)


def test_a_level_remembered_long_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a night's stop the whole burst may be used again."""
    monkeypatch.setattr(time, "time", Clock())
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


def test_close_wakes_who_waits() -> None:
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


# Pause


class Told:
    """A pause on its own clock, with what it told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.news: list[tuple[str | None, float]] = []
        self.breaker = CircuitBreaker(lambda detail, seconds: self.news.append((detail, seconds)), clock=self.clock)

    def may_pass(self) -> bool:
        """Say whether one request may pass now."""
        try:
            with self.breaker.guard():
                return True
        except Paused:
            return False

    def fail_a_probe(
        self, detail: str = "down", *, wait: float | None = None, retry_after: float | None = None
    ) -> float:
        """Wait for the next probe and let it fail; return the seconds waited."""
        waited = max(0.0, self.breaker.until - self.clock.now)
        self.clock.now += waited
        with self.breaker.guard():
            self.breaker.trip(detail, wait=wait, retry_after=retry_after)
        return waited


@pytest.fixture
def told() -> Told:
    """A pause."""
    return Told()


def test_open_lets_everything_pass(told: Told) -> None:
    """While nothing is wrong nothing is counted, held back or told."""
    with told.breaker.guard(), told.breaker.guard():
        assert told.breaker.room(busy=7, wanted=8) == 8
    told.breaker.reset()
    assert told.news == []
    assert told.breaker.detail is None


def test_closed_holds_everything_back_until_one_probe(told: Told) -> None:
    """After a backoff step one request passes, and no second one beside it."""
    told.breaker.trip("down")
    assert not told.may_pass()
    assert told.breaker.room(busy=0, wanted=8) == 0
    told.clock.now = told.breaker.until
    assert told.breaker.room(busy=0, wanted=8) == 1
    assert told.breaker.room(busy=1, wanted=8) == 0
    with told.breaker.guard():
        assert told.breaker.room(busy=0, wanted=8) == 0
        assert not told.may_pass()
    told.breaker.reset()
    assert told.may_pass()
    assert told.breaker.room(busy=3, wanted=8) == 8


def test_the_steps_double_up_to_a_cap(told: Told) -> None:
    """An outage of hours is probed after 2, 4, 8 ... 300 seconds, each a little less by chance, and no more often."""
    told.breaker.trip("down")
    steps = [told.fail_a_probe() for _ in range(12)]
    for number, step in enumerate(steps):
        longest = min(DEFAULT_TIMING.longest_probe, DEFAULT_TIMING.first_probe * 2**number)
        assert 0.75 * longest <= step <= longest
    ((detail, seconds),) = told.news
    assert detail == "down"
    assert seconds == pytest.approx(steps[0])


def test_requests_under_way_together_are_one_step(told: Told) -> None:
    """Eight uploads that fail at the same moment make one step of backoff, not eight."""
    for _ in range(8):
        told.breaker.trip("down")
    assert told.breaker.until - told.clock.now <= DEFAULT_TIMING.first_probe


def test_it_is_told_once_and_again_when_the_reason_changes(told: Told) -> None:
    """One line when the way closes, one when the reason changes, one when it opens; then it begins anew."""
    told.breaker.trip("down")
    told.breaker.trip("down")
    told.fail_a_probe("wrong token")
    told.fail_a_probe("wrong token")
    told.clock.now = told.breaker.until
    with told.breaker.guard():
        told.breaker.reset()
    told.breaker.reset()
    assert [detail for detail, _ in told.news] == ["down", "wrong token", None]
    told.breaker.trip("down")
    assert told.breaker.until - told.clock.now <= DEFAULT_TIMING.first_probe


def test_the_apis_own_wish_is_obeyed_and_capped(told: Told) -> None:
    """Retry-After puts the next probe off, up to five minutes."""
    told.breaker.trip("maintenance", retry_after=60)
    assert told.breaker.until - told.clock.now == 60
    told.fail_a_probe(retry_after=86400)
    assert told.breaker.until - told.clock.now == 300


@pytest.mark.parametrize("wish", [0, 1, 3])
def test_a_short_wish_does_not_keep_the_waits_from_growing(told: Told, wish: int) -> None:
    """An API that is down for hours and says `Retry-After: 1` is probed after the same growing waits as ever."""
    told.breaker.trip("maintenance", retry_after=wish)
    steps = [told.fail_a_probe("maintenance", retry_after=wish) for _ in range(10)]
    for number, step in enumerate(steps):
        assert step >= max(wish, 0.75 * min(DEFAULT_TIMING.longest_probe, DEFAULT_TIMING.first_probe * 2**number))


def test_the_wait_of_a_429_is_taken_as_it_is(told: Told) -> None:
    """What the throttle made of a 429 is no outage: it replaces the backoff step, however often it comes."""
    told.breaker.trip("rate limit", wait=1.0)
    for _ in range(10):
        assert told.fail_a_probe("rate limit", wait=1.0) == 1.0
    assert told.fail_a_probe("rate limit", wait=1.0, retry_after=500.0) == 1.0
    assert told.breaker.until - told.clock.now == 1.0


def test_a_429_for_no_wait_at_all_does_not_make_probes_hot(told: Told) -> None:
    """An API that refuses everything with `Retry-After: 0` is probed after growing waits all the same."""
    told.breaker.trip("rate limit", wait=0.0)
    for _ in range(10):
        told.fail_a_probe("rate limit", wait=0.0)
    assert told.clock.now - 1000 > 60


def test_a_longer_wish_of_a_request_under_way_counts(told: Told) -> None:
    """A request that fails after the way has closed is no further step, but what its answer asks for is kept."""
    told.breaker.trip("down")
    told.breaker.trip("maintenance", retry_after=60)
    assert told.breaker.until - told.clock.now == 60
    told.breaker.trip("maintenance", retry_after=5)
    assert told.breaker.until - told.clock.now == 60


def test_a_wish_from_before_it_opened_is_forgotten(told: Told) -> None:
    """Once a request went through, the next trouble begins with the first step."""
    told.breaker.trip("maintenance", retry_after=60)
    told.breaker.reset()
    told.breaker.trip("down")
    assert told.breaker.until - told.clock.now <= DEFAULT_TIMING.first_probe


def test_a_probe_that_ends_undecided_gives_its_place_back(told: Told) -> None:
    """A probe that fails in a way that says nothing about the API leaves the place for the next one."""
    told.breaker.trip("down")
    told.clock.now = told.breaker.until
    with pytest.raises(ZeroDivisionError), told.breaker.guard():
        raise ZeroDivisionError
    assert told.may_pass()


def test_one_poisonous_invoice_does_not_close_the_way(told: Told) -> None:
    """The same invoice's trouble, however often, is its own; three invoices' in a row are the API's."""
    for _ in range(10):
        told.breaker.record_failure("8355:ab", "500")
    told.breaker.record_failure("8356:cd", "500")
    assert told.breaker.detail is None
    told.breaker.record_failure("8357:ef", "500")
    assert told.breaker.detail == "500"


def test_a_success_between_clears_the_strain(told: Told) -> None:
    """Troubles of single invoices among successes never add up."""
    for number in range(20):
        told.breaker.record_failure(f"{number}", "500")
        told.breaker.record_failure(f"{number}b", "500")
        told.breaker.reset()
    assert told.news == []


def test_a_strained_probe_is_a_failed_probe(told: Told) -> None:
    """While the way is closed any trouble keeps it closed, one step longer."""
    told.breaker.trip("down")
    told.clock.now = told.breaker.until
    with told.breaker.guard():
        told.breaker.record_failure("8355:ab", "timeout")
    assert told.breaker.detail == "timeout"
    assert told.breaker.until - told.clock.now > DEFAULT_TIMING.first_probe


def test_hurry_probes_at_once(told: Told) -> None:
    """What may have been mended is tried at once, and its failure begins with the first step again."""
    told.breaker.trip("wrong token")
    for _ in range(6):
        told.fail_a_probe()
    told.breaker.probe_now()
    assert told.may_pass()
    told.breaker.trip("wrong token")
    assert told.breaker.until - told.clock.now <= DEFAULT_TIMING.first_probe


def test_threads_get_one_probe_between_them() -> None:
    """Of many threads that try at the same moment exactly one passes."""
    told = Told()
    told.breaker.trip("down")
    told.clock.now = told.breaker.until
    gate, done = threading.Barrier(8), threading.Barrier(8)
    passed: list[int] = []

    def attempt(number: int) -> None:
        gate.wait()
        try:
            with told.breaker.guard():
                passed.append(number)
                done.wait()
        except Paused:
            done.wait()

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 1
