"""Whether an order is still owed an invoice, and since when.

The API has no date of shipment. `modified` comes nearest: it is when the order became shipped, or later, as anything
that changes an order afterwards (a label, a correction of the address) moves it too. So an invoice may be owed for
longer than is shown, never for a shorter time. Where `modified` is missing or odd it is `created`: then it may be owed
for a shorter time, as the order was shipped some time after that.
"""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from invoicedrop.channable.channels import find_channel
from invoicedrop.channable.models import Order

_CLOCKS_DIFFER: Final = timedelta(days=1)
"""A moment further ahead than this is not one of the past on another clock, but wrong."""
_NOT_SHIPPED: Final = frozenset(
    {
        "not_shipped",
        "manual",
        "waiting",
        "processing",
        "pending_shipment",
        "pending_cancellation",
        "cancellation_request",
        "awaiting_confirmation",
    }
)
"""What `status_shipped` says before dispatch, by the API's OpenAPI 3.1 document (2026-10)."""


class Debt(NamedTuple):
    """What an order is owed at a moment: an invoice, or none with the cause why.

    `is_certain` is False where the order does not say whether it was shipped. `since` is from when on an invoice is
    owed, None if no date tells; `length` is for how long.
    """

    is_owed: bool
    cause: str = ""
    is_certain: bool = True
    since: datetime | None = None
    length: timedelta | None = None

    def is_overdue(self, limit: timedelta | None) -> bool:
        """Whether an invoice is owed for longer than `limit`, if there is one; for an unknown time is too long."""
        return limit is not None and self.is_owed and (self.length is None or self.length > limit)


def debt_of(order: Order, now: datetime) -> Debt:
    """Judge whether an order is owed an invoice at the moment `now`.

    It is if it was shipped, or a part of it, has no invoice, is no trial, and can take one as far as is known.
    """
    channel = find_channel(order.channel_name)
    ended = channel is not None and not channel.takes_invoices(now)
    status = (order.status_shipped or "").replace("_", " ")
    causes = (
        (bool(order.invoices), "has an invoice"),
        (order.is_for_trial, "a test or demo order"),
        (order.is_cancelled, "cancelled"),
        (order.status_shipped == "not_shipped", "not shipped"),
        (order.status_shipped in _NOT_SHIPPED, f"not shipped: {status}"),
        (order.supports_order_attachments is False, "Channable takes no invoice for it"),
        (ended, "its channel takes no invoices any more"),
    )
    cause = next((words for holds, words in causes if holds), None)
    if cause is not None:
        return Debt(is_owed=False, cause=cause)
    if not order.is_shipped:
        return Debt(is_owed=False, cause=f"shipped or not? Its status is {status or 'missing'}", is_certain=False)
    moments = (moment for moment in (order.modified, order.created) if moment is not None)
    since = next((moment for moment in moments if moment - now < _CLOCKS_DIFFER), None)
    return Debt(is_owed=True, since=since, length=None if since is None else max(timedelta(), now - since))
