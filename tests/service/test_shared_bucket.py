"""The rate limit of a company whose inboxes several machines work on: one bucket, in the ledger that they share."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from invoicedrop.channable.rate_limit import RateLimiter
from invoicedrop.errors import Stopping
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.service.rate_limiters import RateLimiters, SharedBucket, remembered_limiter
from invoicedrop.settings.inbox import Inbox
from invoicedrop.timing import DEFAULT_TIMING
from waiting import wait_until


def _inbox(rate: float, burst: int) -> Inbox:
    return Inbox(
        company_id=1, project_id=2, drop_dir=Path("/srv/drop"), requests_per_second=rate, burst=burst, api_token="x"
    )


@contextmanager
def _ledgers(url: str, number: int) -> Iterator[list[Ledger]]:
    with ExitStack() as held:
        ledgers = [held.enter_context(Ledger.at(url)) for _ in range(number)]
        for ledger in ledgers:
            ledger.connect()
        yield ledgers


def test_several_machines_use_one_bucket(postgres_url: str) -> None:
    """However many threads on two machines take room at once, there is as much as the company has, and no more."""
    inbox = _inbox(rate=0.001, burst=40)
    with _ledgers(postgres_url, 2) as ledgers:
        buckets = [SharedBucket(ledger, inbox, 40.0) for ledger in ledgers]
        taken: list[float] = []

        def take(bucket: SharedBucket) -> None:
            taken.extend(bucket.take() for _ in range(15))

        threads = [threading.Thread(target=take, args=(bucket,)) for bucket in buckets for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert taken.count(0.0) == 40
    assert len(taken) == 60


def test_the_bucket_leaks_by_the_database_s_clock(postgres_url: str) -> None:
    """What was taken is free again after its time, also where the clock was set back; all machines count alike."""
    inbox = _inbox(rate=2, burst=10)
    with _ledgers(postgres_url, 2) as (ledger, other), closing(psycopg.connect(postgres_url, autocommit=True)) as admin:
        bucket = SharedBucket(ledger, inbox, 10.0)
        assert [bucket.take() for _ in range(10)] == [0.0] * 10
        wait = SharedBucket(other, inbox, 10.0).take()
        assert 0 < wait <= 0.5
        admin.execute("UPDATE buckets SET at = at - 2")
        assert [bucket.take() for _ in range(4)] == [0.0] * 4
        # By a clock that is an hour ahead it was written; now the time is right again.
        admin.execute("UPDATE buckets SET at = at + 3600")
        bucket.take()
        admin.execute("UPDATE buckets SET at = at - 2")
        assert bucket.take() == 0


def test_a_refusal_that_one_machine_gets_is_the_other_s_too(postgres_url: str) -> None:
    """After a 429 the bucket is full for all; nothing that was taken before is used any more."""
    inbox = _inbox(rate=4, burst=100)
    with _ledgers(postgres_url, 2) as ledgers:
        limiters = [RateLimiters(ledger, DEFAULT_TIMING).limiter_of(inbox) for ledger in ledgers]
        shares = [_share(limiter) for limiter in limiters]
        for limiter in limiters:
            limiter.acquire()
        limiters[0].refused(1.0)
        assert shares[0].take() > 0
        wait_until(lambda: shares[1].take() > 0, what="the end of what was taken before")


def _share(limiter: RateLimiter) -> SharedBucket:
    assert isinstance(limiter._share, SharedBucket)
    return limiter._share


def test_a_command_takes_from_the_same_bucket(postgres_url: str) -> None:
    """A command's requests are counted where the daemons' are, and it starts with what is in the bucket."""
    inbox = _inbox(rate=0.001, burst=5)
    with _ledgers(postgres_url, 2) as (ledger, other):
        command = remembered_limiter(inbox, ledger)
        for _ in range(4):
            command.acquire()
        assert remembered_limiter(inbox, other).level()[0] == pytest.approx(4, abs=0.1)
        bucket = SharedBucket(other, inbox, 5.0)
        assert bucket.take() == 0
        assert bucket.take() > 0


def test_who_waits_for_room_is_woken_by_the_stop(postgres_url: str) -> None:
    """A thread that waits because others have used up the bucket ends with the service."""
    inbox = _inbox(rate=0.001, burst=1)
    with _ledgers(postgres_url, 1) as (ledger,):
        SharedBucket(ledger, inbox, 1.0).take()
        limiter = RateLimiters(ledger, DEFAULT_TIMING).limiter_of(inbox)
        ended: list[BaseException] = []

        def wait() -> None:
            try:
                limiter.acquire()
            except Stopping as stopping:
                ended.append(stopping)

        thread = threading.Thread(target=wait)
        thread.start()
        limiter.close()
        thread.join(10)
        assert len(ended) == 1
