"""What the ledger's tests begin with: an entry that nothing is written of yet, and what is known of one now."""

from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.ledger import Ledger

ACCOUNT = "https://api.example/1001"


def invoice(
    number: int = 8355,
    *,
    sha256: str = "ab" * 32,
    file: str | None = None,
    project_id: int = 2001,
    items: str = "",
) -> Entry:
    """Return an invoice that nothing is written of yet."""
    return Entry(
        account=ACCOUNT,
        project_id=project_id,
        reference=f"{number}_items-{items}" if items else str(number),
        order_id=number,
        sha256=sha256,
        inbox="default",
        file=file or f"{number}.pdf",
        size=1000,
        first_seen=1_700_000_000.25,
        items=items,
    )


def written(ledger: Ledger, entry: Entry) -> Entry:
    """Return what is known of it now."""
    row = ledger.find(entry.account, entry.project_id, entry.reference, entry.sha256)
    assert row is not None
    return row
