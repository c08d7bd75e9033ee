"""Outages: thousands of invoices wait for hours, one probe a step, and all go in order when the API is back.

The daemon is the real command in a process of its own, the API a real server on loopback that is stopped, refuses,
breaks down or hangs. Only the daemon's waits are shorter, all by about the same factor, so that an outage of a night
passes in seconds; what is said of a step, a cap or a delay is said of the shortened one. The long version
(`-m soak -n0 -s`) is told by the environment: OUTAGE_FILES, OUTAGE_PROBES, OUTAGE_FIRST and OUTAGE_CAP (seconds).
"""

import functools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from api_trouble import down, fault
from invoicedrop.sandbox import Options, Running, serve
from invoicedrop.sandbox.paper import invoice_pdf
from merchant import Daemon, Merchant
from quick_service import QUICK, program
from waiting import wait_until

_FIRST, _CAP = 0.02, 0.3
"""Seconds of the first and of the longest backoff step (really 2 and 300)."""
_LONGEST_DELAY = 0.9
"""Seconds that an invoice with trouble of its own is put off at most: three times the cap, as in the real program."""
_THRESHOLD = 3
"""So many invoices in trouble mean that the API is (`CircuitBreaker.FAILURE_THRESHOLD`)."""
_LATE = 5.0
"""Seconds that a machine that is busy with other things may add to any wait."""
_GROWTH = 3 * 1024 * 1024
"""Bytes that a process may grow by without growing for good: its allocator keeps some in reserve."""


class Kind(NamedTuple):
    """A kind of outage. `begin` returns what ends it; `burst` more requests than workers may meet it unprepared."""

    begin: Callable[[Running], Callable[[], None]]
    words: str
    timeout: float = 0.0
    burst: int = 0


_KINDS = {
    "refused": Kind(down, "cannot be reached"),
    "503": Kind(fault("status", status=503), "out of service", burst=_THRESHOLD),
    "hang": Kind(fault("hang_before_store"), "does not answer", timeout=0.2, burst=_THRESHOLD - 1),
}


class Size(NamedTuple):
    """What a process and its children hold: bytes of memory, descriptors and threads."""

    memory: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, daemon: Daemon) -> "Size":
        """Measure them now."""
        ours = psutil.Process(daemon.process.pid)
        while True:
            tree = [ours, *ours.children(recursive=True)]
            # A checking process serves a number of files, and is followed by another one.
            with suppress(psutil.NoSuchProcess, FileNotFoundError):
                return cls(
                    sum(process.memory_full_info().uss for process in tree),
                    sum(process.num_fds() for process in tree),
                    ours.num_threads(),
                )

    def fits(self, before: "Size") -> bool:
        """Whether this is no more than it was, but for what an allocator keeps in reserve."""
        return (
            self.memory - before.memory < _GROWTH
            and self.descriptors <= before.descriptors + 4
            and self.threads <= before.threads
        )


@functools.cache
def _template(pages: int) -> bytes:
    return invoice_pdf("any", pages=pages)


def _invoice(order: int, pages: int) -> bytes:
    """Return an invoice of this order alone: thousands of them are made, so they differ in their producer only."""
    producer = b"(invoicedrop sandbox)"
    return _template(pages).replace(producer, b"(%0*d)" % (len(producer) - 2, order))


class Backlog:
    """A merchant's invoices, in order of arrival, and what became of them. `workers` is how many upload at once."""

    def __init__(
        self,
        home: Path,
        api: Running,
        *,
        workers: int = 8,
        first: float = _FIRST,
        cap: float = _CAP,
        checked: bool = False,
    ) -> None:
        self._checked = checked
        self.api = api
        self.merchant = Merchant(home, api)
        self.workers, self.first, self.cap = workers, first, cap
        self.arrived: list[int] = []
        self._contents: dict[str, bytes] = {}
        self._began = time.time_ns() - 3600 * 10**9

    def drop(self, count: int = 1, *, pages: int = 1) -> list[int]:
        """Let so many more invoices arrive, one a millisecond by their times; names are in no order."""
        # Each once, up to a million: the modulus is prime.
        orders = [(len(self.arrived) + number) * 611_953 % 999_983 for number in range(1, count + 1)]
        for order in orders:
            name = f"{order}.pdf"
            part = self.merchant.home / name
            self._contents[name] = _invoice(order, pages)
            part.write_bytes(self._contents[name])
            arrived_at = self._began + len(self.arrived) * 1_000_000
            os.utime(part, ns=(arrived_at, arrived_at))
            part.rename(self.merchant.drop / name)
            self.arrived.append(order)
        return orders

    @contextmanager
    def running(self, *, measured: bool = False, **changes: str) -> Iterator[Daemon]:
        """Run the daemon while the block runs.

        If its memory is `measured` it is not forked: what it shares with the process it was forked from would count.
        """
        changes = {"upload_workers": str(self.workers)} | changes
        timing = replace(
            QUICK, first_probe=self.first, longest_probe=self.cap, first_retry=self.first, longest_retry=3 * self.cap
        )
        daemon = self.merchant.start(program=program(timing, checked=self._checked), forked=not measured, **changes)
        try:
            daemon.wait_for("inbox.watching", seconds=60)
            yield daemon
        finally:
            daemon.kill()

    def waiting(self) -> int:
        """Count what lies in the drop folder."""
        return sum(name.endswith(".pdf") for name in os.listdir(self.merchant.drop))  # noqa: PTH208 - asked for every 10 ms

    def is_filed(self, order: int) -> bool:
        """Say whether an order's invoice lies in the processed folder."""
        return (self.merchant.processed / f"{order}.pdf").exists()

    def is_failed(self, order: int) -> bool:
        """Say whether an order's invoice lies in the failed folder."""
        return (self.merchant.failed / f"{order}.pdf").exists()

    def wait_until_all_are_filed(self, seconds: float = 90.0) -> None:
        """Wait until nothing lies in the drop folder; nothing may have failed, all is filed whole and was sent once."""
        wait_until(lambda: self.waiting() == 0, seconds=seconds, what=f"the backlog ({self.waiting()} left)")
        assert _files_in(self.merchant.failed) == {}
        assert _files_in(self.merchant.processed) == self._contents
        assert sorted(upload.order_id for upload in self.api.uploads()) == sorted(self.arrived)

    def sent(self) -> list[int]:
        """Return the orders in the order in which the server got their invoices."""
        return [upload.order_id for upload in self.api.uploads()]


def _files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _moments(daemon: Daemon, event: str, **fields: str) -> list[float]:
    lines = [line for line in daemon.events(event) if fields.items() <= line.items()]
    return [datetime.fromisoformat(str(line["timestamp"])).timestamp() for line in lines]


@pytest.fixture
def api() -> Iterator[Running]:
    """A sandbox API that has every order, and no rate limit."""
    with serve(Options(rate=0, any_order=True)) as running:
        yield running


# The API is away


class Outage:
    """An outage with a backlog that waits before the daemon starts: what comes of it, step by step."""

    def __init__(self, backlog: Backlog, kind: Kind, daemon: Daemon) -> None:
        self._backlog, self._kind, self._daemon = backlog, kind, daemon
        self._burst = backlog.workers + kind.burst

    def requests(self) -> list[float]:
        """Return when requests left, in seconds: as the server saw them, or as the log tells if there is no server."""
        requests = self._backlog.api.requests
        return [request.time for request in requests] or _moments(self._daemon, "upload.started")

    def wait_for(self, probes: int) -> None:
        """Wait for so many probes."""
        longest = 6 * _LATE + 2 * probes * (self._backlog.cap + self._kind.timeout)
        wait_until(lambda: len(self.requests()) >= self._burst + probes, seconds=longest, what=f"{probes} probes")

    def check_steps(self) -> None:
        """One probe a step: the gaps double up to the cap, are no two alike, and never end."""
        first, cap = self._backlog.first, self._backlog.cap
        times = self.requests()
        # The first of them may still be one that was under way when the way closed; after it each one is a probe.
        probes = times[self._burst :]
        gaps = [after - before for before, after in pairwise(probes)]
        for number, gap in enumerate(gaps, 1):
            step = min(cap, first * 2**number)
            told = f"gap {number} is {gap:.3f} s, its step {step:.3f} s: {[round(one, 3) for one in gaps]}"
            assert gap >= 0.75 * step or self._kind.timeout, told
            assert gap <= step + self._kind.timeout + _LATE, told
        # Where the daemon does not wait for an answer, a busy server may see one request late and the next one at once:
        # there all gaps together are what can be told.
        steps = [0.75 * min(cap, first * 2**number) + self._kind.timeout for number in range(1, len(gaps) + 1)]
        assert sum(gaps) >= sum(steps) - 1.0, f"{len(gaps)} probes in {sum(gaps):.3f} s"
        at_cap = [gap - self._kind.timeout for number, gap in enumerate(gaps, 1) if first * 2**number >= cap]
        assert min(at_cap) < cap, f"no jitter: {at_cap}"

    def met(self) -> set[int]:
        """Return the orders that were asked about, or sent, in vain."""
        return {request.order_id for request in self._backlog.api.requests if request.order_id is not None}


def _told_by_the_log(kind: Kind) -> dict[str, str]:
    """Return what makes each try of an invoice a line of the log: where there is no server, that is all there is."""
    return {"order_check": "off"} if kind is _KINDS["refused"] else {}


def _sit_out(backlog: Backlog, kind: Kind, *, files: int, probes: int, then: int | None = None) -> None:
    """Let an outage come and go over so many files, look at everything, and stop when `then` (None: all) are filed."""
    api = backlog.api
    backlog.drop(files)
    end = kind.begin(api)
    changes = {"request_timeout": str(kind.timeout)} if kind.timeout else {}
    changes |= _told_by_the_log(kind)
    # Scans are rare, so that what comes later is seen in its order; an outage is longer than `give_up_after`.
    with backlog.running(measured=True, give_up_after="0.1", scan_interval="600", **changes) as daemon:
        outage = Outage(backlog, kind, daemon)
        outage.wait_for(5)
        before = Size.of(daemon)
        backlog.drop(50)
        outage.wait_for(probes)
        after = Size.of(daemon)
        outage.check_steps()
        assert backlog.waiting() == files + 50
        assert _files_in(backlog.merchant.failed) == {}
        (paused,) = daemon.events("api.paused")
        assert kind.words in str(paused["detail"])
        in_doubt = outage.met() if kind.timeout else set()
        assert len(in_doubt) <= len(outage.requests())
        end()
        ended = time.monotonic()
        if then is None:
            backlog.wait_until_all_are_filed(max(90.0, 0.1 * files))
        else:
            wait_until(lambda: backlog.waiting() <= files + 50 - then, seconds=90, what=f"{then} uploads")
        first_success = next(request.time for request in api.requests if request.status == 202)
        assert first_success - ended <= backlog.cap + kind.timeout + _LATE
        assert len(daemon.events("api.resumed")) == len(daemon.events("api.paused")) == 1
        assert daemon.stop() == 0
    assert _files_in(backlog.merchant.failed) == {}
    assert len(set(backlog.sent())) == len(backlog.sent())
    assert after.memory - before.memory < _GROWTH, f"{before} grew to {after}"
    if kind.timeout:
        # A busy machine may let one more time out when all is well again.
        slow = [*daemon.events("upload.unknown"), *daemon.events("invoice.deferred")]
        in_doubt |= {int(str(line["order_id"])) for line in slow}
    in_order = [order for order in backlog.sent() if order not in in_doubt]
    turns = {order: turn for turn, order in enumerate(order for order in backlog.arrived if order not in in_doubt)}
    # What is handed out at once may overtake one another, the oldest always being among it.
    ahead = max(turns[order] - place for place, order in enumerate(in_order))
    assert ahead < (2 * backlog.workers if backlog.workers > 1 else 1), f"one was {ahead} places early"


@pytest.mark.long
@pytest.mark.parametrize(("kind", "workers", "then"), [("refused", 1, 100), ("503", 8, 200), ("hang", 1, 100)])
def test_an_outage_is_probed_ever_more_seldom_and_then_all_go_in_order(
    home: Path, api: Running, kind: str, workers: int, then: int | None
) -> None:
    """Of 1,200 waiting, or 400, none fails; one probe a step; the first success lets a hundred or more go, in order."""
    # A share of them with the PDF check as well.
    backlog = Backlog(home, api, workers=workers, checked=kind == "503")
    _sit_out(backlog, _KINDS[kind], files=1200 if kind == "503" else 400, probes=16, then=then)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("kind", _KINDS)
def test_a_long_outage_is_probed_ever_more_seldom_and_then_all_go_in_order(
    home: Path, api: Running, kind: str, workers: int
) -> None:
    """The same with more files than are tracked at once and longer steps, or with what the environment says."""
    first, cap = (float(os.environ.get(f"OUTAGE_{name}", default)) for name, default in (("FIRST", 0.1), ("CAP", 3)))
    files, probes = (
        int(os.environ.get(f"OUTAGE_{name}", default)) for name, default in (("FILES", 9000), ("PROBES", 60))
    )
    _sit_out(
        Backlog(home, api, workers=workers, first=first, cap=cap, checked=True),
        _KINDS[kind],
        files=files,
        probes=probes,
    )


@pytest.mark.long
@pytest.mark.parametrize("kind", _KINDS)
def test_probes_leave_nothing_behind(home: Path, api: Running, kind: str) -> None:
    """With 400 waiting, and the folder scanned all the time, an outage of 80 probes makes the daemon no larger."""
    _grow(home, api, kind, files=400, probes=80, checked=kind == "503")


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", _KINDS)
def test_thousands_of_probes_leave_nothing_behind(home: Path, api: Running, kind: str) -> None:
    """The same with 2,000 waiting and 2,000 probes, a week's, and with as many scans as go into that time."""
    _grow(home, api, kind, files=2000, probes=2000, checked=True)


def _grow(home: Path, api: Running, kind: str, *, files: int, probes: int, checked: bool) -> None:
    backlog = Backlog(home, api, first=0.005, cap=0.01, checked=checked)
    # Those that are tried are large enough to be missed, were they kept.
    backlog.drop(files // 10, pages=60)
    backlog.drop(files - files // 10)
    _KINDS[kind].begin(api)
    timeout = "0.02" if kind == "hang" else "5"
    with backlog.running(
        measured=True, scan_interval="0.05", request_timeout=timeout, **_told_by_the_log(_KINDS[kind])
    ) as daemon:
        outage = Outage(backlog, _KINDS[kind], daemon)
        outage.wait_for(20)
        before = Size.of(daemon)
        outage.wait_for(20 + probes)
        # What a probe under way holds comes and goes; what is left behind stays.
        after = Size.of(daemon)
        deadline = time.monotonic() + 20
        while not after.fits(before) and time.monotonic() < deadline:
            after = Size.of(daemon)
    assert after.fits(before), f"{before} grew to {after}"


# A token that has expired


@pytest.mark.long
def test_a_new_token_lets_a_backlog_go_and_until_then_log_and_status_say_what_is_wrong(
    home: Path, api: Running
) -> None:
    """A token expires in the middle of the work: all waits, log and status name it; the right new one is enough."""
    # The next probe is minutes away: what goes within seconds goes because of the new token.
    backlog = Backlog(home, api, first=300.0, cap=300.0)
    merchant = backlog.merchant
    token = merchant.home / "token"
    token.write_text(api.token)
    token.chmod(0o600)
    del merchant.environment["INVOICEDROP_API_TOKEN"]
    merchant.environment["INVOICEDROP_API_TOKEN_FILE"] = str(token)
    backlog.drop(400)
    with backlog.running() as daemon:
        wait_until(lambda: len(api.store.uploads()) >= 50, what="the first uploads")
        api.store.tokens.clear()
        daemon.wait_for("api.paused")
        words = "put a new one into the token file"
        assert words in str(daemon.events("api.paused")[0]["detail"])
        wait_until(lambda: words in str(_status(merchant)["inboxes"][0]["paused"]), what="the status")
        told = merchant.run("status").stdout
        assert words in " ".join(told.split())
        waiting = _status(merchant)["waiting"]
        assert waiting["total"] == backlog.waiting() > 100
        assert all(words in one["why"] for one in waiting["files"])
        # By now all that were under way have their answers. (One that was taken late may have let others try again.)
        refused = _refused(api)
        assert refused <= 2 * backlog.workers
        # One that is wrong too is tried once, and waits like the first.
        token.write_text("another-wrong-token")
        wait_until(lambda: _refused(api) == refused + 1, what="a probe with the second token")
        api.store.tokens.add("new-token")
        token.write_text("new-token")
        backlog.wait_until_all_are_filed()
        assert _refused(api) == refused + 1
        assert len(daemon.events("service.started")) == 1
        assert daemon.stop() == 0


def _refused(api: Running) -> int:
    return sum(request.status == 401 for request in api.requests)


def _status(merchant: Merchant) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(merchant.run("status", "--json").stdout)
    return told


# Invoices that the API cannot take, among others that it can


@pytest.mark.parametrize("request_kind", ["upload", "any"])
def test_one_poisonous_invoice_holds_nobody_up_and_is_given_up_in_time(
    home: Path, api: Running, request_kind: str
) -> None:
    """The API answers 500 for one invoice alone: others go at once, it fails after `give_up_after` and not before."""
    backlog = Backlog(home, api)
    (poisonous,) = backlog.drop()
    backlog.drop(60)
    api.faults.add("status", request_kind, status=500, order_id=poisonous)

    def tries() -> list[float]:
        mine = [request for request in api.requests if request.order_id == poisonous]
        return [request.time for request in mine if request_kind == "any" or request.kind == "upload"]

    with backlog.running(give_up_after="3") as daemon:
        wait_until(lambda: backlog.waiting() == 1, what="the others")
        assert not backlog.is_failed(poisonous)
        deadline = time.monotonic() + 3 + 2 * _LONGEST_DELAY + _LATE
        while not backlog.is_failed(poisonous):
            assert time.monotonic() < deadline, "it is not given up, though others go through"
            # A merchant with few invoices: the others come, and go, between two tries of this one.
            (other,) = backlog.drop()
            wait_until(lambda other=other: backlog.is_filed(other), seconds=_LATE, what="another invoice")  # type: ignore[misc]
            before = len(tries())
            wait_until(
                lambda before=before: len(tries()) > before or backlog.is_failed(poisonous),  # type: ignore[misc]
                what="the next try",
            )
        daemon.wait_for("invoice.failed")
        (failed,) = _moments(daemon, "invoice.failed")
        found = min(_moments(daemon, "invoice.found", file=f"{poisonous}.pdf"))
        assert failed - found >= 3
        assert daemon.events("api.paused") == []
        assert daemon.stop() == 0
    assert "gave_up" in (backlog.merchant.failed / f"{poisonous}.pdf.reason.txt").read_text()
    for number, (first, last) in enumerate(pairwise(tries())):
        assert last - first >= 0.95 * min(_LONGEST_DELAY, _FIRST * 2**number), f"tried again too soon: {tries()}"
    assert sorted(backlog.sent()) == sorted(set(backlog.arrived) - {poisonous})


@pytest.mark.long
@pytest.mark.parametrize("trouble", ["status", "reset_before_store"])
def test_a_deferral_in_the_same_words_is_logged_once(home: Path, api: Running, trouble: str) -> None:
    """However often one invoice is tried in vain, the log has a line for each new text, not for each try."""
    backlog = Backlog(home, api)
    (poisonous,) = backlog.drop()
    api.faults.add(trouble, order_id=poisonous)
    with backlog.running() as daemon:
        wait_until(lambda: sum(request.order_id == poisonous for request in api.requests) > 12, what="many tries")
        details = [line["detail"] for line in daemon.events("invoice.deferred")]
        assert details
        assert len(details) == len(set(details)), details
        api.faults.clear()
        backlog.wait_until_all_are_filed()
        assert daemon.stop() == 0


@pytest.mark.long
def test_after_a_long_outage_an_api_that_still_stumbles_fails_nothing(home: Path, api: Running) -> None:
    """An outage longer than `give_up_after` does not count against invoices that meet errors when it is over."""
    backlog = Backlog(home, api)
    stumbling = backlog.drop(300)[:8]
    api.stop()
    with backlog.running(give_up_after="3") as daemon:
        daemon.wait_for("api.paused")
        paused = time.monotonic()
        wait_until(lambda: time.monotonic() > paused + 3.5, what="the time to give up")
        for order in stumbling:
            api.faults.add("status", "upload", order_id=order, count=2)
        api.start()
        backlog.wait_until_all_are_filed()
        assert daemon.stop() == 0


@pytest.mark.long
@pytest.mark.parametrize("fault", ["status", "hang_before_store"])
def test_new_invoices_are_not_starved_by_poisonous_ones(home: Path, api: Running, fault: str) -> None:
    """While six invoices get no answer but trouble, however often they are due, a new one goes within a few steps."""
    backlog = Backlog(home, api)
    poisonous = backlog.drop(6)
    for order in poisonous:
        api.faults.add(fault, order_id=order)
    with backlog.running(request_timeout="0.2") as daemon:
        wait_until(lambda: len(api.requests) > 20, what="many tries in vain")
        for _ in range(8):
            (order,) = backlog.drop()
            wait_until(lambda order=order: backlog.is_filed(order), seconds=3 * _CAP + _LATE, what="a new invoice")  # type: ignore[misc]
        api.faults.clear()
        backlog.wait_until_all_are_filed()
        assert daemon.stop() == 0


def test_deferred_invoices_are_not_starved_by_new_ones(home: Path, api: Running) -> None:
    """While new ones never cease to wait, one that was put off gets its turn among them."""
    backlog = Backlog(home, api, workers=1)
    (put_off,) = backlog.drop()
    backlog.drop(100)
    api.faults.add("status", "upload", status=500, order_id=put_off, count=2)
    with backlog.running() as daemon:
        while not backlog.is_filed(put_off):
            backlog.drop(max(0, 100 - backlog.waiting()))
            assert len(backlog.arrived) < 1000, "it never got its turn"
            time.sleep(0.02)
        backlog.wait_until_all_are_filed()
        assert daemon.stop() == 0
