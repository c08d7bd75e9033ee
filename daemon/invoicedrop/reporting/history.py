"""What became of an invoice: which one a person means, and every step of it, from the ledger alone.

A person has an order id, a marketplace's number, a file or its reason, with or without the way to it, or the beginning
of a SHA-256. All are tried, what is certain first. What was dropped before the ledger kept steps is told by its entry.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Final

from invoicedrop.errors import Rejected
from invoicedrop.inbox.filed_names import REASON_SUFFIX
from invoicedrop.inbox.names import parse_name, split_ending
from invoicedrop.invoice import State
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.ledger.step import Step, StepKind
from invoicedrop.printable import storable
from invoicedrop.settings.settings import Settings

MOST: Final = 1_000
"""Invoices that one search returns."""
FEWEST_HEX: Final = 6
"""Digits of a SHA-256 by which an invoice can be named."""
_HEX: Final = re.compile(r"[0-9a-f]{1,64}")


@dataclass(frozen=True, slots=True)
class History:
    """One invoice, and its steps in their order; `is_complete`: the ledger kept steps from its beginning on."""

    entry: Entry
    steps: list[Step]
    is_complete: bool


def find(text: str, settings: Settings, ledger: Ledger) -> list[Entry]:
    """Return the invoices that a person means, the first one first seen first; at most a thousand.

    Raises:
        LedgerUnavailable: the ledger cannot be read now.

    """
    for search in _searches(storable(text.strip()), settings, ledger):
        found = search()
        if found:
            return found
    return []


def named_files(text: str) -> list[str]:
    """Return what the name of the invoice may be that is meant by a file, or by its reason, with or without the way.

    A backslash parts folders on a Windows share; here it may stand for a byte of a name that is no text.
    """
    here = storable(text.strip()).rpartition("/")[2]
    names = dict.fromkeys((here, here.rpartition("\\")[2]))
    return [_without_reason(name) for name in names if name]


def _without_reason(name: str) -> str:
    return name[: -len(REASON_SUFFIX)] if name.casefold().endswith(REASON_SUFFIX) else name


def is_short_hash(text: str) -> bool:
    """Whether somebody may have meant a SHA-256 by so little that it says nothing."""
    text = text.strip().lower()
    return len(text) < FEWEST_HEX and not text.isdigit() and _HEX.fullmatch(text) is not None


def history_of(entry: Entry, ledger: Ledger) -> History:
    """Return every step of an invoice.

    Raises:
        LedgerUnavailable: the ledger cannot be read now.

    """
    steps = ledger.past.steps(entry)
    if any(step.kind is StepKind.FOUND for step in steps):
        return History(entry, steps, is_complete=True)
    kept = {step.kind for step in steps}
    told = [step for step in _told_by_entry(entry) if step.kind not in kept]
    return History(entry, sorted([*told, *steps], key=lambda step: step.at), is_complete=False)


def _searches(text: str, settings: Settings, ledger: Ledger) -> Iterator[Callable[[], list[Entry]]]:
    past, names = ledger.past, named_files(text)
    yield from (partial(past.of_file, name, most=MOST) for name in names)
    # Nothing came under that name: what the name says may have come under another one.
    files = [name for name in names if split_ending(name)[1]]
    for name, kind in product(files, dict.fromkeys(inbox.order_id_kind for inbox in settings.inboxes)):
        with suppress(Rejected):
            yield partial(past.of_order, parse_name(name, kind).reference, most=MOST)
    if not files:
        # A marketplace's number may have a slash in it.
        yield from (partial(past.of_order, number, most=MOST) for number in dict.fromkeys((text, *names)) if number)
        sha256 = text.lower()
        if len(sha256) >= FEWEST_HEX and _HEX.fullmatch(sha256):
            yield partial(past.of_bytes, sha256, most=MOST)


def _told_by_entry(entry: Entry) -> Iterator[Step]:
    """Yield the steps that an entry itself tells of."""
    yield Step(StepKind.FOUND, entry.first_seen, entry.file)
    accepted = entry.uploaded_at
    if entry.attempts:
        at = accepted if accepted is not None else entry.doubt_since or entry.changed
        yield Step(StepKind.SENT, at, times=entry.attempts)
    if accepted is not None:
        yield Step(StepKind.ACCEPTED, accepted, entry.detail if entry.state is State.UPLOADED else None)
    elif entry.detail is not None and entry.reason is None:
        yield Step(StepKind.DEFERRED, entry.changed, entry.detail)
    if entry.state is State.PROCESSED:
        yield Step(StepKind.FILED, entry.changed, entry.filed_as)
    if entry.reason is not None:
        yield Step(StepKind.REJECTED, entry.changed, f"{entry.reason}: {entry.detail}")
    if entry.state is State.FAILED:
        yield Step(StepKind.FAILED, entry.changed, entry.filed_as)
    if entry.confirmed_at is not None:
        yield Step(StepKind.CONFIRMED, entry.confirmed_at)
    if entry.questioned_at is not None:
        yield Step(StepKind.QUESTIONED, entry.questioned_at)
