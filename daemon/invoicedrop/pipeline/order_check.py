"""What the order says before its invoice is sent: that it exists, its status, and what is attached to it already.

So the API is a second memory beside the ledger: where the ledger was lost, where a second daemon works, or where
another tool was used before, the same PDF is found at its order, and is not sent again.
"""

from collections.abc import Mapping
from typing import Final

from invoicedrop.channable.models import Order
from invoicedrop.channable.project import Project
from invoicedrop.ledger.ledger import Entry, SentInvoice

_WORDS: Final = {
    "not_shipped": "not shipped",
    "pending_shipment": "about to be shipped",
    "pending_cancellation": "about to be cancelled",
    "cancellation_request": "to be cancelled, as its customer asks",
    "awaiting_confirmation": "not confirmed yet",
}


def attached_already(
    entry: Entry, order: Order, project: Project, receipts: Mapping[int, SentInvoice], *, max_bytes: int
) -> int | None:
    """Return the id of an attachment that has the invoice's very bytes and that no receipt of ours explains, if any.

    One whose file is gone says nothing: what was at the order before stops no invoice. `receipts` are ours for this
    order. Raises what `Project.attachment_digest` does.
    """
    for attachment in sorted(order.invoices, key=lambda invoice: invoice.id, reverse=True):
        if attachment.id not in receipts:
            digest = project.attachment_digest(order.id, attachment.id, max_bytes)
            if digest == entry.sha256:
                return attachment.id
    return None


def status_words(order: Order) -> str:
    """Return what is known of the order's shipment, in words."""
    status = order.status_shipped or "unknown"
    return _WORDS.get(status, status.replace("_", " "))
