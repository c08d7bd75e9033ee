"""One invoice as the ledger knows it, and how its row says that."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final

from invoicedrop.invoice import State, require_legal_move
from invoicedrop.ledger.engine import Row
from invoicedrop.ledger.step import Step, StepKind
from invoicedrop.reasons import Reason

_LONG_ID: Final = "id "
_INT64: Final = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One invoice as the ledger knows it. Times are seconds since the epoch; `id` 0 is not written yet.

    `version` counts the writes: a write of an entry that is not the row's version any more is refused.
    `changed` is the time of the last one.
    `next_try` was `delay` seconds away, at most, when it was written.
    `doubt_since` is when the first upload began whose outcome is not known; None when there is no doubt.
    `looks` counts how often the API was asked about it in vain.
    `items` are the order items ("11-12"; "" is the whole order, or items that an older program did not write down).
    `waived` are the soft reasons for which a person has said that it is to be sent all the same.
    `filed_mtime_ns` is when the file that failed was last written: moved back, it is the same file.
    `base_line` are the ids of the order's attachments before the first try; None where nobody looked.
    `trouble_since` is when its own trouble began that goes on now.
    `conflict_since` is when the API first said that the order's state is against it now, later by the time in which it
    could not be tried.
    `confirm_at` is when the order is looked at again after it was accepted (None: no more), `confirm_looks` how often
    that was done. `confirmed_at` is when the order first showed it without trouble, `questioned_at` when it first
    showed trouble, and `question` the words of that, which may name people: they are for whoever asks, never for the
    log.
    `rounds` counts how often a person moved it back from the failed folder. `marketplace_number` is the order's number
    at the marketplace, if it is known. `steps` are those that are not written yet: they are with the next change.
    """

    account: str
    project_id: int
    reference: str
    sha256: str
    inbox: str
    file: str
    size: int
    first_seen: float
    state: State = State.RECEIVED
    id: int = 0
    version: int = 0
    order_id: int | None = None
    changed: float = 0.0
    attempts: int = 0
    next_try: float | None = None
    delay: float = 0.0
    detail: str | None = None
    reason: Reason | None = None
    doubt_since: float | None = None
    looks: int = 0
    attachment_id: int | None = None
    uploaded_at: float | None = None
    filed_as: str | None = None
    filed_mtime_ns: int | None = None
    pages: int | None = None
    pdf_version: str | None = None
    producer: str | None = None
    pdfa: str | None = None
    einvoice: str | None = None
    items: str = ""
    waived: frozenset[Reason] = frozenset()
    base_line: frozenset[int] | None = None
    conflict_since: float | None = None
    trouble_since: float | None = None
    confirm_at: float | None = None
    confirm_looks: int = 0
    confirmed_at: float | None = None
    questioned_at: float | None = None
    question: str | None = None
    rounds: int = 0
    marketplace_number: str | None = None
    steps: tuple[Step, ...] = ()

    def due(self, now: float) -> float | None:
        """Return when it is tried again; None if nothing is waited for.

        Never further away than its delay, even if the clock was set back after it was written.
        """
        if self.next_try is None or self.next_try <= now:
            return None
        return min(self.next_try, now + self.delay)

    def items_beside(self, others: Iterable["Entry"]) -> frozenset[str]:
        """Return the other sets of items for which entries of the same order have the same bytes."""
        return frozenset(other.items for other in others if other.sha256 == self.sha256 and other.items != self.items)

    @property
    def sent(self) -> bool:
        """Whether the API's receipt for it is on disk."""
        return self.attachment_id is not None

    def after(self, kind: StepKind, at: float, words: str | None = None) -> "Entry":
        """Return it after this step, which is written with its next change."""
        return replace(self, steps=(*self.steps, Step(kind, at, words)))

    def moved(self, state: State, **changes: Any) -> "Entry":
        """Return it in this state, with these other changes; IllegalMoveError where its own does not lead there."""
        require_legal_move(self.state, state)
        return replace(self, state=state, **changes)


_FIELDS: Final = tuple(field.name for field in fields(Entry) if field.name != "steps")
_VALUES: Final = attrgetter(*_FIELDS)


def values_of(entry: Entry) -> dict[str, Any]:
    """Return what an entry's row holds, by column."""
    values = dict(zip(_FIELDS, _VALUES(entry), strict=True))
    values["waived"] = " ".join(sorted(entry.waived))
    values["base_line"] = None if entry.base_line is None else " ".join(map(str, sorted(entry.base_line)))
    return values


def entry_of(row: Row) -> Entry:
    """Return the entry that a row holds."""
    values = dict(zip(_FIELDS, row, strict=True))
    reason = values["reason"]
    values["state"] = State(values["state"])
    values["reason"] = None if reason is None else Reason(reason)
    values["waived"] = frozenset(map(Reason, values["waived"].split()))
    base_line = values["base_line"]
    values["base_line"] = None if base_line is None else frozenset(map(int, base_line.split()))
    for name in ("order_id", "attachment_id"):
        values[name] = None if values[name] is None else read_id(values[name])
    return Entry(**values)


def stored_id(number: Any) -> Any:
    """Return an id as SQLite keeps it: as text, if it has more than 64 bits.

    The letters before it keep SQLite from making a rounded number out of it.
    """
    return f"{_LONG_ID}{number}" if number is not None and not -_INT64 <= number < _INT64 else number


def read_id(value: int | str | Decimal) -> int:
    """Return an id as an engine has kept it: a number, or what `stored_id` has made of it."""
    return int(value.removeprefix(_LONG_ID) if isinstance(value, str) else value)
