"""Our backlog beside a shop system, at the rate limits of several servers, on a clock of its own; `-s` prints a table.

The shop asks three times a second, or, once a second, up to four times at once; it never slows down.
"""

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import pytest

from invoicedrop.channable.rate_limit import RateLimiter
from invoicedrop.settings.inbox import Inbox
from manual_clock import ManualClock
from server_buckets import BURST, RATE, SERVERS, Bucket, WholeDrops

_BURST = Inbox.model_fields["burst"].default
_WORKERS = 8
_LONG_RUN = 600.0
"""Seconds after which the burst at the start no longer counts."""
_END = _LONG_RUN + 3600.0
"""An hour more."""


def _steady(_random: random.Random, until: float = _END) -> Iterator[float]:
    """Yield when each request of the shop arrives: three a second."""
    yield from (0.07 + number / 3 for number in range(int(3 * until)))


def _in_bursts(random_: random.Random) -> Iterator[float]:
    """Yield when each request of the shop arrives: none to four within a hundredth of a second, every second."""
    for second in range(int(_END)):
        at = second + random_.random()
        yield from (at + 0.002 * number for number in range(random_.randint(0, 4)))


def _forty_at_once(_random: random.Random) -> Iterator[float]:
    """Yield when each request of the shop arrives: forty, five seconds after the start."""
    yield from [5.0] * 40


@dataclass
class Share:
    """When a client's requests were let in and refused, in seconds since the start."""

    let_in: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def rate(self, begin: float, end: float) -> float:
        """Return how many requests a second were let in meanwhile."""
        return sum(begin <= at < end for at in self.let_in) / (end - begin)

    def refusals(self, begin: float, end: float) -> float:
        """Return which share of the requests was refused meanwhile."""
        refused = sum(begin <= at < end for at in self.refused)
        return refused / max(1.0, refused + self.rate(begin, end) * (end - begin))


def beside(
    shop: Callable[[random.Random], Iterator[float]],
    bucket: Bucket,
    *,
    burst: int = _BURST,
    until: float = _END,
) -> tuple[Share, Share]:
    """Send a backlog that never ends, beside the shop; return our share and the shop's."""
    clock, random_ = ManualClock(), random.Random(1)
    start = clock.now
    ours, theirs = Share(), Share()
    rate_limiter = RateLimiter(RATE, burst, clock=clock)
    moments = [(start + at, "shop") for at in shop(random_)]
    heapq.heapify(moments)
    under_way, wakes_at = 0, start
    heapq.heappush(moments, (start, "send"))
    while moments[0][0] < start + until:
        clock.now, what = heapq.heappop(moments)
        if what == "shop":
            (theirs.let_in if bucket.take(clock.now) else theirs.refused).append(clock.now - start)
            continue
        if what == "arrival":
            is_in = bucket.take(clock.now)
            (ours.let_in if is_in else ours.refused).append(clock.now - start)
            heapq.heappush(moments, (clock.now + 0.05, "answer" if is_in else "refusal"))
            continue
        under_way -= what != "send"
        if what == "refusal":
            rate_limiter.refused(None)
        while under_way < _WORKERS:
            wait = max(rate_limiter._reserve(), 0.0)
            if wait > 0:
                if not clock.now < wakes_at <= clock.now + wait:
                    wakes_at = clock.now + max(wait, 1e-6)
                    heapq.heappush(moments, (wakes_at, "send"))
                break
            under_way += 1
            heapq.heappush(moments, (clock.now + random_.uniform(0.05, 0.08), "arrival"))
    return ours, theirs


def _tell(what: str, ours: Share, theirs: Share, begin: float, end: float) -> None:
    print(
        f"\n{what}: ours {ours.rate(begin, end):.2f}/s, {ours.refusals(begin, end):.1%} refused; "
        f"the shop's {theirs.rate(begin, end):.2f}/s, {theirs.refusals(begin, end):.1%} refused"
    )


@pytest.mark.parametrize(
    ("server", "shop"),
    # Beside a steady shop the vendor's own bucket leaves nothing: see the next tests.
    [
        (server, shop)
        for server in SERVERS
        for shop in (_steady, _in_bursts)
        if (server, shop) != ("whole drops", _steady)
    ],
)
def test_a_backlog_and_a_shop_share_the_rate(server: str, shop: Callable[[random.Random], Iterator[float]]) -> None:
    """In an hour 2% of ours are refused at most; we get half of what the shop leaves, it gets 96% of its own."""
    ours, theirs = beside(shop, SERVERS[server]())
    _tell(f"{server}, shop {shop.__name__}", ours, theirs, _LONG_RUN, _END)
    asked = 3.0 if shop is _steady else 2.0
    assert ours.refusals(_LONG_RUN, _END) <= 0.02
    assert ours.rate(_LONG_RUN, _END) >= (RATE - asked) / 2
    assert theirs.refusals(_LONG_RUN, _END) <= 0.04


@pytest.mark.parametrize("after", [number / 60 for number in range(1, 20)])
def test_the_vendors_bucket_leaves_nothing_beside_a_steady_shop(after: float) -> None:
    """Once that bucket is full, each request of ours is refused or costs the shop its next one, whenever it comes.

    In a third of a second one whole drop leaks, the shop's own. So nobody can have a part without refusals, of ours or
    of the shop's, and three of four that come at a random moment are refused.
    """
    bucket = WholeDrops()
    full = next(number / 3 for number in range(10**6) if not _filled(bucket, number / 3))
    ours, shops = bucket.take(full + after), bucket.take(full + 1 / 3)
    assert (ours, shops) in {(False, True), (True, False)}
    assert ours == (after >= 1 / RATE)


def _filled(bucket: WholeDrops, now: float) -> bool:
    """Put a request of the shop into the bucket, and two more beside it; return whether all were let in."""
    return all([bucket.take(now), bucket.take(now), bucket.take(now)])


def test_where_the_shop_leaves_nothing_both_get_some_through_with_few_refusals() -> None:
    """We ask some times an hour whether there is room again; of all requests 2% are refused at most."""
    ours, theirs = beside(_steady, SERVERS["whole drops"]())
    _tell("whole drops, shop _steady", ours, theirs, _LONG_RUN, _END)
    refused = sum(_LONG_RUN <= at < _END for at in ours.refused + theirs.refused)
    let_in = sum(_LONG_RUN <= at < _END for at in ours.let_in + theirs.let_in)
    assert refused / (refused + let_in) <= 0.02
    assert sum(_LONG_RUN <= at < _END for at in ours.refused) <= 60
    assert ours.rate(_LONG_RUN, _END) * 3600 >= 10
    assert theirs.refusals(_LONG_RUN, _END) <= 0.02


@pytest.mark.parametrize("server", SERVERS)
def test_when_the_shop_stops_we_are_back_at_the_full_rate_in_minutes(server: str) -> None:
    """An hour beside a shop, which then stops: eight minutes later we get what we get alone."""
    stops, begin, end = 3600.0, 4080.0, 4800.0
    ours, theirs = beside(partial(_steady, until=stops), SERVERS[server](), until=end)
    alone, _ = beside(partial(_steady, until=0.5), SERVERS[server](), until=end)
    _tell(f"{server}, the shop has stopped", ours, theirs, begin, end)
    assert ours.rate(begin, end) >= 0.95 * alone.rate(begin, end)
    assert ours.refusals(stops, end) <= 0.01


@pytest.mark.parametrize("server", SERVERS)
def test_the_burst_leaves_a_share_for_others(server: str) -> None:
    """Most of 40 requests that the shop sends at once, five seconds after a backlog began, are let in."""
    refusals = {}
    for burst in (BURST, _BURST):
        ours, theirs = beside(_forty_at_once, SERVERS[server](), burst=burst, until=5.5)
        _tell(f"{server}, shop 40 at once, burst {burst}", ours, theirs, 0, 5.5)
        refusals[burst] = theirs.refusals(0, 5.5)
    assert refusals[BURST] >= 0.8
    assert refusals[_BURST] <= 0.15
