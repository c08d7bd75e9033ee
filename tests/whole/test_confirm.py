"""Looks at the orders of accepted invoices: the real daemon and a sandbox whose orders report trouble later."""

import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from invoicedrop.sandbox import CUSTOMER_SURNAME, Options, RequestRecord, Running, serve
from invoicedrop.sandbox.paper import invoice_pdf
from merchant import Daemon, Merchant, running
from quick_service import QUICK, program
from waiting import wait_until

_TIMES: Final = (0.4, 0.8, 1.2, 1.6, 2.0)
_TIMING: Final = replace(QUICK, confirm_after=_TIMES, confirm_retry=0.1, longest_confirm_retry=0.3, confirm_give_up=0.6)
_PROGRAM: Final = program(_TIMING, checked=False)
_WORDS: Final = f"refused, says {CUSTOMER_SURNAME}"


def _looks(api: Running, order_id: int | None = None) -> list[RequestRecord]:
    """Return the reads of the order, or of all, after the first upload to it was over."""
    requests = api.requests
    sent = {request.order_id: number for number, request in reversed(list(enumerate(requests))) if _is_upload(request)}
    never = len(requests)
    return [
        request
        for number, request in enumerate(requests)
        if request.kind == "order"
        and number > sent.get(request.order_id, never)
        and order_id in {None, request.order_id}
    ]


def _is_upload(request: RequestRecord) -> bool:
    return request.kind == "upload"


def _due(merchant: Merchant) -> list[float]:
    """Return when the ledger's next looks are due."""
    with closing(sqlite3.connect(merchant.state / "ledger.sqlite3")) as ledger:
        rows = ledger.execute("SELECT confirm_at FROM invoices WHERE confirm_at IS NOT NULL").fetchall()
    return [moment for (moment,) in rows]


def _wait_until_over(merchant: Merchant, daemon: Daemon, invoices: int = 1) -> None:
    """Wait until no look at so many invoices' orders is due any more, and stop: then the log is whole."""
    daemon.wait_for("invoice.processed", invoices)
    wait_until(lambda: not _due(merchant), what="the last look")
    assert daemon.stop() == 0


def _after_upload(api: Running, action: Callable[[], object]) -> None:
    """Let something happen as soon as an invoice has been stored: before the first look, after the last question."""
    api.moments.after("upload", action)


# What is found


def test_an_order_without_trouble_confirms_its_invoice_once(merchant: Merchant) -> None:
    """Five looks at the order, one line at the first that shows the invoice, and no other request."""
    with running(merchant, program=_PROGRAM) as daemon:
        merchant.drop_pdf("5.pdf")
        _wait_until_over(merchant, daemon)
        (line,) = daemon.events("invoice.confirmed")
        (receipt,) = daemon.events("upload.accepted")
    assert line["level"] == "info"
    fields = ("inbox", "file", "order_id", "sha256", "attachment_id")
    assert [line[name] for name in fields] == [receipt[name] for name in fields]
    assert line["looks"] == 1
    assert daemon.events("invoice.questioned") == []
    assert len(_looks(merchant.sandbox)) == len(_TIMES)
    assert merchant.run("verify").returncode == 0


@pytest.mark.parametrize(("level", "after"), [("error", 0.0), ("warning", 0.9)])
def test_trouble_that_comes_later_is_noticed(merchant: Merchant, level: str, after: float) -> None:
    """An event of level warning or error: one line without its words; status shows them, verify exits 1."""
    merchant.sandbox.store.event_plan.add(level, _WORDS, after=after, order_id=5)
    with running(merchant, program=_PROGRAM) as daemon:
        merchant.drop_pdf("5.pdf")
        merchant.drop_pdf("6.pdf")
        _wait_until_over(merchant, daemon, 2)
    (line,) = daemon.events("invoice.questioned")
    assert (line["level"], line["file"], line["detail"]) == ("warning", "5.pdf", f"events: 1 of level {level}")
    assert {confirmed["file"] for confirmed in daemon.events("invoice.confirmed")} == (
        {"5.pdf", "6.pdf"} if after else {"6.pdf"}
    )
    assert CUSTOMER_SURNAME not in daemon.errors()
    assert f"{level}: {_WORDS}" in merchant.run("status").stdout
    verified = merchant.run("verify")
    assert (verified.returncode, "5.pdf" in verified.stdout) == (1, True)
    assert (merchant.processed / "5.pdf").exists()


def test_what_was_there_before_the_upload_is_not_about_it(merchant: Merchant) -> None:
    """An error event that is older than the invoice, by the API's own times, does not question it."""
    merchant.sandbox.store.add_event(5, "error", "the label could not be printed")
    order = merchant.sandbox.store.order(5)
    assert order is not None
    order.events[-1].created -= timedelta(minutes=1)
    with running(merchant, program=_PROGRAM) as daemon:
        merchant.drop_pdf("5.pdf")
        _wait_until_over(merchant, daemon)
        assert len(daemon.events("invoice.confirmed")) == 1
        assert daemon.events("invoice.questioned") == []


def test_an_order_that_never_shows_the_invoice_is_questioned_in_the_end(merchant: Merchant) -> None:
    """Not before the last look, and not by that one alone: a list may lag."""
    merchant.sandbox.store.visible_after = 60
    with running(merchant, program=_PROGRAM) as daemon:
        merchant.drop_pdf("5.pdf")
        _wait_until_over(merchant, daemon)
        (line,) = daemon.events("invoice.questioned")
        assert line["looks"] == len(_TIMES) + 1
        assert daemon.events("invoice.confirmed") == []
    assert "does not show this invoice" in " ".join(merchant.run("status").stdout.split())


@pytest.mark.parametrize("lie", ["late", "once"])
def test_an_order_that_shows_the_invoice_late_or_leaves_it_out_once_is_confirmed(merchant: Merchant, lie: str) -> None:
    """An attachment that appears after a while, or is missing in the answer to the last look alone, is no trouble."""
    if lie == "late":
        merchant.sandbox.store.visible_after = 1.0
    else:
        hide = partial(
            merchant.sandbox.faults.add, "lie", "order", shown={"attachments": []}, skip=len(_TIMES) - 1, count=1
        )
        _after_upload(merchant.sandbox, hide)
    with running(merchant, program=_PROGRAM) as daemon:
        merchant.drop_pdf("5.pdf")
        _wait_until_over(merchant, daemon)
        assert len(daemon.events("invoice.confirmed")) == 1
        assert daemon.events("invoice.questioned") == []


def test_an_invoice_that_a_later_one_of_ours_replaced_is_no_trouble(merchant: Merchant) -> None:
    """Where the marketplace keeps only the latest invoice of an order, the earlier one is not asked about."""
    store = merchant.sandbox.store

    def keep_the_latest() -> None:
        order = store.order(5)
        assert order is not None
        order.attachments[:] = order.attachments[-1:]

    merchant.sandbox.moments.after("upload", keep_the_latest, count=None)
    with running(merchant, program=_PROGRAM, upload_workers="1") as daemon:
        merchant.drop_pdf("5.pdf")
        daemon.wait_for("invoice.processed")
        merchant.drop_pdf("5_2.pdf")
        _wait_until_over(merchant, daemon, 2)
        assert "5_2.pdf" in {line["file"] for line in daemon.events("invoice.confirmed")}
        assert daemon.events("invoice.questioned") == []


def test_a_duplicate_is_not_looked_at(merchant: Merchant) -> None:
    """The same invoice under another name has its receipt, and its looks, already."""
    with running(merchant, program=_PROGRAM) as daemon:
        body = merchant.drop_pdf("5.pdf")
        daemon.wait_for("invoice.processed")
        merchant.drop_pdf("5_again.pdf", body)
        daemon.wait_for("invoice.duplicate")
        assert len(_due(merchant)) == 1
        _wait_until_over(merchant, daemon)
        assert [line["file"] for line in daemon.events("invoice.confirmed")] == ["5.pdf"]


# Reads that fail


@pytest.mark.long
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 404},
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 401},
        {"kind": "html", "status": 404},
        {"kind": "rate_limited", "retry_after": "0.1"},
        {"kind": "broken_json"},
        {"kind": "reset_before_store"},
        {"kind": "latency", "seconds": 1.5},
    ],
    ids=lambda fault: "-".join(str(value) for value in fault.values()),
)
def test_a_read_that_fails_questions_nothing_and_pauses_nobody(merchant: Merchant, fault: dict[str, object]) -> None:
    """Three failed reads of an order: the look is taken later, other orders are looked at, uploads are not paused."""
    fail = partial(merchant.sandbox.faults.add, fault.pop("kind"), "order", order_id=5, count=3, **fault)  # type: ignore[arg-type]
    merchant.sandbox.moments.after("upload", fail, order_id=5)
    patient = program(replace(_TIMING, confirm_give_up=60), checked=False)
    with running(merchant, program=patient, request_timeout="1") as daemon:
        merchant.drop_pdf("5.pdf")
        merchant.drop_pdf("6.pdf")
        daemon.wait_for("invoice.confirmed", 2)
        assert {line["file"] for line in daemon.events("invoice.confirmed")} == {"5.pdf", "6.pdf"}
        assert daemon.events("api.paused") == []
        assert daemon.events("invoice.questioned") == []
        assert daemon.stop() == 0


@pytest.mark.long
@pytest.mark.parametrize("status", [404, 503])
def test_an_order_that_can_never_be_read_holds_up_no_other(merchant: Merchant, status: int) -> None:
    """Its looks end a while after the last one was due, with one line, if other invoices pass; others' are in time."""
    fail = partial(merchant.sandbox.faults.add, "status", "order", order_id=5, status=status)
    merchant.sandbox.moments.after("upload", fail, order_id=5)
    with running(merchant, program=_PROGRAM) as daemon:
        for order in (5, 6, 7):
            merchant.drop_pdf(f"{order}.pdf")
        daemon.wait_for("invoice.processed", 3)
        wait_until(lambda: len(_due(merchant)) == 1, what="the end of the others' looks")
        began = time.monotonic()
        wait_until(lambda: time.monotonic() > began + 1.0, what="a while in which nothing passes")
        assert len(_due(merchant)) == 1
        merchant.drop_pdf("8.pdf")
        _wait_until_over(merchant, daemon, 4)
        (line,) = daemon.events("invoice.questioned")
        assert (line["file"], line["detail"]) == ("5.pdf", "the order could not be read")
        assert {line["file"] for line in daemon.events("invoice.confirmed")} == {"6.pdf", "7.pdf", "8.pdf"}
        assert daemon.events("api.paused") == []


def test_while_uploads_are_paused_there_are_no_looks(merchant: Merchant) -> None:
    """A look that comes due in an outage is no probe: it waits until an upload has passed again."""
    with running(merchant, program=program(replace(_TIMING, first_probe=0.7), checked=False)) as daemon:
        merchant.drop_pdf("5.pdf")
        daemon.wait_for("invoice.processed")
        merchant.sandbox.faults.add("status", "any", status=503, count=3)
        merchant.drop_pdf("6.pdf")
        daemon.wait_for("invoice.confirmed", 2)
        requests = merchant.sandbox.requests
    down = [number for number, request in enumerate(requests) if request.status == 503]
    # What was under way as the pause began may be a look; between the failures, and before the success, there is none.
    assert not any(request in _looks(merchant.sandbox) for request in requests[down[0] + 1 : down[-1] + 1])
    assert requests[down[-1] + 1].order_id == 6


# Never in the way


@pytest.mark.long
@pytest.mark.parametrize("workers", ["1", "8"])
def test_due_looks_delay_no_upload(home: Path, workers: str) -> None:
    """Ten looks are due: a backlog at the rate limit is joined by one, and by what a slow machine leaves unused."""
    with serve(Options(rate=20, burst=20, orders=300)) as api:
        merchant = Merchant(home, api)
        merchant.environment |= {
            "INVOICEDROP_REQUESTS_PER_SECOND": "20",
            "INVOICEDROP_BURST": "20",
            "INVOICEDROP_UPLOAD_WORKERS": workers,
        }
        with running(merchant, program=_PROGRAM) as daemon:
            for order in range(1, 11):
                merchant.drop_pdf(f"{order}.pdf")
            daemon.wait_for("invoice.processed", 10)
        wait_until(lambda: max(_due(merchant)) < time.time(), what="ten looks that are due")
        for order in range(101, 161):
            merchant.drop_pdf(f"{order}.pdf")
        before = len(api.requests)
        with running(merchant, program=_PROGRAM) as daemon:
            daemon.wait_for("invoice.processed", 60)
            backlog = api.requests[before:]
            # At the quarter of the rate that is for them: 5 a second.
            daemon.wait_for("invoice.confirmed", 10)
            looks = [request for request in api.requests[before:] if (request.order_id or 0) <= 10]
        last = max(number for number, request in enumerate(backlog) if _is_upload(request))
        unused = 20 + 20 * (backlog[last].time - backlog[0].time) - last
        assert sum((request.order_id or 999) <= 10 for request in backlog[:last]) <= 1 + max(0.0, unused)
        assert all(request.status != 429 for request in api.requests)
        assert (looks[-1].time - looks[0].time) >= 0.9 * (len(looks) - 1) / 5


def test_a_look_that_hangs_takes_nothing_from_uploads(merchant: Merchant) -> None:
    """With one upload at a time, and no rate limit, invoices go through while a read of an order hangs."""
    hang = partial(merchant.sandbox.faults.add, "hang_before_store", "order", order_id=5)
    _after_upload(merchant.sandbox, hang)
    with running(merchant, program=_PROGRAM, upload_workers="1", request_timeout="60") as daemon:
        merchant.drop_pdf("5.pdf")
        wait_until(lambda: _looks(merchant.sandbox, 5), what="a look that hangs")
        for order in range(6, 26):
            merchant.drop_pdf(f"{order}.pdf")
        daemon.wait_for("invoice.processed", 21)
        assert not _looks(merchant.sandbox, 5)[0].over


def test_a_company_without_room_for_looks_holds_up_no_other(merchant: Merchant) -> None:
    """One thread looks for all: where one company's rate limit leaves no room, the other one's looks are taken."""
    with serve(Options(company_id=1002, projects=(2002,), rate=0)) as other:
        tables = ""
        for api, rate in ((merchant.sandbox, 0.001), (other, 0)):
            folder = merchant.home / str(api.company_id)
            folder.mkdir()
            tables += (
                f'[[inboxes]]\nname = "{api.company_id}"\ncompany_id = {api.company_id}\n'
                f'project_id = {api.project_id}\napi_url = "{api.url}"\ndrop_dir = "{folder}"\n'
                f"requests_per_second = {rate}\n"
            )
        config = merchant.home / "invoicedrop.toml"
        config.write_text(tables)
        for name in ("COMPANY_ID", "PROJECT_ID", "API_URL", "DROP_DIR", "REQUESTS_PER_SECOND"):
            del merchant.environment[f"INVOICEDROP_{name}"]
        for number in (1, 2):
            merchant.drop_pdf("5.pdf")
            (merchant.drop / "5.pdf").rename(merchant.home / f"100{number}" / "5.pdf")
        merchant.environment["INVOICEDROP_CONFIG"] = str(config)
        with running(merchant, program=_PROGRAM) as daemon:
            daemon.wait_for("invoice.processed", 2)
            wait_until(lambda: len(_due(merchant)) == 1, what="the last look at one of two")
            assert {line["inbox"] for line in daemon.events("invoice.confirmed")} == {"1002"}
            assert _looks(merchant.sandbox) == []
            assert daemon.stop() == 0


# Stops and deaths


def test_a_stop_breaks_off_a_look_at_once(merchant: Merchant) -> None:
    """SIGTERM while a read of an order hangs ends the daemon in order, at once, and the next start looks again."""
    hang = partial(merchant.sandbox.faults.add, "hang_before_store", "order", order_id=5, count=1)
    _after_upload(merchant.sandbox, hang)
    with running(merchant, program=_PROGRAM, request_timeout="600") as daemon:
        merchant.drop_pdf("5.pdf")
        wait_until(lambda: _looks(merchant.sandbox, 5), what="a look that hangs")
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        assert time.monotonic() - began < 4.0
        assert daemon.events()[-1]["interrupted"] == 0
    assert len(_due(merchant)) == 1
    with running(merchant, program=_PROGRAM) as daemon:
        daemon.wait_for("invoice.confirmed")


def test_after_days_without_a_daemon_there_is_one_look(merchant: Merchant) -> None:
    """What came due while no daemon ran is looked at once, and is over."""
    with running(merchant, program=_PROGRAM) as daemon:
        merchant.drop_pdf("5.pdf")
        daemon.wait_for("invoice.processed")
        daemon.kill()
    wait_until(lambda: time.time() > _due(merchant)[0] + _TIMES[-1], what="the time of the last look")
    before = len(_looks(merchant.sandbox))
    with running(merchant, program=_PROGRAM) as daemon:
        daemon.wait_for("invoice.confirmed")
        wait_until(lambda: not _due(merchant), what="the last look")
        assert daemon.stop() == 0
    assert len(_looks(merchant.sandbox)) - before == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_death_at_what_a_look_writes_loses_no_look(merchant: Merchant, moment: str) -> None:
    """Right before it is on disk: the next life takes the look again. Right after: it knows what was seen."""
    merchant.sandbox.store.event_plan.add("error", _WORDS)
    with running(merchant, program=program(_TIMING, checked=False, fault=f"look-{moment}")) as daemon:
        merchant.drop_pdf("5.pdf")
        assert daemon.wait() == 137
        assert daemon.events("invoice.questioned") == []
    with running(merchant, program=_PROGRAM) as daemon:
        wait_until(lambda: not _due(merchant), what="the last look")
        assert daemon.stop() == 0
    # A line that died with its process is in status all the same.
    assert len(daemon.events("invoice.questioned")) == (1 if moment == "before" else 0)
    assert _WORDS in merchant.run("status").stdout
    assert len(merchant.sandbox.uploads()) == 1


# The setting


def test_confirm_off_looks_at_nothing(merchant: Merchant) -> None:
    """Switched off, nothing is scheduled, and what was scheduled before is not looked at."""
    with running(merchant, program=_PROGRAM) as daemon:
        merchant.drop_pdf("5.pdf")
        daemon.wait_for("invoice.processed")
        daemon.kill()
    before = len(_looks(merchant.sandbox))
    (due,) = _due(merchant)
    with running(merchant, program=_PROGRAM, confirm="off") as daemon:
        merchant.drop_pdf("6.pdf")
        daemon.wait_for("invoice.processed")
        assert len(_due(merchant)) == 1
        wait_until(lambda: time.time() > due + 0.5, what="the time of a look")
        assert daemon.stop() == 0
    assert len(_looks(merchant.sandbox)) == before


def test_one_of_two_inboxes_of_a_project_may_have_it_off(merchant: Merchant) -> None:
    """Each inbox's own setting counts, also where both send to one project."""
    other = merchant.home / "other"
    other.mkdir()
    config = merchant.home / "invoicedrop.toml"
    config.write_text(
        f'[[inboxes]]\nname = "on"\ndrop_dir = "{merchant.drop}"\n'
        f'[[inboxes]]\nname = "off"\nconfirm = "off"\ndrop_dir = "{other}"\n'
    )
    del merchant.environment["INVOICEDROP_DROP_DIR"]
    merchant.environment["INVOICEDROP_CONFIG"] = str(config)
    with running(merchant, program=_PROGRAM) as daemon:
        merchant.drop_pdf("5.pdf")
        merchant.drop_pdf("6.pdf")
        daemon.wait_for("invoice.processed", 2)
        whole = merchant.home / "7.whole"
        whole.write_bytes(invoice_pdf("7"))
        whole.rename(other / "7.pdf")
        _wait_until_over(merchant, daemon, 3)
    assert {line["inbox"] for line in daemon.events("invoice.confirmed")} == {"on"}
    assert {request.order_id for request in _looks(merchant.sandbox)} == {5, 6}


def test_run_once_waits_for_no_look(merchant: Merchant) -> None:
    """`run --once` schedules looks, and leaves them to a daemon."""
    merchant.drop_pdf("5.pdf")
    with running(merchant, "run", "--once", program=_PROGRAM) as daemon:
        assert daemon.wait() == 0
    assert len(_due(merchant)) == 1
    assert _looks(merchant.sandbox) == []
    with running(merchant, program=_PROGRAM) as daemon:
        daemon.wait_for("invoice.confirmed")
