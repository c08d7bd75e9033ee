"""What the order says before its invoice is sent: that it exists, its status, and what is attached to it already.

So the API is a second memory beside the ledger: where the ledger was lost, where a second daemon works, or where
another tool was used before, the same PDF is found at its order, and is not sent again.
"""

import time
from dataclasses import replace
from typing import Final

from structlog.typing import FilteringBoundLogger as Log

from invoicedrop.channable.models import Order
from invoicedrop.channable.order_book import OrderBook
from invoicedrop.channable.project import Project
from invoicedrop.errors import Rejected, Unanswered
from invoicedrop.languages.catalogue import phrase
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.step import StepKind
from invoicedrop.pipeline.job import DeliveryContext
from invoicedrop.reasons import Reason

_LONGEST_CHANNABLE_ID: Final = 9
"""Digits; marketplaces' numbers have more, as a rule."""
_WORDS: Final = {
    "not_shipped": phrase("not shipped"),
    "pending_shipment": phrase("about to be shipped"),
    "pending_cancellation": phrase("about to be cancelled"),
    "cancellation_request": phrase("to be cancelled, as its customer asks"),
    "awaiting_confirmation": phrase("not confirmed yet"),
}


def found_by_number(number: str, project: Project) -> Order:
    """Return the order with this marketplace number; raises what `Project.find_order` does.

    A number that no order has may be one of Channable's own, which `orders` shows beside it: that is said.
    """
    try:
        return project.find_order(number)
    except Rejected as unknown:
        if unknown.reason is Reason.ORDER_NOT_FOUND and number.isdigit() and len(number) <= _LONGEST_CHANNABLE_ID:
            hint = (
                f"{unknown.detail}. {number} looks like a Channable order id: here, names begin with the marketplace's "
                'number (order_id_kind = "marketplace"); invoicedrop orders shows both'
            )
            raise Rejected(unknown.reason, hint) from unknown
        raise


def checked_order(order_id: int, book: OrderBook, log: Log) -> Order:
    """Return the order as it was at most a minute ago, and log what it shows; raises what `OrderBook.order` does."""
    order = book.order(order_id)
    log.info("order.checked", channel=order.channel_name, status=order.status_shipped, invoices=len(order.invoices))
    return order


def with_order(entry: Entry, order: Order) -> Entry:
    """Return the entry with what its order shows: the marketplace's number, and that it was looked at."""
    number = entry.marketplace_number or order.marketplace_number
    words = f"{order.channel_name or 'unknown channel'}, {status_words(order)}, invoices there: {len(order.invoices)}"
    return replace(entry, marketplace_number=number).after(StepKind.ORDER_SEEN, time.time(), words)


def attached_already(entry: Entry, order: Order, context: DeliveryContext) -> int | None:
    """Return the id of an attachment that has the invoice's very bytes and that no receipt of ours explains, if any.

    One whose file is gone says nothing: what was at the order before stops no invoice. Nor does one that cannot be read
    for ever: an invoice that was given up and moved back passes it. Where the same bytes are in doubt for other items
    of the order, an attachment may be theirs: only what is left over is this invoice. Raises what
    `Project.attachment_digest` does.
    """
    if not order.invoices:
        return None  # as nearly every order: the ledger need not be asked
    receipts = context.ledger.receipts(entry.account, entry.project_id, order.id)
    same: list[int] = []
    for attachment in order.invoices:
        if attachment.id in receipts:
            continue
        try:
            # A file that is even one byte longer is another one: no more than that is read.
            digest = context.project.attachment_digest(order.id, attachment.id, entry.size)
        except Unanswered:
            if Reason.GAVE_UP in entry.waived:
                continue
            raise
        if digest == entry.sha256:
            same.append(attachment.id)
    beside = entry.items_beside(context.ledger.doubts_at_order(entry)) if same else ()
    return max(same) if len(same) > len(beside) else None


def status_words(order: Order) -> str:
    """Return what is known of the order's shipment, in words."""
    status = order.status_shipped or phrase("unknown")
    return _WORDS.get(status, status.replace("_", " "))
