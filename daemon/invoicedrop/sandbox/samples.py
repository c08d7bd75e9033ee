"""Orders of every kind that an API may have, beside the usual ones that are shipped and take invoices.

Their ids say what they are: 9001 to 9011 have each status in the order of `STATUSES`, from 9021 on each has another
channel, from 9031 on each has one thing that is unusual, from 9041 on an invoice or a label of somebody else, and from
9051 on an upload is followed by an event a few seconds later.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from invoicedrop.sandbox.events import EventRule
from invoicedrop.sandbox.orders import CHANNELS, STATUSES, OrderChanges

_SECONDS_TO_EVENT: Final = 5.0


class Sample(NamedTuple):
    """What an order is an example of, and what is set of it; `attached` is the type of what somebody else put there."""

    words: str
    changes: OrderChanges
    attached: str | None = None
    event: EventRule | None = None


def _event(order_id: int, status: str, message: str) -> EventRule:
    return EventRule(status=status, message=message, after=_SECONDS_TO_EVENT, order_id=order_id)


SAMPLES: Final[Mapping[int, Sample]] = {
    **{
        9001 + number: Sample(status.replace("_", " "), {"status_shipped": status})
        for number, status in enumerate(STATUSES)
    },
    **{
        9021 + number: Sample(f"channel {channel}", {"channel_name": channel})
        for number, channel in enumerate((*CHANNELS, "channable_sandbox", "example_bazaar"))
    },
    9031: Sample("test order", {"is_test_order": True}),
    9032: Sample("demo order", {"is_demo_order": True}),
    9033: Sample("not from a Channable API connection", {"platform_name": "example_shop"}),
    9034: Sample("takes no attachments", {"supports_order_attachments": False}),
    9035: Sample("does not say whether it takes attachments", {"supports_order_attachments": None}),
    9036: Sample("of a business customer", {"business_order": True, "channel_name": "amazon"}),
    9041: Sample("has somebody else's invoice", {}, attached="INVOICE"),
    9042: Sample("has a shipping label", {}, attached="SHIPPING_LABEL"),
    9051: Sample(
        "an error event follows", {}, event=_event(9051, "error", "The marketplace refused the invoice (made up)")
    ),
    9052: Sample("a warning follows", {}, event=_event(9052, "warning", "The invoice has another total (made up)")),
    9053: Sample("an info event follows", {}, event=_event(9053, "info", "The invoice was published (made up)")),
}
