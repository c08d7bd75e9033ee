"""What `invoicedrop orders` found, as data and as JSON.

With `--json`, one object (times are UTC, ISO 8601; null is what is not known):

    orders      [{inbox, file_name, id, channel, marketplace_number, created, invoices: [{id, created}],
                modified, status, platform, takes_attachments, channel_takes_invoices, is_trial,
                item_ids, file_name_for_items, owed, not_owed_because, owed_since, owed_hours, overdue}], newest first
                within each inbox. `file_name` is null where the marketplace's number cannot be a file name; `item_ids`
                are those of channels that take invoices for single items (bol); `status` is Channable's
                `status_shipped`, `platform` its `platform_name`; `overdue` is null without `--overdue`
    unanswered  [{inbox, detail}]: the inboxes whose project could not be asked, and why
    unreadable  [{inbox, orders}]: how many orders could not be read, and so are missing
    undecided   [{inbox, id}]: the orders that do not say whether they were shipped; a list of what is owed has none
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from invoicedrop.channable.channels import find_channel
from invoicedrop.channable.models import Order
from invoicedrop.commands.owed import Debt
from invoicedrop.system.local_time import iso

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ListedOrder:
    """An order, the names that its invoice's file may have, and what it is owed.

    `file_name` is None if no file name can express the order. `item_ids` are the order items that an invoice may be
    for, and `items_name` is the name of an invoice for each of them; empty and None where it is for the whole order.
    """

    inbox: str
    file_name: str | None
    order: Order
    debt: Debt
    item_ids: tuple[int, ...] = ()
    items_name: str | None = None


@dataclass(slots=True)
class Listing:
    """The orders that are asked for, and by inbox what is missing: unreadable orders, projects that do not answer.

    `undecided` are the orders of which it cannot be told whether they are owed an invoice, listed or not.
    """

    now: datetime
    limit: timedelta | None = None
    orders: list[ListedOrder] = field(default_factory=list)
    undecided: list[ListedOrder] = field(default_factory=list)
    unreadable: dict[str, int] = field(default_factory=dict)
    unanswered: dict[str, str] = field(default_factory=dict)

    @property
    def overdue(self) -> int:
        """How many of the orders are owed an invoice for longer than the limit."""
        return sum(item.debt.is_overdue(self.limit) for item in self.orders)

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "orders": [self._order(item) for item in self.orders],
            "unanswered": [{"inbox": inbox, "detail": detail} for inbox, detail in self.unanswered.items()],
            "unreadable": [{"inbox": inbox, "orders": count} for inbox, count in self.unreadable.items()],
            "undecided": [{"inbox": item.inbox, "id": item.order.id} for item in self.undecided],
        }

    def _order(self, item: ListedOrder) -> dict[str, Any]:
        order, debt = item.order, item.debt
        channel = find_channel(order.channel_name)
        return {
            "inbox": item.inbox,
            "file_name": item.file_name,
            "id": order.id,
            "channel": order.channel_name,
            "marketplace_number": order.marketplace_number,
            "created": _time(order.created),
            "invoices": [{"id": invoice.id, "created": _time(invoice.created)} for invoice in order.invoices],
            "modified": _time(order.modified),
            "status": order.status_shipped,
            "platform": order.platform_name,
            "takes_attachments": order.supports_order_attachments,
            "channel_takes_invoices": None if channel is None else channel.takes_invoices(self.now),
            "is_trial": order.is_for_trial,
            "item_ids": list(item.item_ids),
            "file_name_for_items": item.items_name,
            "owed": debt.is_owed if debt.is_certain else None,
            "not_owed_because": debt.cause or None,
            "owed_since": _time(debt.since),
            "owed_hours": None if debt.length is None else round(debt.length / _HOUR, 1),
            "overdue": None if self.limit is None else debt.is_overdue(self.limit),
        }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)
