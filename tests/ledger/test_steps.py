"""The steps of an invoice's way: with the entry's change or not at all, and never many rows for one trouble."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from entries import ACCOUNT, invoice, written

from invoicedrop.errors import Changed, LedgerUnavailable
from invoicedrop.invoice import Receipt
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.ledger.step import StepKind
from invoicedrop.ledger.stops import Stop, StopKind
from invoicedrop.reasons import Reason


def found(number: int = 8355, **changes: str) -> Entry:
    """Return an invoice that was found at 100, and checked at 101; nothing is written."""
    entry = invoice(number, **changes)
    return entry.after(StepKind.FOUND, 100.0, entry.file).after(StepKind.CHECKED, 101.0)


def kinds(ledger: Ledger, entry: Entry) -> list[tuple[int, str, int]]:
    """Return round, kind and number of each step."""
    return [(step.round, step.kind, step.times) for step in ledger.past.steps(entry)]


def test_each_change_of_an_entry_is_a_step(ledger: Ledger) -> None:
    """A good invoice's way stands in the ledger in its order, with times and words, and nothing twice."""
    entry = ledger.uploading(found())
    entry = ledger.uploaded(entry, Receipt(7, "stored"))
    entry = ledger.processed(entry, Path("/srv/processed/8355.pdf"))
    entry = ledger.looked_at(entry, 60.0, confirmed=True)
    entry = ledger.looked_at(entry, 60.0, confirmed=True)
    entry = ledger.looked_at(entry, None, question="refused: no VAT number of Ms Example")
    steps = ledger.past.steps(entry)
    assert [step.kind for step in steps] == [
        StepKind.FOUND, StepKind.CHECKED, StepKind.SENT, StepKind.ACCEPTED, StepKind.FILED, StepKind.CONFIRMED,
        StepKind.QUESTIONED,
    ]  # fmt: skip
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    assert [steps[index].words for index in (0, 3, 4)] == ["8355.pdf", "stored", "8355.pdf"]
    assert steps[-1].words is None, "they may name people, and stand in the entry alone"
    assert entry.steps == ()


def test_a_deferral_that_is_repeated_is_counted(ledger: Ledger) -> None:
    """Days of tries, whose words differ in numbers only and take turns, are a handful of rows."""
    entry = found()
    for number in range(300):
        before = entry
        entry = ledger.not_taken(ledger.uploading(entry), before, f"HTTP 503, id {number:08x}a7")
        entry = ledger.troubled(entry, 60.0, f"no answer in {number} s" if number % 2 else "HTTP 500 Internal Error")
    assert kinds(ledger, entry) == [
        (0, "found", 1), (0, "checked", 1), (0, "sent", 300), (0, "not_taken", 300), (0, "deferred", 150),
        (0, "deferred", 150),
    ]  # fmt: skip
    last = ledger.past.steps(entry)[-1]
    assert last.words == "no answer in 299 s", "the last words are kept"
    assert last.last_at is not None
    assert last.last_at >= last.at


def test_a_retry_by_hand_begins_a_new_round(ledger: Ledger) -> None:
    """What happened before a person moved it back stays as it was; the same trouble afterwards counts anew."""
    entry = ledger.failed(ledger.rejected(found(), Reason.CREDIT_NOTE, "type 381"), Path("/srv/failed/8355.pdf"))
    retried = ledger.retried(entry, waive=True)
    assert kinds(ledger, entry) == [(0, "found", 1), (0, "checked", 1), (0, "rejected", 1), (0, "failed", 1)]
    entry = ledger.failed(ledger.rejected(retried, Reason.DAMAGED, "no root"), None)
    assert kinds(ledger, entry)[4:] == [(1, "retried", 1), (1, "rejected", 1), (1, "failed", 1)]
    steps = ledger.past.steps(entry)
    assert (steps[2].words, steps[4].words) == ("credit_note: type 381", "credit_note")


def test_steps_are_written_with_the_change_or_not_at_all(ledger: Ledger) -> None:
    """A change that another copy's came before leaves no step; nor does one that the database refuses."""
    entry = ledger.uploading(found())
    ledger.uploaded(entry, Receipt(7))
    before = kinds(ledger, entry)
    with pytest.raises(Changed):
        ledger.deferred(entry, 1.0, "stale")
    with pytest.raises(Changed):
        ledger.uploading(found())
    with pytest.raises(LedgerUnavailable):
        ledger.deferred(replace(invoice(9), file=None), 1.0, "no name")  # type: ignore[arg-type]
    assert kinds(ledger, entry) == before
    with closing(sqlite3.connect(ledger.path)) as database:
        assert database.execute("SELECT count(*) FROM steps").fetchone() == (len(before),)


def test_an_invoice_is_found_by_what_a_person_has(ledger: Ledger) -> None:
    """By the order's id, with or without items, the marketplace's number in any case, file names, and bytes."""
    ours = replace(found(sha256="ab12" * 16), marketplace_number="C1A-7")
    sent = ledger.uploaded(ledger.uploading(ours), Receipt(1))
    one = ledger.processed(sent, Path("/srv/p/8355_20260101T000000Z.pdf"))
    items = ledger.uploading(found(items="11-12", file="8355_items-11-12.pdf", sha256="ab" * 32))
    other = ledger.uploading(found(83550, sha256="ff" * 32, file="100%_8355.pdf"))
    ledger.came_again(one, "8355_copy.pdf")
    past, one = ledger.past, written(ledger, ours)
    for number in ("8355", "008355"):
        assert past.of_order(number, most=9) == [one, items]
        assert past.of_order(number, most=1) == [one]
    assert past.of_order("8355_items-11-12", most=9) == [items]
    assert past.of_order("c1a-7", most=9) == [one]
    assert past.of_order("1" * 30, most=9) == past.of_order("8355%", most=9) == past.of_order("835", most=9) == []
    for name in ("8355.pdf", "8355_20260101T000000Z.pdf", "8355_copy.pdf"):
        assert past.of_file(name, most=9) == [one]
    assert past.of_file("100%_8355.pdf", most=9) == [other]
    assert past.of_file("%.pdf", most=9) == past.of_file("55.pdf", most=9) == []
    assert past.of_bytes("ab12ab", most=9) == [one]
    assert past.of_bytes("ab", most=9) == [one, items]
    assert past.of_bytes("f" * 64, most=9) == [other]


def test_a_stop_is_remembered_by_inbox(tmp_path: Path) -> None:
    """What a person said of an inbox last is there after a restart, and ends its first start for good."""
    with Ledger.open(tmp_path) as ledger:
        assert ledger.stops.is_first_start("default", ACCOUNT, 2001)
        ledger.stops.put(Stop("default", StopKind.HELD, 1.0, files=2000))
        ledger.stops.put(Stop("other", StopKind.PAUSED, 2.0, "stocktaking \udcff"))
    with Ledger.open(tmp_path) as ledger:
        assert ledger.stops.all() == {
            "default": Stop("default", StopKind.HELD, 1.0, None, 2000),
            "other": Stop("other", StopKind.PAUSED, 2.0, "stocktaking \\udcff"),
        }
        ledger.stops.put(Stop("default", StopKind.RESUMED, 3.0))
        assert not ledger.stops.is_first_start("default", ACCOUNT, 2001)
        assert ledger.stops.is_first_start("third", ACCOUNT, 2001)
        ledger.uploading(invoice())
        assert not ledger.stops.is_first_start("third", ACCOUNT, 2001), "its project is known"
        assert ledger.stops.is_first_start("third", ACCOUNT, 2002)
