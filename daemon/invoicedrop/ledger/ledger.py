"""What is known about each invoice, on disk before and after everything that matters.

An entry is one invoice: `(account, project, order, order items, sha256)`. Its `reference` is order and items in one, as
the file name says them: "8355", or "8355_items-11-12". A committed entry survives power loss.
"""

import secrets
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from invoicedrop.errors import Changed
from invoicedrop.invoice import Receipt, State, require_legal_move
from invoicedrop.ledger import statements
from invoicedrop.ledger.database import Database, Row
from invoicedrop.ledger.entry import Entry, entry_of, read_id, stored_id, values_of
from invoicedrop.printable import storable
from invoicedrop.reasons import Reason

LEDGER_FILE: Final = "ledger.sqlite3"
"""The ledger's name in `state_dir` (outside contract)."""


class BucketLevel(NamedTuple):
    """What is remembered of a bucket across a restart: drops in it, at which wall-clock time."""

    level: float
    at: float


class SentInvoice(NamedTuple):
    """What was sent under a receipt: the bytes, and for which order items."""

    sha256: str
    items: str


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
        return self._entry(statements.FIND, account=account, project_id=project_id, reference=reference, sha256=sha256)

    def same_invoice(self, entry: Entry) -> Entry | None:
        """Return another entry for the same bytes at the same order and items: sent, or else perhaps sent."""
        return self._entry(
            statements.SAME_INVOICE, **_order_of(entry), sha256=entry.sha256, items=entry.items, id=entry.id
        )

    def at_another_order(self, entry: Entry) -> Entry | None:
        """Return an entry for the same bytes at another order of the account: sent, or else perhaps sent."""
        return self._entry(statements.AT_ANOTHER_ORDER, **_order_of(entry), sha256=entry.sha256)

    def doubts_at_order(self, entry: Entry) -> list[Entry]:
        """Return the other entries of this order of which it is not known whether they were stored."""
        return self._entries(statements.DOUBTS_AT_ORDER, **_order_of(entry), id=entry.id)

    def receipts(self, account: str, project_id: int, order_id: int) -> dict[int, SentInvoice]:
        """Return the attachment ids of all our receipts for this order, with what was sent under each."""
        rows = self._read(statements.RECEIPTS, account=account, project_id=project_id, order_id=order_id)
        return {read_id(attachment_id): SentInvoice(*sent) for attachment_id, *sent in rows}

    def sent_later(self, entry: Entry) -> frozenset[int]:
        """Return the attachment ids of what was sent to the same order after this invoice."""
        rows = self._read(statements.SENT_LATER, **_order_of(entry), since=entry.uploaded_at)
        return frozenset(read_id(attachment_id) for (attachment_id,) in rows)

    def in_state(
        self, *states: State, newest: int = sys.maxsize, since: float = 0.0, inbox: str | None = None
    ) -> list[Entry]:
        """Return the entries (of this inbox) in these states, the latest changed first; at most `newest` of them."""
        names: dict[str, object] = {f"state_{index}": state for index, state in enumerate(states)}
        if inbox is not None:
            names["inbox"] = inbox
        statement = statements.in_states(len(states), of_inbox=inbox is not None)
        return self._entries(statement, **names, since=since, newest=newest)

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

    def count(self, state: State, *, since: float = 0.0, inbox: str | None = None) -> int:
        """Count the entries (of this inbox) that came into this state since then; of good ones those sent by us."""
        counted = statements.COUNT_SENT if state is State.PROCESSED else statements.COUNT
        statement = statements.counting(counted, of_inbox=inbox is not None)
        names = {} if inbox is None else {"inbox": inbox}
        ((number,),) = self._read(statement, state=state, since=since, **names)
        return int(number)

    def last_id(self) -> int:
        """Return the highest id that an entry has: it grows with each new one; 0 if there is none."""
        return int(self._read(statements.LAST_ID)[0][0] or 0)

    def begins(self) -> float | None:
        """Return when the first invoices that it knows were first seen (by now, if they came again); None if new."""
        first = self._read(statements.FIRST_SEEN)[0][0]
        return None if first is None else float(first)

    # What happens

    def uploading(self, entry: Entry, base_line: frozenset[int] | None = None, *, anew: bool = False) -> Entry:
        """Intent: from now on the invoice may have reached the API.

        `base_line` are the ids of the order's attachments now; those before the first try in doubt are kept, unless
        the doubt begins `anew`: a person has decided the one before.
        """
        first = entry.doubt_since is None or anew
        return self._move(
            entry,
            State.UPLOADING,
            attempts=entry.attempts + 1,
            doubt_since=time.time() if first else entry.doubt_since,
            base_line=base_line if first else entry.base_line,
            waived=entry.waived - {Reason.OUTCOME_UNCLEAR},
            looks=0,
            next_try=None,
            reason=None,
            filed_as=None,
        )

    def not_taken(self, entry: Entry, before: Entry) -> Entry:
        """The last try was certainly not taken: what is in doubt is what was in doubt `before` it."""
        return self._move(
            entry,
            before.state,
            doubt_since=before.doubt_since,
            looks=before.looks,
            base_line=before.base_line,
            waived=before.waived,
            next_try=before.next_try,
        )

    def looked_in_vain(self, entry: Entry, delay: float) -> Entry:
        """The API was asked and does not have it, so far; the next look, whoever takes it, is `delay` seconds away.

        A conflict before the doubt is over: nobody knows for how long nothing was tried.
        """
        return self.delayed(replace(entry, looks=entry.looks + 1, conflict_since=None), delay)

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
            changed=entry.changed,  # nothing has become of the invoice itself
            confirm_at=None if next_look is None else now + next_look,
            confirm_looks=entry.confirm_looks + 1,
            confirmed_at=now if confirmed and entry.confirmed_at is None else entry.confirmed_at,
            questioned_at=now if question is not None and entry.questioned_at is None else entry.questioned_at,
            question=question or entry.question,
        )

    def look_put_off(self, entry: Entry, delay: float | None) -> Entry:
        """The order of an accepted invoice was not looked at; it is to be in `delay` seconds (None: no more)."""
        return self._put(entry, changed=entry.changed, confirm_at=None if delay is None else time.time() + delay)

    def deferred(self, entry: Entry, delay: float, detail: str) -> Entry:
        """It must wait `delay` seconds; its state, and any doubt, stay."""
        return self._move(entry, entry.state, next_try=time.time() + delay, delay=delay, detail=detail)

    def troubled(self, entry: Entry, delay: float, detail: str) -> Entry:
        """It must wait `delay` seconds for trouble of its own; from the first time in a row on, that is counted."""
        since = time.time() if entry.trouble_since is None else entry.trouble_since
        return self.deferred(replace(entry, trouble_since=since, conflict_since=None), delay, detail)

    def conflicted(self, entry: Entry, delay: float, detail: str, *, since: float | None = None) -> Entry:
        """It must wait `delay` seconds, as the order's state is against it `since` then (None: since now)."""
        return self.deferred(replace(entry, conflict_since=time.time() if since is None else since), delay, detail)

    def delayed(self, entry: Entry, delay: float) -> Entry:
        """It must wait `delay` seconds from now; nothing else changes."""
        return self._move(entry, entry.state, next_try=time.time() + delay, delay=max(delay, entry.delay))

    def rejected(self, entry: Entry, reason: Reason, detail: str) -> Entry:
        """It can never pass. A doubt about an earlier try is kept: a retry by hand must ask first."""
        return self._move(entry, State.REJECTED, reason=reason, detail=detail, next_try=None)

    def failed(self, entry: Entry, filed_as: Path | None, *, mtime_ns: int | None = None) -> Entry:
        """The end of a bad invoice, until a person moves it back; `mtime_ns` is when the file was last written."""
        return self._move(entry, State.FAILED, filed_as=_text(filed_as), filed_mtime_ns=mtime_ns)

    def retried(self, entry: Entry, *, waive: bool = False) -> Entry:
        """A person moved it back: it starts over, but for a doubt about an earlier try, which is asked about anew.

        Nothing is written yet.

        `waive`: if its reason is a soft one, it does not stand against this invoice any more; nor does what cannot be
        read at its order, if it was given up for that before anything was sent.
        """
        waived = entry.waived
        given_up_unsent = entry.reason is Reason.GAVE_UP and entry.doubt_since is None
        if waive and entry.reason is not None and (entry.reason.is_soft or given_up_unsent):
            waived |= {entry.reason}
        return entry.moved(
            State.RECEIVED if entry.doubt_since is None else State.UPLOADING,
            reason=None,
            detail=None,
            delay=0.0,
            next_try=None,
            filed_as=None,
            looks=0,
            doubt_since=None if entry.doubt_since is None else time.time(),
            # An order that was imported anew has another id; what may have been sent keeps its own.
            order_id=None if entry.doubt_since is None else entry.order_id,
            conflict_since=None,
            trouble_since=None,
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
        entry = replace(entry, **({"changed": time.time()} | changes), version=entry.version + 1)
        rows = self._database.write(statements.UPDATE if entry.id else statements.INSERT, values_of(entry))
        if not rows:
            raise Changed("another copy of this invoice was written down meanwhile")
        return entry if entry.id else replace(entry, id=rows[0][0])

    def _entry(self, statement: str, **values: object) -> Entry | None:
        entries = self._entries(statement, **values)
        return entries[0] if entries else None

    def _entries(self, statement: str, **values: object) -> list[Entry]:
        return [entry_of(row) for row in self._read(statement, **values)]

    def _read(self, statement: str, **values: object) -> list[Row]:
        if "order_id" in values:
            values["order_id"] = stored_id(values["order_id"])
        return self._database.read(statement, values)


def _order_of(entry: Entry) -> dict[str, object]:
    """Return the values by which statements know the entry's order."""
    return {"account": entry.account, "project_id": entry.project_id, "order_id": entry.order_id}


def _text(path: Path | None) -> str | None:
    return None if path is None else storable(path)
