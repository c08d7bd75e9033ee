"""What the ledger knows of invoices: every question that the daemon and its commands ask of it. Nothing is written."""

import sys
from typing import NamedTuple

from invoicedrop.invoice import State
from invoicedrop.ledger import statements
from invoicedrop.ledger.engine import Engine, Row
from invoicedrop.ledger.entry import Entry, entry_of, read_id


class SentInvoice(NamedTuple):
    """What was sent under a receipt: the bytes, and for which order items."""

    sha256: str
    items: str


class KnownInvoices:
    """The entries of a ledger, to be read. Thread-safe.

    Every method raises LedgerUnavailable when the database cannot be read now.
    """

    def __init__(self, database: Engine) -> None:
        self._database = database

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

    def _entry(self, statement: str, **values: object) -> Entry | None:
        entries = self._entries(statement, **values)
        return entries[0] if entries else None

    def _entries(self, statement: str, **values: object) -> list[Entry]:
        return [entry_of(row) for row in self._read(statement, **values)]

    def _read(self, statement: str, **values: object) -> list[Row]:
        return self._database.read(statement, values)


def _order_of(entry: Entry) -> dict[str, object]:
    """Return the values by which statements know the entry's order."""
    return {"account": entry.account, "project_id": entry.project_id, "order_id": entry.order_id}
