"""An unknown outcome is asked about, never guessed: the order may have the invoice already.

The order's INVOICE attachments are compared by content. An order may show a new attachment a little late, so the
caller looks twice before it sends again. Where bytes cannot be had any more (HTTP 410), an attachment made since our
try began, with an id that no receipt of ours has, counts as ours: sending twice is worse than to look at it by hand.

An attachment does not say for which order items it is. Where the same bytes are in doubt for several sets of items,
they are taken only if there is one for each; if there are fewer, nobody can tell whose are missing.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from invoicedrop.channable.project import Project
from invoicedrop.errors import Unanswered
from invoicedrop.invoice import Receipt
from invoicedrop.ledger.ledger import Entry, Ledger

LOOKS: Final = 2
"""Looks that show nothing before the invoice is sent again."""
_CLOCK_MARGIN: Final = timedelta(seconds=2)
"""The server's Date header has whole seconds, and travels."""


def find_receipt(entry: Entry, project: Project, ledger: Ledger) -> Receipt | None:
    """Ask the API whether it has this invoice after all.

    Raises what asking raises: Unanswered, Paused, Stopping; Rejected when the order is gone.
    """
    assert entry.order_id is not None
    assert entry.doubt_since is not None
    order, clock_ahead, _ = project.order(entry.order_id)
    began = datetime.fromtimestamp(entry.doubt_since, UTC) + clock_ahead - _CLOCK_MARGIN
    ours = ledger.receipts(entry.account, entry.project_id, entry.order_id)
    beside = ledger.doubts_beside(entry)
    same: list[int] = []
    unreadable: list[int] = []
    for attachment in sorted(order.invoices, key=lambda invoice: invoice.id, reverse=True):
        sent = ours.get(attachment.id)
        if sent is not None:
            # The same bytes for other items of the order are another invoice.
            if sent == (entry.sha256, entry.items):
                return Receipt(attachment.id)
            continue
        digest = project.attachment_digest(entry.order_id, attachment.id, entry.size)
        if digest == entry.sha256:
            if not beside:
                return Receipt(attachment.id)
            same.append(attachment.id)
        if digest is None and attachment.created is not None and attachment.created >= began:
            unreadable.append(attachment.id)
    candidates = same or unreadable
    if 0 < len(candidates) <= beside:
        raise Unanswered(
            f"the order shows {len(candidates)} of {beside + 1} uploads of this PDF for different order items, and "
            "does not say for which: look at the order in Channable"
        )
    return Receipt(min(candidates)) if candidates else None
