"""What one look at an order makes of it, against an API that says odd things."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from api_caller import caller_of
from invoicedrop.invoice import Receipt
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.pipeline.confirm import Confirmation, first_look
from invoicedrop.timing import DEFAULT_TIMING, Timing
from scripted_api import as_json, scripted

OURS = 77
_HOUR = timedelta(hours=1)


@contextmanager
def accepted(folder: Path, ago: float = 700.0, *, seen: float = 0.0) -> Iterator[tuple[Ledger, Entry]]:
    """Have an invoice that was accepted, and before that first seen, so many seconds ago."""
    with Ledger.open(folder) as ledger:
        moment = time.time() - ago
        entry = Entry(
            account="account",
            project_id=2001,
            reference="5",
            order_id=5,
            sha256="ab" * 32,
            inbox="default",
            file="5.pdf",
            size=1,
            first_seen=moment - seen,
        )
        entry = ledger.uploaded(ledger.uploading(entry), Receipt(OURS), confirm_after=0)
        entry = ledger.processed(replace(entry, uploaded_at=moment), None)
        yield ledger, entry


def look(ledger: Ledger, entry: Entry, *, timing: Timing = DEFAULT_TIMING, **body: Any) -> tuple[Entry, list[str]]:
    """Look at an order that the API shows so; return the entry, and the events that were logged."""
    events = body.pop("events", [])
    order = {"id": 5, "attachments": [{"id": OURS, "attachment_type": "INVOICE"}]} | body
    with (
        scripted(lambda _request: as_json({"order": order, "events": events})) as server,
        caller_of(server.url) as caller,
        structlog.testing.capture_logs() as lines,
    ):
        Confirmation(caller.project, ledger, timing).look(entry)
    row = ledger.find(entry.account, entry.project_id, entry.reference, entry.sha256)
    assert row is not None
    return row, [line["event"] for line in lines]


def _event(created: object, status: str = "error", message: object = "refused") -> dict[str, object]:
    return {"id": 1, "status": status, "message": message} | ({} if created is None else {"created": created})


def _text(moment: datetime) -> str:
    return moment.isoformat()


@pytest.mark.parametrize(
    ("created", "attached", "counts"),
    [
        (timedelta(minutes=-5), timedelta(minutes=-11), True),
        (timedelta(minutes=-60), timedelta(minutes=-11), False),
        (None, timedelta(minutes=-11), True),
        ("once upon a time", timedelta(minutes=-11), True),
        # The attachment says no time, or one that cannot be: the receipt's counts, twelve minutes ago.
        (timedelta(minutes=-5), None, True),
        (timedelta(minutes=-60), None, False),
        (timedelta(minutes=-5), _HOUR, True),
        # It was stored long before its receipt: its answer had been lost.
        (timedelta(minutes=-60), timedelta(minutes=-90), True),
    ],
)
def test_events_count_from_the_moment_when_the_invoice_was_stored(
    tmp_path: Path, created: timedelta | str | None, attached: timedelta | None, counts: bool
) -> None:
    """An event that is older than our attachment is not about it; one without a time that can be read may be."""
    now = datetime.now(UTC)
    times = {} if attached is None else {"created": _text(now + attached)}
    moment = _text(now + created) if isinstance(created, timedelta) else created
    with accepted(tmp_path, 720) as (ledger, entry):
        row, events = look(
            ledger,
            entry,
            attachments=[{"id": OURS, "attachment_type": "INVOICE"} | times],
            events=[_event(moment)],
        )
    assert events == ["invoice.questioned" if counts else "invoice.confirmed"]
    assert row.question == ("error: refused" if counts else None)


def test_where_the_order_does_not_show_the_invoice_events_count_from_its_first_sight(tmp_path: Path) -> None:
    """A receipt may have come long after the invoice was stored: what happened in between is not missed."""
    now = datetime.now(UTC)
    with accepted(tmp_path, 700, seen=7200) as (ledger, entry):
        _, events = look(ledger, entry, attachments=[], events=[_event(_text(now - _HOUR))])
    assert events == ["invoice.questioned"]


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([_event(None, "WARNING", None)], "WARNING: no words"),
        ([_event(None, "error", 17)], "error: 17"),
        ([_event(None, "error", "x" * 10_000)], "error: " + "x" * 300),
        ([_event(None, "error", str(number)) for number in range(7)], "; ".join(f"error: {n}" for n in range(2, 7))),
        ([_event(None, "info"), {"status": 5}, "odd", {}], None),
    ],
    ids=["no words", "a number", "endless", "many", "no trouble"],
)
def test_words_are_kept_short(tmp_path: Path, events: list[object], words: str | None) -> None:
    """The last five events, 300 characters of each, whatever their form; what is no warning or error is none."""
    with accepted(tmp_path) as (ledger, entry):
        row, _ = look(ledger, entry, events=events)
    assert row.question == words


def test_the_same_trouble_is_logged_once_and_new_trouble_again(tmp_path: Path) -> None:
    """The looks go on after the first trouble; a line comes when there is more to read."""
    with accepted(tmp_path) as (ledger, entry):
        row, first = look(ledger, entry, events=[_event(None)])
        row, second = look(ledger, row, events=[_event(None)])
        row, third = look(ledger, row, events=[_event(None), _event(None, message="returned")])
    assert (first, second, third) == (["invoice.questioned"], [], ["invoice.questioned"])
    assert row.question == "error: refused; error: returned"
    assert row.confirm_at is not None


def test_trouble_that_an_order_no_longer_shows_is_not_forgotten(tmp_path: Path) -> None:
    """An invoice that was questioned is not confirmed by an answer without the event."""
    with accepted(tmp_path) as (ledger, entry):
        row, _ = look(ledger, entry, events=[_event(None)])
        row, events = look(ledger, row)
    assert events == []
    assert (row.question, row.confirmed_at) == ("error: refused", None)


@pytest.mark.parametrize(
    ("ago", "looks", "wait"),
    [(610, 0, 2990), (3700, 1, 17_900), (30_000, 0, 56_400), (90_000, 3, 169_200), (260_000, 0, None)],
)
def test_the_next_look_follows_from_the_age_alone(tmp_path: Path, ago: float, looks: int, wait: float | None) -> None:
    """What was missed is not made up for: the next look is the next of the times, and after the last there is none."""
    with accepted(tmp_path, ago) as (ledger, entry):
        row, _ = look(ledger, replace(entry, confirm_looks=looks))
    assert (row.confirm_at is None) == (wait is None)
    if wait is not None:
        assert row.confirm_at is not None
        assert 0.99 * wait <= row.confirm_at - time.time() <= 1.11 * wait


def test_a_clock_that_was_ahead_makes_no_look_the_last(tmp_path: Path) -> None:
    """An invoice that was accepted in the future, by a clock that has been set back since, is looked at again."""
    with accepted(tmp_path, -1_000_000) as (ledger, entry):
        row, events = look(ledger, entry, attachments=[])
    assert events == []
    assert row.confirm_at is not None
    assert row.confirm_at - time.time() <= 1.1 * DEFAULT_TIMING.confirm_after[0]


def test_the_first_looks_of_a_backlog_are_spread() -> None:
    """Of a hundred invoices that are accepted at once no two are due at one moment; none if it is switched off."""
    delays = {first_look("on", DEFAULT_TIMING) for _ in range(100)}
    assert len(delays) == 100
    assert all(delay is not None and 600 <= delay <= 660 for delay in delays)
    assert first_look("off", DEFAULT_TIMING) is None
