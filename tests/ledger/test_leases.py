"""Who works on an inbox, where several daemons share a ledger: one at a time, and not for longer than it beats."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

import psycopg
import pytest
from entries import invoice, written

from invoicedrop.errors import ConfigError, LedgerUnavailable
from invoicedrop.ledger.lease import InboxKey, LeaseTimes
from invoicedrop.ledger.leases import DatabaseLeases
from invoicedrop.ledger.ledger import Ledger
from postgres_server import PostgresServer
from waiting import wait_until

_ONE: Final = InboxKey("https://api.example/1001", 2001, "bol")
_OTHER: Final = _ONE._replace(name="amazon")
_TIMES: Final = LeaseTimes(beat=0.0, valid=30.0, stale=0.4)
"""Each turn is taken; who is silent for 0.4 s is taken for dead."""


class Daemon:
    """A daemon's ledger and leases, without the daemon."""

    def __init__(self, url: str, *inboxes: InboxKey, times: LeaseTimes = _TIMES) -> None:
        self.ledger = Ledger.at(url)
        leases = self.ledger.leases(inboxes or (_ONE,), times)
        assert isinstance(leases, DatabaseLeases)
        self.leases = leases
        self.leases.start()

    def owns(self, inbox: InboxKey = _ONE) -> bool:
        """Take a turn; return whether the inbox is its own now."""
        self.leases.turn()
        return self.leases.lease(inbox) is not None

    def close(self) -> None:
        """End without a word, as a killed process does."""
        self.ledger.close()


@contextmanager
def daemon(url: str, *inboxes: InboxKey, times: LeaseTimes = _TIMES) -> Iterator[Daemon]:
    """Have a daemon while the block runs."""
    with closing(Daemon(url, *inboxes, times=times)) as started:
        yield started


def test_an_inbox_has_one_owner_and_the_other_knows_who(postgres_url: str) -> None:
    """The second stands by, and names host, process and time of the first; each may own another inbox."""
    with daemon(postgres_url, _ONE) as first, daemon(postgres_url, _ONE, _OTHER) as second:
        assert first.owns()
        assert not second.owns()
        assert second.owns(_OTHER)
        assert first.leases.holder(_ONE) is None
        holder = second.leases.holder(_ONE)
        assert holder is not None
        assert abs(holder.since - time.time()) < 60
        assert str(holder).startswith(f"process {holder.pid} on {holder.host}, since 2")


def test_an_inbox_that_was_given_up_is_free_at_once(postgres_url: str) -> None:
    """After an ordered stop the next owner waits for nothing: nothing is under way."""
    with daemon(postgres_url) as first, daemon(postgres_url) as second:
        first.leases.release(clean=True)
        first.close()
        wait_until(second.owns, what="the inbox")
        lease = second.leases.lease(_ONE)
        assert lease is not None
        assert (lease.previous, lease.quarantine) == (None, 0.0)


@pytest.mark.parametrize("how", ["died", "stopped with uploads under way"])
def test_what_a_dead_owner_sent_last_is_waited_for(postgres_url: str, how: str) -> None:
    """Whoever takes over from one that did not give up knows whom, and asks nothing before that time is over."""
    times = _TIMES._replace(stale=50.0)
    with daemon(postgres_url, times=times) as first, daemon(postgres_url, times=times) as second:
        if how != "died":
            first.leases.release(clean=False)
        first.close()
        wait_until(second.owns, what="the inbox")
        lease = second.leases.lease(_ONE)
        assert lease is not None
        assert lease.previous is not None
        assert 20 < lease.quarantine <= 50
        lease.require()


@pytest.mark.parametrize("beats_again", [False, True])
def test_a_beat_that_nobody_saw_counts(postgres_url: str, *, beats_again: bool) -> None:
    """What is waited for begins with the last beat: one that came after the last look at it may be of this moment."""
    times = _TIMES._replace(stale=50.0)
    with daemon(postgres_url, times=times) as first, daemon(postgres_url, times=times) as second:
        assert not second.owns()
        beat, seen_at = second.leases._seen[_ONE]
        second.leases._seen[_ONE] = (beat, seen_at - 20)
        if beats_again:
            assert first.owns()
        first.close()
        wait_until(second.owns, what="the inbox")
        lease = second.leases.lease(_ONE)
        assert lease is not None
        assert (lease.quarantine > 35) is beats_again


def test_an_owner_that_hangs_is_ended_and_can_write_no_more(postgres_url: str) -> None:
    """Without a beat for too long its session ends: under that lease nothing is written any more, or begun."""
    with daemon(postgres_url) as first, daemon(postgres_url) as second:
        lease = first.leases.lease(_ONE)
        assert lease is not None
        entry = first.ledger.under(lease).uploading(invoice())
        wait_until(second.owns, what="the inbox of one that hangs")
        with pytest.raises(LedgerUnavailable):
            first.ledger.under(lease).not_taken(entry, invoice())
        assert not first.owns()
        # It is connected anew, but not under that lease.
        wait_until(lambda: not first.owns() and first.leases.trouble is None, what="a new session")
        with pytest.raises(LedgerUnavailable, match="is over"):
            first.ledger.under(lease).not_taken(entry, invoice())
        with pytest.raises(LedgerUnavailable, match="another machine's by now"):
            lease.require()
        assert written(second.ledger, entry) == entry


def test_an_owner_that_beats_is_left_alone(postgres_url: str) -> None:
    """However long it owns the inbox, one whose beats come is not ended."""
    with daemon(postgres_url) as first, daemon(postgres_url) as second:
        until = time.monotonic() + 3 * _TIMES.stale
        while time.monotonic() < until:
            assert first.owns()
            assert not second.owns()
            time.sleep(0.02)


def test_a_lease_that_is_not_renewed_runs_out(postgres_url: str) -> None:
    """Nothing begins `valid` seconds after a beat, also if nobody takes the inbox; the next beat renews it."""
    with daemon(postgres_url, times=_TIMES._replace(valid=0.3)) as first:
        assert first.owns()
        lease = first.leases.lease(_ONE)
        assert lease is not None
        lease.require()
        wait_until(lambda: _has_run_out(first), what="a lease that runs out")
        assert first.owns()
        assert first.leases.lease(_ONE) is lease
        lease.require()


def _has_run_out(owner: Daemon) -> bool:
    lease = owner.leases.lease(_ONE)
    assert lease is not None
    try:
        lease.require()
    except LedgerUnavailable:
        return True
    return False


def test_one_that_has_just_taken_the_lock_has_time_to_say_so(postgres_url: str) -> None:
    """A lock without a beat of its own session is left alone for as long as one with an old beat; then it is ended."""
    with daemon(postgres_url) as first:
        first.leases.turn()
        key = first.leases._locks[_ONE]
        lease = first.leases.lease(_ONE)
        first.close()
    assert lease is not None
    with closing(psycopg.connect(postgres_url, autocommit=True)) as between, daemon(postgres_url, _OTHER) as second:
        wait_until(lambda: between.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchall() == [(True,)])
        second.leases._inboxes = (_ONE,)
        second.leases._locks = {_ONE: key}
        began = time.monotonic()
        wait_until(second.owns, what="the inbox of one that says nothing")
        assert time.monotonic() - began > _TIMES.stale
        with pytest.raises(psycopg.OperationalError):
            between.execute("SELECT 1")


def test_an_inbox_is_given_to_who_stands_by_and_kept_if_nobody_does(postgres_url: str) -> None:
    """Who gives way does so only if there is another daemon, and takes the inbox back when that one gives way."""
    times = _TIMES._replace(beat=0.02)
    with daemon(postgres_url, times=times) as first:
        assert first.owns()
        assert not first.leases.give_way(_ONE)
        assert first.owns()
        lease = first.leases.lease(_ONE)
        assert lease is not None
        with daemon(postgres_url, times=times) as second:
            assert not second.owns()
            assert first.leases.give_way(_ONE)
            with pytest.raises(LedgerUnavailable):
                lease.require()
            wait_until(second.owns, what="the inbox")
            assert not first.owns()
            given = second.leases.lease(_ONE)
            assert given is not None
            assert given.previous is not None
            assert given.quarantine > 0
            # Nobody stands by but the first one: it may come back to that.
            wait_until(lambda: not first.owns() and second.leases.give_way(_ONE), what="one that stands by")
            wait_until(first.owns, what="the inbox again")


def test_a_lock_that_was_taken_twice_is_given_up_whole(postgres_url: str) -> None:
    """Where a turn failed after it had taken the lock, and the next one took it again, giving way still frees it."""
    times = _TIMES._replace(stale=50.0)
    with daemon(postgres_url, times=times) as first, daemon(postgres_url, times=times) as second:
        first.leases._once("SELECT pg_try_advisory_lock(:lock)", lock=first.leases._locks[_ONE])
        assert not second.owns()
        assert first.leases.give_way(_ONE)
        wait_until(second.owns, what="the inbox")


def test_who_cannot_ask_gives_no_way(postgres_url: str) -> None:
    """While the database cannot be asked who stands by, nothing is given up, or said to be."""
    with daemon(postgres_url) as first, daemon(postgres_url) as second:
        assert not second.owns()
        first.ledger.close()
        assert not first.leases.give_way(_ONE)


def test_a_restart_of_the_database_ends_every_lease() -> None:
    """Whoever owned an inbox before has to take it anew; while the database is away, the trouble is said."""
    server = PostgresServer.made()
    try:
        server.start()
        with daemon(server.url) as first:
            lease = first.leases.lease(_ONE)
            assert lease is not None
            server.stop()
            assert not first.owns()
            assert first.leases.trouble is not None
            server.start()
            assert first.owns()
            assert first.leases.trouble is None
            assert first.leases.lease(_ONE) is not lease
            with pytest.raises(LedgerUnavailable):
                lease.require()
    finally:
        server.remove()


def test_a_wrong_setting_ends_the_start_and_later_is_waited_for(postgres_url: str) -> None:
    """A database that is not there is a setting's fault at the start; one that is taken away later is trouble."""
    with pytest.raises(ConfigError, match="does not exist"):
        Daemon(postgres_url.replace("/postgres?", "/none?"))
    with daemon(postgres_url) as first, closing(psycopg.connect(postgres_url, autocommit=True)) as admin:
        assert first.owns()
        admin.execute("UPDATE schema_version SET version = 99")
        admin.execute("SELECT pg_terminate_backend(backend) FROM inbox_owners")
        wait_until(lambda: not first.owns(), what="the loss")
        wait_until(lambda: not first.owns() and "newer" in str(first.leases.trouble), what="the trouble in words")
