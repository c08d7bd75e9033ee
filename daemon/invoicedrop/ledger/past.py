"""What the ledger is asked afterwards: which invoices somebody means, and every step of one. Nothing is written."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from invoicedrop.ledger import statements
from invoicedrop.ledger.engine import Engine, Values
from invoicedrop.ledger.entry import Entry, entry_of, read_id
from invoicedrop.ledger.step import Step, StepKind

_BEYOND_HEX: Final = "g"
"""Sorts behind every digit of a SHA-256 in hex."""
_PAGE: Final = 1_000
"""Rows that are read at once: a ledger of years is never in memory as a whole."""
_ESCAPED: Final = str.maketrans({"!": "!!", "%": "!%", "_": "!_"})


class AcceptedInvoice(NamedTuple):
    """An invoice that the API has a receipt for. Times are seconds since the epoch."""

    inbox: str
    file: str
    order_id: int
    marketplace_number: str | None
    sha256: str
    size: int
    accepted_at: float
    attachment_id: int
    confirmed_at: float | None
    filed_as: str | None


class Past:
    """Finds invoices by what a person has at hand. Each search goes through the whole ledger, the oldest first.

    Every method raises LedgerUnavailable when the database cannot be read now.
    """

    def __init__(self, database: Engine) -> None:
        self._database = database

    def of_order(self, number: str, *, most: int) -> list[Entry]:
        """Return at most `most` invoices of the order with this Channable id or marketplace number, in any case.

        "8355_items-11" is what was dropped for these items of it.
        """
        order_id = int(number) if number.isascii() and number.isdigit() else -1
        reference = str(order_id) if order_id >= 0 else number
        return self._entries(
            statements.OF_ORDER,
            {
                "order_id": order_id,
                "reference": reference,
                "with_items": f"{reference.translate(_ESCAPED)}!_items-%",
                "number": number.upper(),
                "most": most,
            },
        )

    def of_file(self, name: str, *, most: int) -> list[Entry]:
        """Return at most `most` invoices that were dropped, or lie in their folder, under this name."""
        ending = f"%/{name.translate(_ESCAPED)}"
        return self._entries(statements.OF_FILE, {"file": name, "ending": ending, "most": most})

    def of_bytes(self, sha256: str, *, most: int) -> list[Entry]:
        """Return at most `most` invoices whose SHA-256 (lower-case hex) begins so."""
        return self._entries(statements.OF_BYTES, {"first": sha256, "beyond": sha256 + _BEYOND_HEX, "most": most})

    def accepted(self, since: float) -> Iterator[AcceptedInvoice]:
        """Yield what was accepted since then, each invoice once, in the order in which they were dropped."""
        after, more = 0, True
        while more:
            rows = self._database.read(statements.ACCEPTED, {"since": since, "after": after, "most": _PAGE})
            for number, *rest in rows:
                after, invoice = number, AcceptedInvoice(*rest)
                order_id, attachment_id = read_id(invoice.order_id), read_id(invoice.attachment_id)
                yield invoice._replace(order_id=order_id, attachment_id=attachment_id)
            more = len(rows) == _PAGE

    def steps(self, entry: Entry) -> list[Step]:
        """Return every step of an invoice, the first one first; none of those before the ledger kept them."""
        return [Step(StepKind(kind), *rest) for kind, *rest in self._database.read(statements.STEPS, {"id": entry.id})]

    def _entries(self, statement: str, values: Values) -> list[Entry]:
        return [entry_of(row) for row in self._database.read(statement, values)]
