"""Somebody sets the clock while the real daemon runs: libfaketime sets the wall clock, the monotonic one goes on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import pytest

from faketime import SetClock, set_clock
from invoicedrop.sandbox.paper import invoice_pdf
from invoicedrop.service import status_file
from merchant import Daemon, Merchant, running
from quick_service import QUICK, program
from waiting import wait_until

_YEARS: Final = 10 * 365 * 86_400.0
_TIMING: Final = replace(QUICK, first_retry=0.5, order_retry=0.2)


@pytest.fixture
def clock(merchant: Merchant) -> SetClock:
    """The wall clock of this merchant's daemons."""
    return set_clock(merchant.home)


@contextmanager
def _running(merchant: Merchant, clock: SetClock, *, checked: bool = False, **changes: str) -> Iterator[Daemon]:
    """Run the real service with short waits, on that clock."""
    merchant.environment |= clock.environment
    with running(merchant, program=program(_TIMING, checked=checked), forked=False, **changes) as daemon:
        daemon.wait_for("inbox.watching")
        yield daemon


def test_a_file_that_is_being_written_is_not_given_up_when_the_clock_jumps(merchant: Merchant, clock: SetClock) -> None:
    """A clock that is set forward by years makes no unfinished file an old one: it gets its time, and then goes."""
    content = invoice_pdf("5")
    with _running(merchant, clock, checked=True, incomplete_grace="30") as daemon:
        clock.set(_YEARS)
        with (merchant.drop / "5.pdf").open("wb") as writer:
            writer.write(content[:-100])
            writer.flush()
            daemon.wait_for("invoice.deferred")
            assert not any(merchant.failed.iterdir())
            writer.write(content[-100:])
        daemon.wait_for("invoice.processed")
    assert (merchant.processed / "5.pdf").read_bytes() == content


def test_a_delay_that_was_written_by_a_clock_ahead_is_no_longer_than_it_was(
    merchant: Merchant, clock: SetClock
) -> None:
    """What was put off for half a second goes soon after the clock was set back by years, over a restart as well."""
    merchant.sandbox.faults.add("status", "upload", status=500)
    clock.set(_YEARS)
    merchant.drop_pdf("5.pdf")
    with _running(merchant, clock) as daemon:
        daemon.wait_for("invoice.deferred")
        daemon.kill()
    clock.set(0)
    merchant.sandbox.faults.clear()
    with _running(merchant, clock) as daemon:
        daemon.wait_for("invoice.processed")


def test_a_clock_that_jumps_makes_no_missing_order_overdue(merchant: Merchant, clock: SetClock) -> None:
    """An order gets its grace by what was watched, although the clock says that years have passed."""
    merchant.drop_pdf("500.pdf")
    with _running(merchant, clock, order_grace="60") as daemon:
        daemon.wait_for("invoice.deferred")
        clock.set(_YEARS)
        before = len(merchant.sandbox.requests)
        wait_until(lambda: len(merchant.sandbox.requests) >= before + 3, what="three more tries")
        assert not daemon.events("invoice.failed")
        merchant.sandbox.store.add_order(500)
        daemon.wait_for("invoice.processed")


def test_a_dead_service_whose_clock_was_ahead_is_not_healthy(merchant: Merchant, clock: SetClock) -> None:
    """The service's sign of life gets old although it bears a time that is still to come."""
    clock.set(_YEARS)
    with _running(merchant, clock, scan_interval="0.2") as daemon:
        wait_until(lambda: status_file.read(merchant.state / "service.json"), what="a beat")
        wait_until(lambda: merchant.run("health", forked=False).returncode == 0, what="a beat of a daemon at work")
        daemon.kill()
    clock.set(0)
    report = status_file.read(merchant.state / "service.json")
    assert report is not None
    assert report.beat > time.time() + _YEARS / 2
    assert report.monotonic is not None
    done = merchant.run("health", forked=False)
    assert (done.returncode, done.stdout) == (1, "the service has stopped\n")
    # As it is half a minute later, where it cannot be seen that the process is gone.
    later = report.model_copy(update={"monotonic": report.monotonic - 30, "namespace": ""})
    (merchant.state / "service.json").write_text(later.model_dump_json())
    done = merchant.run("health", forked=False)
    assert done.returncode == 1
    assert "hangs, or has been killed" in done.stdout


def test_a_look_that_was_scheduled_by_a_clock_ahead_is_taken(merchant: Merchant, clock: SetClock) -> None:
    """An invoice that was accepted ten years ahead is confirmed after the clock was set back, not in ten years."""
    clock.set(_YEARS)
    merchant.drop_pdf("5.pdf")
    with _running(merchant, clock) as daemon:
        daemon.wait_for("invoice.processed")
        daemon.kill()
    clock.set(0)
    with _running(merchant, clock) as daemon:
        daemon.wait_for("invoice.confirmed")
