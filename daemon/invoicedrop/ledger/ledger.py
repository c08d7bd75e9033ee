"""What is known about each invoice, on disk before and after everything that matters.

An entry is one invoice: `(account, project, order, order items, sha256)`. Its `reference` is order and items in one, as
the file name says them: "8355", or "8355_items-11-12". A committed entry survives power loss.
"""

import secrets
import sys
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from invoicedrop.errors import Changed
from invoicedrop.invoice import Receipt, State, require_legal_move
from invoicedrop.ledger import statements
from invoicedrop.ledger.database import Database, Row
from invoicedrop.printable import storable
from invoicedrop.reasons import Reason

LEDGER_FILE: Final = "ledger.sqlite3"
"""The ledger's name in `state_dir` (outside contract)."""


_LONG_ID: Final = "id "
_INT64: Final = 1 << 63


class BucketLevel(NamedTuple):
    """What is remembered of a bucket across a restart: drops in it, at which wall-clock time."""

    level: float
    at: float


class SentInvoice(NamedTuple):
    """What was sent under a receipt: the bytes, and for which order items."""

    sha256: str
    items: str


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
    `base_line` are the ids of the order's attachments before the first try; None where nobody looked.
    `confirm_at` is when the order is looked at again after it was accepted (None: no more), `confirm_looks` how often
    that was done. `confirmed_at` is when the order first showed it without trouble, `questioned_at` when it first
    showed trouble, and `question` the words of that, which may name people: they are for whoever asks, never for the
    log.
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
    pages: int | None = None
    pdf_version: str | None = None
    producer: str | None = None
    pdfa: str | None = None
    einvoice: str | None = None
    items: str = ""
    waived: frozenset[Reason] = frozenset()
    base_line: frozenset[int] | None = None
    confirm_at: float | None = None
    confirm_looks: int = 0
    confirmed_at: float | None = None
    questioned_at: float | None = None
    question: str | None = None

    def due(self, now: float) -> float | None:
        """Return when it is tried again; None if nothing is waited for.

        Never further away than its delay, even if the clock was set back after it was written.
        """
        if self.next_try is None or self.next_try <= now:
            return None
        return min(self.next_try, now + self.delay)

    @property
    def sent(self) -> bool:
        """Whether the API's receipt for it is on disk."""
        return self.attachment_id is not None

    def moved(self, state: State, **changes: Any) -> "Entry":
        """Return it in this state, with these other changes; IllegalMoveError where its own does not lead there."""
        require_legal_move(self.state, state)
        return replace(self, state=state, **changes)


_FIELDS: Final = tuple(field.name for field in fields(Entry))


class Ledger:
    """The ledger of one state folder. Thread-safe; each method is one transaction, durable when it returns.

    Every method raises LedgerUnavailable when the database cannot be used now. What writes an entry raises Changed when
    the row was written since it was read: by another copy of the same invoice, whose receipt or doubt must stand.
    """

    def __init__(self, path: Path, database: Database) -> None:
        self.path = path
        self._database = database

    @classmethod
    def open(cls, state_dir: Path) -> Self:
        """Open the ledger in `state_dir`; it is made if there is none, and brought up to date if it is an older one.

        Raises:
            ConfigError: a newer program wrote it.

        """
        path = state_dir / LEDGER_FILE
        return cls(path, Database.open(path))

    def close(self) -> None:
        """Close the database; what was committed is on disk already."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # What is known

    def find(self, account: str, project_id: int, reference: str, sha256: str) -> Entry | None:
        """Return what is known of this invoice."""
        entries = self._entries(
            statements.FIND, account=account, project_id=project_id, reference=reference, sha256=sha256
        )
        return entries[0] if entries else None

    def same_invoice(self, entry: Entry) -> Entry | None:
        """Return another entry for the same bytes at the same order and items: sent, or else perhaps sent."""
        entries = self._entries(
            statements.SAME_INVOICE,
            account=entry.account,
            project_id=entry.project_id,
            order_id=entry.order_id,
            sha256=entry.sha256,
            items=entry.items,
            id=entry.id,
        )
        return entries[0] if entries else None

    def at_another_order(self, entry: Entry) -> Entry | None:
        """Return an entry for the same bytes at another order of the account: sent, or else perhaps sent."""
        entries = self._entries(
            statements.AT_ANOTHER_ORDER,
            account=entry.account,
            project_id=entry.project_id,
            order_id=entry.order_id,
            sha256=entry.sha256,
        )
        return entries[0] if entries else None

    def doubts_beside(self, entry: Entry) -> int:
        """Count the other sets of items of this order for which the same bytes are in doubt."""
        ((number,),) = self._read(
            statements.DOUBTS_BESIDE,
            account=entry.account,
            project_id=entry.project_id,
            order_id=entry.order_id,
            sha256=entry.sha256,
            items=entry.items,
        )
        return int(number)

    def receipts(self, account: str, project_id: int, order_id: int) -> dict[int, SentInvoice]:
        """Return the attachment ids of all our receipts for this order, with what was sent under each."""
        rows = self._read(statements.RECEIPTS, account=account, project_id=project_id, order_id=order_id)
        return {_read_id(attachment_id): SentInvoice(*sent) for attachment_id, *sent in rows}

    def sent_later(self, entry: Entry) -> frozenset[int]:
        """Return the attachment ids of what was sent to the same order after this invoice."""
        rows = self._read(
            statements.SENT_LATER,
            account=entry.account,
            project_id=entry.project_id,
            order_id=entry.order_id,
            since=entry.uploaded_at,
        )
        return frozenset(_read_id(attachment_id) for (attachment_id,) in rows)

    def in_state(self, *states: State, newest: int = sys.maxsize, since: float = 0.0) -> list[Entry]:
        """Return the entries in these states, the latest changed first; at most `newest` of them."""
        names = {f"state_{index}": state for index, state in enumerate(states)}
        return self._entries(statements.in_states(len(states)), **names, since=since, newest=newest)

    def uploaded_since(self, since: float, order_id: int | None = None) -> list[Entry]:
        """Return what was uploaded since then (to this order), oldest first."""
        if order_id is None:
            return self._entries(statements.UPLOADED_SINCE, since=since)
        return self._entries(statements.UPLOADED_TO_ORDER_SINCE, since=since, order_id=order_id)

    def to_confirm(self, account: str, project_id: int, *, now: float, latest: float, most: int) -> list[Entry]:
        """Return the project's processed invoices, at most `most`, whose orders are to be looked at by now.

        First due first; what is due after `latest` was written before the clock was set back. One that is still to be
        filed is not looked at: that would be a second writer of its entry.
        """
        return self._entries(
            statements.TO_CONFIRM, account=account, project_id=project_id, now=now, latest=latest, most=most
        )

    def next_confirmation(self, account: str, project_id: int) -> float | None:
        """Return when the next order of one of the project's processed invoices is to be looked at."""
        rows = self._read(statements.NEXT_CONFIRMATION, account=account, project_id=project_id)
        return None if rows[0][0] is None else float(rows[0][0])

    def questioned(self, since: float = 0.0) -> list[Entry]:
        """Return the accepted invoices whose orders have shown trouble since then, the latest first."""
        return self._entries(statements.QUESTIONED, since=since)

    def others_pass(self, entry: Entry, *, since: float) -> bool:
        """Whether the project took another invoice after that."""
        return bool(
            self._read(statements.UPLOADED_AFTER, account=entry.account, project_id=entry.project_id, since=since)
        )

    def count(self, state: State, *, since: float = 0.0) -> int:
        """Count the entries that came into this state since then."""
        ((number,),) = self._read(statements.COUNT, state=state, since=since)
        return int(number)

    # What happens

    def uploading(self, entry: Entry, base_line: frozenset[int] | None = None) -> Entry:
        """Intent: from now on the invoice may have reached the API.

        `base_line` are the ids of the order's attachments now; those before the first try in doubt are kept.
        """
        return self._move(
            entry,
            State.UPLOADING,
            attempts=entry.attempts + 1,
            doubt_since=time.time() if entry.doubt_since is None else entry.doubt_since,
            base_line=base_line if entry.doubt_since is None else entry.base_line,
            looks=0,
            next_try=None,
            reason=None,
            filed_as=None,
        )

    def not_taken(self, entry: Entry, before: Entry) -> Entry:
        """The last try was certainly not taken: what is in doubt is what was in doubt `before` it."""
        return self._move(
            entry, before.state, doubt_since=before.doubt_since, looks=before.looks, base_line=before.base_line
        )

    def looked_in_vain(self, entry: Entry, delay: float) -> Entry:
        """The API was asked and does not have it, so far; the next look, whoever takes it, is `delay` seconds away."""
        return self.delayed(replace(entry, looks=entry.looks + 1), delay)

    def uploaded(self, entry: Entry, receipt: Receipt, *, confirm_after: float | None = None) -> Entry:
        """Fact: the API has it. Its order is looked at `confirm_after` seconds later (None: never)."""
        return self._move(
            entry,
            State.UPLOADED,
            attachment_id=receipt.attachment_id,
            uploaded_at=time.time(),
            doubt_since=None,
            next_try=None,
            reason=None,
            detail=receipt.message,
            filed_as=None,
            confirm_at=None if confirm_after is None else time.time() + confirm_after,
        )

    def processed(self, entry: Entry, filed_as: Path | None) -> Entry:
        """The end of a good invoice; `filed_as` is where it lies (None: somebody took it away)."""
        return self._move(entry, State.PROCESSED, filed_as=_text(filed_as))

    def looked_at(
        self, entry: Entry, next_look: float | None, *, confirmed: bool = False, question: str | None = None
    ) -> Entry:
        """The order of an accepted invoice was looked at; the next look is `next_look` seconds away (None: the last).

        `confirmed`: it shows the invoice without trouble. `question`: it shows trouble, in these words.
        """
        now = time.time()
        return self._put(
            entry,
            confirm_at=None if next_look is None else now + next_look,
            confirm_looks=entry.confirm_looks + 1,
            confirmed_at=now if confirmed and entry.confirmed_at is None else entry.confirmed_at,
            questioned_at=now if question is not None and entry.questioned_at is None else entry.questioned_at,
            question=question or entry.question,
        )

    def look_put_off(self, entry: Entry, delay: float | None) -> Entry:
        """The order of an accepted invoice was not looked at; it is to be in `delay` seconds (None: no more)."""
        return self._put(entry, confirm_at=None if delay is None else time.time() + delay)

    def deferred(self, entry: Entry, delay: float, detail: str) -> Entry:
        """It must wait `delay` seconds; its state, and any doubt, stay."""
        return self._move(entry, entry.state, next_try=time.time() + delay, delay=delay, detail=detail)

    def delayed(self, entry: Entry, delay: float) -> Entry:
        """It must wait `delay` seconds from now; nothing else changes."""
        return self._move(entry, entry.state, next_try=time.time() + delay, delay=max(delay, entry.delay))

    def rejected(self, entry: Entry, reason: Reason, detail: str) -> Entry:
        """It can never pass. A doubt about an earlier try is kept: a retry by hand must ask first."""
        return self._move(entry, State.REJECTED, reason=reason, detail=detail, next_try=None)

    def failed(self, entry: Entry, filed_as: Path | None) -> Entry:
        """The end of a bad invoice, until a person moves it back."""
        return self._move(entry, State.FAILED, filed_as=_text(filed_as))

    def retried(self, entry: Entry, *, waive: bool = False) -> Entry:
        """A person moved it back: it starts over, but for a doubt about an earlier try. Nothing is written yet.

        `waive`: if its reason is a soft one, it does not stand against this invoice any more.
        """
        waived = entry.waived
        if waive and entry.reason is not None and entry.reason.is_soft:
            waived |= {entry.reason}
        return entry.moved(
            State.RECEIVED if entry.doubt_since is None else State.UPLOADING,
            reason=None,
            detail=None,
            delay=0.0,
            next_try=None,
            filed_as=None,
            first_seen=time.time(),
            waived=waived,
        )

    # The ledger itself

    def identity(self) -> str:
        """Return what tells this ledger from every other one: a random text, made when it is first asked for."""
        rows = self._read(statements.IDENTITY)
        if not rows:
            self._database.write(statements.MAKE_IDENTITY, {"id": secrets.token_hex(16)})
            rows = self._read(statements.IDENTITY)
        return str(rows[0][0])

    # The rate limit's memory

    def bucket(self, account: str) -> BucketLevel | None:
        """Return what was in the account's bucket when it was last written down."""
        rows = self._read(statements.BUCKET, account=account)
        return BucketLevel(*rows[0]) if rows else None

    def remember_bucket(self, account: str, bucket: BucketLevel) -> None:
        """Write down what is in the account's bucket."""
        self._database.write(statements.REMEMBER_BUCKET, {"account": account, **bucket._asdict()})

    # How

    def _move(self, entry: Entry, state: State, **changes: Any) -> Entry:
        require_legal_move(entry.state, state)
        return self._put(entry, state=state, **changes)

    def _put(self, entry: Entry, **changes: Any) -> Entry:
        """Write an entry with these changes; return it as it is on disk now."""
        entry = replace(entry, **changes, changed=time.time(), version=entry.version + 1)
        base_line = None if entry.base_line is None else " ".join(map(str, sorted(entry.base_line)))
        values = {name: getattr(entry, name) for name in _FIELDS} | {
            "waived": " ".join(sorted(entry.waived)),
            "base_line": base_line,
            "order_id": _stored_id(entry.order_id),
            "attachment_id": _stored_id(entry.attachment_id),
        }
        rows = self._database.write(statements.UPDATE if entry.id else statements.INSERT, values)
        if not rows:
            raise Changed("another copy of this invoice was written down meanwhile")
        return entry if entry.id else replace(entry, id=rows[0][0])

    def _entries(self, statement: str, **values: object) -> list[Entry]:
        return [_entry(row) for row in self._read(statement, **values)]

    def _read(self, statement: str, **values: object) -> list[Row]:
        if "order_id" in values:
            values["order_id"] = _stored_id(values["order_id"])
        return self._database.read(statement, values)


def _entry(row: Row) -> Entry:
    values = dict(zip(_FIELDS, row, strict=True))
    reason = values["reason"]
    values["state"] = State(values["state"])
    values["reason"] = None if reason is None else Reason(reason)
    values["waived"] = frozenset(map(Reason, values["waived"].split()))
    base_line = values["base_line"]
    values["base_line"] = None if base_line is None else frozenset(map(int, base_line.split()))
    for name in ("order_id", "attachment_id"):
        values[name] = None if values[name] is None else _read_id(values[name])
    return Entry(**values)


def _stored_id(number: Any) -> Any:
    """Return an id as the database keeps it: as text, if it has more than 64 bits.

    The letters before it keep SQLite from making a rounded number out of it.
    """
    return f"{_LONG_ID}{number}" if number is not None and not -_INT64 <= number < _INT64 else number


def _read_id(value: int | str) -> int:
    return int(value.removeprefix(_LONG_ID)) if isinstance(value, str) else value


def _text(path: Path | None) -> str | None:
    return None if path is None else storable(path)
