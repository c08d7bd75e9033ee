"""The circuit breaker, on a clock of its own."""

import threading

import pytest

from invoicedrop.circuit_breaker import CircuitBreaker
from invoicedrop.errors import PauseCause, Paused
from invoicedrop.timing import DEFAULT_TIMING
from manual_clock import ManualClock


class Observed:
    """A circuit breaker on its own clock, with the changes that it reported."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.changes: list[tuple[str | None, float]] = []
        self.breaker = CircuitBreaker(lambda detail, seconds: self.changes.append((detail, seconds)), clock=self.clock)

    def may_pass(self) -> bool:
        """Whether one request may pass now."""
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
            self.breaker.trip(detail, PauseCause.OUTAGE, wait=wait, retry_after=retry_after)
        return waited


@pytest.fixture
def observed() -> Observed:
    """A circuit breaker."""
    return Observed()


def test_closed_lets_everything_pass(observed: Observed) -> None:
    """While nothing is wrong nothing is held back or reported."""
    with observed.breaker.guard(), observed.breaker.guard():
        assert observed.breaker.allowance(busy=7, wanted=8) == 8
    observed.breaker.reset()
    assert observed.changes == []
    assert observed.breaker.detail is None


def test_open_holds_everything_back_until_one_probe(observed: Observed) -> None:
    """After a backoff step one request passes, and no second one beside it."""
    observed.breaker.trip("down", PauseCause.OUTAGE)
    assert not observed.may_pass()
    assert observed.breaker.allowance(busy=0, wanted=8) == 0
    observed.clock.now = observed.breaker.until
    assert observed.breaker.allowance(busy=0, wanted=8) == 1
    assert observed.breaker.allowance(busy=1, wanted=8) == 0
    with observed.breaker.guard():
        assert observed.breaker.allowance(busy=0, wanted=8) == 0
        assert not observed.may_pass()
    observed.breaker.reset()
    assert observed.may_pass()
    assert observed.breaker.allowance(busy=3, wanted=8) == 8


def test_the_steps_double_up_to_a_cap(observed: Observed) -> None:
    """An outage of hours is probed after 2, 4, 8 ... 300 seconds, each a little less by chance, and no more often."""
    observed.breaker.trip("down", PauseCause.OUTAGE)
    steps = [observed.fail_a_probe() for _ in range(12)]
    for number, step in enumerate(steps):
        longest = min(DEFAULT_TIMING.longest_probe, DEFAULT_TIMING.first_probe * 2**number)
        assert 0.75 * longest <= step <= longest
    ((detail, seconds),) = observed.changes
    assert detail == "down"
    assert seconds == pytest.approx(steps[0])


def test_requests_under_way_together_are_one_step(observed: Observed) -> None:
    """Eight uploads that fail at the same moment make one step of backoff, not eight."""
    for _ in range(8):
        observed.breaker.trip("down", PauseCause.OUTAGE)
    assert observed.breaker.until - observed.clock.now <= DEFAULT_TIMING.first_probe


def test_a_change_is_reported_once_and_again_when_the_detail_changes(observed: Observed) -> None:
    """One report when the circuit opens, one when the detail changes, one when it closes; then it begins anew."""
    observed.breaker.trip("down", PauseCause.OUTAGE)
    observed.breaker.trip("down", PauseCause.OUTAGE)
    observed.fail_a_probe("wrong token")
    observed.fail_a_probe("wrong token")
    observed.clock.now = observed.breaker.until
    with observed.breaker.guard():
        observed.breaker.reset()
    observed.breaker.reset()
    assert [detail for detail, _ in observed.changes] == ["down", "wrong token", None]
    observed.breaker.trip("down", PauseCause.OUTAGE)
    assert observed.breaker.until - observed.clock.now <= DEFAULT_TIMING.first_probe


def test_retry_after_is_obeyed_and_capped(observed: Observed) -> None:
    """Retry-After puts the next probe off, up to five minutes."""
    observed.breaker.trip("maintenance", PauseCause.OUTAGE, retry_after=60)
    assert observed.breaker.until - observed.clock.now == 60
    observed.fail_a_probe(retry_after=86400)
    assert observed.breaker.until - observed.clock.now == 300


@pytest.mark.parametrize("retry_after", [0, 1, 3])
def test_a_short_retry_after_does_not_keep_the_waits_from_growing(observed: Observed, retry_after: int) -> None:
    """An API that is down for hours and says `Retry-After: 1` is probed after the same growing waits as ever."""
    observed.breaker.trip("maintenance", PauseCause.OUTAGE, retry_after=retry_after)
    steps = [observed.fail_a_probe("maintenance", retry_after=retry_after) for _ in range(10)]
    for number, step in enumerate(steps):
        longest = min(DEFAULT_TIMING.longest_probe, DEFAULT_TIMING.first_probe * 2**number)
        assert step >= max(retry_after, 0.75 * longest)


def test_the_wait_of_a_429_is_taken_as_it_is(observed: Observed) -> None:
    """What the rate limiter made of a 429 is no outage: it replaces the backoff step, however often it comes."""
    observed.breaker.trip("rate limit", PauseCause.RATE_LIMIT, wait=1.0)
    for _ in range(10):
        assert observed.fail_a_probe("rate limit", wait=1.0) == 1.0
    assert observed.fail_a_probe("rate limit", wait=1.0, retry_after=500.0) == 1.0
    assert observed.breaker.until - observed.clock.now == 1.0


def test_a_429_for_no_wait_at_all_does_not_make_probes_hot(observed: Observed) -> None:
    """An API that refuses everything with `Retry-After: 0` is probed after growing waits all the same."""
    observed.breaker.trip("rate limit", PauseCause.RATE_LIMIT, wait=0.0)
    for _ in range(10):
        observed.fail_a_probe("rate limit", wait=0.0)
    assert observed.clock.now - 1000 > 60


def test_a_longer_retry_after_of_a_request_under_way_counts(observed: Observed) -> None:
    """A request that fails after the circuit has opened is no further step, but what its response asks for is kept."""
    observed.breaker.trip("down", PauseCause.OUTAGE)
    observed.breaker.trip("maintenance", PauseCause.OUTAGE, retry_after=60)
    assert observed.breaker.until - observed.clock.now == 60
    observed.breaker.trip("maintenance", PauseCause.OUTAGE, retry_after=5)
    assert observed.breaker.until - observed.clock.now == 60


def test_a_retry_after_from_before_a_success_is_forgotten(observed: Observed) -> None:
    """Once a request went through, the next trouble begins with the first step."""
    observed.breaker.trip("maintenance", PauseCause.OUTAGE, retry_after=60)
    observed.breaker.reset()
    observed.breaker.trip("down", PauseCause.OUTAGE)
    assert observed.breaker.until - observed.clock.now <= DEFAULT_TIMING.first_probe


def test_a_probe_that_ends_undecided_lets_the_next_one_through(observed: Observed) -> None:
    """A probe that ends in an error that says nothing about the API is followed by the next one."""
    observed.breaker.trip("down", PauseCause.OUTAGE)
    observed.clock.now = observed.breaker.until
    with pytest.raises(ZeroDivisionError), observed.breaker.guard():
        raise ZeroDivisionError
    assert observed.may_pass()


def test_one_invoice_with_trouble_does_not_open_the_circuit(observed: Observed) -> None:
    """The same invoice's trouble, however often, is its own; three invoices' in a row are the API's."""
    for _ in range(10):
        observed.breaker.record_failure("8355:ab", "500")
    observed.breaker.record_failure("8356:cd", "500")
    assert observed.breaker.detail is None
    observed.breaker.record_failure("8357:ef", "500")
    assert observed.breaker.detail == "500"


def test_a_success_between_clears_the_failures(observed: Observed) -> None:
    """Troubles of single invoices among successes never add up."""
    for number in range(20):
        observed.breaker.record_failure(f"{number}", "500")
        observed.breaker.record_failure(f"{number}b", "500")
        observed.breaker.reset()
    assert observed.changes == []


def test_reads_do_not_close_what_a_write_opened(observed: Observed) -> None:
    """While uploads are refused, orders that can be read close nothing; an upload does, and then reads count again."""
    assert observed.breaker.record_refusal("8", "503", PauseCause.OUTAGE)
    observed.clock.now = observed.breaker.until
    observed.breaker.reset(by_read=True)
    assert observed.breaker.detail == "503"
    observed.breaker.reset()
    assert observed.breaker.detail is None
    observed.breaker.trip("503", PauseCause.OUTAGE)
    observed.breaker.reset(by_read=True)
    assert observed.breaker.detail is None


def test_reads_between_do_not_clear_failed_uploads(observed: Observed) -> None:
    """Uploads for three orders that fail in a row open the circuit, although each order could be read before."""
    for number in range(3):
        assert observed.breaker.detail is None
        observed.breaker.reset(by_read=True)
        observed.breaker.record_failure(f"{number}", "500", writes=True)
    assert observed.breaker.detail == "500"


def test_an_upload_that_is_refused_while_others_are_taken_is_its_own_trouble(observed: Observed) -> None:
    """The first refusal of an upload opens the circuit; after another one was taken, the same refusal does not."""
    observed.breaker.record_refusal("8", "403", PauseCause.OUTAGE)
    observed.breaker.reset("9")
    assert not observed.breaker.record_refusal("8", "403", PauseCause.OUTAGE)
    assert observed.breaker.detail is None
    observed.breaker.reset("8")
    assert observed.breaker.record_refusal("8", "403", PauseCause.OUTAGE)
    assert observed.breaker.detail == "403"


def test_uploads_that_were_taken_after_an_outage_are_no_suspects(observed: Observed) -> None:
    """What was refused in an outage and taken after it opens the circuit in the next one as ever."""
    for subject in ("8", "9"):
        observed.breaker.record_refusal(subject, "503", PauseCause.OUTAGE)
    for subject in ("8", "9"):
        observed.breaker.reset(subject)
    observed.breaker.record_refusal("9", "503", PauseCause.OUTAGE)
    assert observed.breaker.detail == "503"


def test_a_resource_that_fails_as_the_probe_again_and_again_is_put_aside(observed: Observed) -> None:
    """Of the probes of one resource in a row every third says that it may be the resource; another begins anew."""
    observed.breaker.trip("down", PauseCause.OUTAGE)
    assert [observed.breaker.record_failure("8", "403") for _ in range(4)] == [True, True, False, True]
    assert [observed.breaker.record_failure(subject, "403") for subject in ("9", "8", "9", "8")] == [True] * 4


def test_a_probe_with_trouble_is_a_failed_probe(observed: Observed) -> None:
    """While the circuit is open any trouble keeps it open, one step longer."""
    observed.breaker.trip("down", PauseCause.OUTAGE)
    observed.clock.now = observed.breaker.until
    with observed.breaker.guard():
        observed.breaker.record_failure("8355:ab", "timeout")
    assert observed.breaker.detail == "timeout"
    assert observed.breaker.until - observed.clock.now > DEFAULT_TIMING.first_probe


def test_probe_now_probes_at_once(observed: Observed) -> None:
    """What may have been mended is tried at once, and its failure begins with the first step again."""
    observed.breaker.trip("wrong token", PauseCause.TOKEN)
    for _ in range(6):
        observed.fail_a_probe()
    observed.breaker.probe_now()
    assert observed.may_pass()
    observed.breaker.trip("wrong token", PauseCause.TOKEN)
    assert observed.breaker.until - observed.clock.now <= DEFAULT_TIMING.first_probe


def test_threads_get_one_probe_between_them() -> None:
    """Of many threads that try at the same moment exactly one passes."""
    observed = Observed()
    observed.breaker.trip("down", PauseCause.OUTAGE)
    observed.clock.now = observed.breaker.until
    gate, done = threading.Barrier(8), threading.Barrier(8)
    passed: list[int] = []

    def attempt(number: int) -> None:
        gate.wait()
        try:
            with observed.breaker.guard():
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


@pytest.mark.parametrize("cause", PauseCause)
def test_who_is_held_back_learns_the_cause(observed: Observed, cause: PauseCause) -> None:
    """What `guard` raises has the detail and the cause of the last failure, so that a caller may tell them apart."""
    observed.breaker.trip("something else", PauseCause.OUTAGE)
    observed.breaker.trip("in words", cause)
    with pytest.raises(Paused, match="in words") as caught, observed.breaker.guard():
        pytest.fail("it was let through")
    assert caught.value.cause is cause
