"""Generated orders, in the form that the All Orders V2 endpoints return them.

Every customer is invented, and every surname, address and e-mail address contains `CUSTOMER_SURNAME`, so that a test
can prove with one search that a program kept no customer data.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypedDict

from invoicedrop.sandbox.attachments import StoredAttachment, utc_text
from invoicedrop.sandbox.events import Event
from invoicedrop.sandbox.overrides import overridden

CHANNELS: Final = ("bol", "kaufland", "mirakl_mediamarkt", "amazon")
STATUSES: Final = (
    "not_shipped",
    "shipped",
    "cancelled",
    "manual",
    "waiting",
    "processing",
    "pending_shipment",
    "pending_cancellation",
    "partial",
    "cancellation_request",
    "awaiting_confirmation",
)
CUSTOMER_SURNAME: Final = "Zonnebloem-Testklant"
_GIVEN_NAMES: Final = ("Anneke", "Bram", "Cato", "Daan", "Els", "Floris", "Guusje")
_TOWNS: Final = ("Utrecht", "Leipzig", "Gent", "Graz", "Groningen")
_PRICE: Final = 12.1


def marketplace_number(order_id: int) -> str:
    """Return the marketplace's number of an order, such as 302-1234567-0008355 for order 8355."""
    return f"302-1234567-{order_id:07d}"


def order_id_of(number: str) -> int | None:
    """Return the order id that a marketplace number belongs to, or None if it is not such a number."""
    tail = number.removeprefix("302-1234567-")
    if tail == number or not (tail.isascii() and tail.isdigit()):
        return None
    return int(tail) if marketplace_number(int(tail)) == number else None


def item_ids(order_id: int) -> tuple[int, ...]:
    """Return the Channable order item ids of an order: one to three."""
    return tuple(order_id * 10 + n for n in range(1, 2 + order_id % 3))


class OrderChanges(TypedDict, total=False):
    """What can be set of an order: the fields of `StoredOrder` but for its ids, attachments and events."""

    channel_name: str
    channel_id: str
    channel_order_number: str
    created: datetime
    modified: datetime
    status_shipped: str
    platform_name: str | None
    supports_order_attachments: bool | None
    is_test_order: bool
    is_demo_order: bool
    business_order: bool
    price_total: float
    price_currency: str
    memo: str
    shown: Mapping[str, Any]
    hidden: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class StoredOrder:
    """An order: its identity, its attachments and its events.

    Attributes:
        status_shipped: one of `STATUSES`.
        platform_name: "channable" where the order came through a Channable API connection.
        supports_order_attachments: None where the API does not say.
        memo: free text that may mention other orders.
        shown, hidden: fields that the API shows instead of the facts, or does not show; see `overrides`.

    """

    id: int
    project_id: int
    channel_name: str
    channel_id: str
    channel_order_number: str
    created: datetime
    modified: datetime
    status_shipped: str = "shipped"
    platform_name: str | None = "channable"
    supports_order_attachments: bool | None = True
    is_test_order: bool = False
    is_demo_order: bool = False
    business_order: bool = False
    price_total: float = 0.0
    price_currency: str = "EUR"
    memo: str = ""
    shown: Mapping[str, Any] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    attachments: list[StoredAttachment] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    @classmethod
    def invent(cls, order_id: int, project_id: int, created: datetime) -> "StoredOrder":
        """Generate the order with this id; the same id gives the same order."""
        # Every tenth order mentions another order's number: a search for that number returns both.
        memo = f"Replacement for {marketplace_number(order_id - 1)}" if order_id % 10 == 0 else ""
        number = marketplace_number(order_id)
        return cls(
            id=order_id,
            project_id=project_id,
            channel_name=CHANNELS[order_id % len(CHANNELS)],
            channel_id=number,
            channel_order_number=number,
            created=created,
            modified=created,
            price_total=round(_PRICE * len(item_ids(order_id)), 2),
            memo=memo,
        )

    def change(self, changes: OrderChanges) -> None:
        """Change what is given.

        `channel_id` alone also sets `channel_order_number`, `created` alone also `modified`; another `status_shipped`
        is a modification of this moment.
        """
        implied: OrderChanges = {}
        if "channel_id" in changes:
            implied["channel_order_number"] = changes["channel_id"]
        if "created" in changes:
            implied["modified"] = changes["created"]
        elif changes.get("status_shipped", self.status_shipped) != self.status_shipped:
            implied["modified"] = datetime.now(UTC)
        for name, value in {**implied, **changes}.items():
            setattr(self, name, value)

    def has_error(self, now: float) -> bool:
        """Whether an event of level error has come, on the store's clock."""
        return any(event.status == "error" and event.visible_at <= now for event in self.events)

    def mentions(self, term: str) -> bool:
        """Whether the loose text search finds this order."""
        texts = (str(self.id), self.channel_id, self.channel_order_number, self.memo, *self._customer().values())
        folded = term.casefold()
        return any(folded in text.casefold() for text in texts)

    def to_json(self, attachments: list[StoredAttachment]) -> dict[str, Any]:
        """Return the order as the API shows it, with these attachments (those that are visible)."""
        customer = self._customer()
        address = {key: customer[key] for key in ("first_name", "last_name", "street", "city", "country_code")}
        facts = {
            "id": self.id,
            "project_id": self.project_id,
            "platform_id": f"SHOP-{self.id}",
            "platform_name": self.platform_name,
            "channel_id": self.channel_id,
            "channel_id_internal": self.channel_id,
            "channel_name": self.channel_name,
            "status_paid": "paid",
            "status_shipped": self.status_shipped,
            "supports_order_attachments": self.supports_order_attachments,
            "created": utc_text(self.created),
            "modified": utc_text(self.modified),
            "error": self.has_error(time.monotonic()),
            "data": {
                "billing": address,
                "shipping": address,
                "customer": {
                    "email": customer["email"],
                    "phone": customer["phone"],
                    "business_order": self.business_order,
                },
                "price": {"total": self.price_total, "currency": self.price_currency},
                "extra": {
                    "channel_order_number": self.channel_order_number,
                    "memo": self.memo,
                    "is_test_order": self.is_test_order,
                    "is_demo_order": self.is_demo_order,
                },
                "products": [
                    {
                        "channable_order_item_id": item,
                        "title": f"Example article {item}",
                        "quantity": 1,
                        "price": _PRICE,
                    }
                    for item in item_ids(self.id)
                ],
            },
            "attachments": [attachment.to_json() for attachment in attachments],
        }
        silent = ("supports_order_attachments",) if self.supports_order_attachments is None else ()
        return overridden(facts, self.shown, (*silent, *self.hidden))

    def _customer(self) -> dict[str, str]:
        given = _GIVEN_NAMES[self.id % len(_GIVEN_NAMES)]
        return {
            "first_name": given,
            "last_name": CUSTOMER_SURNAME,
            "street": f"{CUSTOMER_SURNAME}straat {1 + self.id % 90}",
            "city": _TOWNS[self.id % len(_TOWNS)],
            "country_code": "NL",
            "email": f"{given.casefold()}.{self.id}@{CUSTOMER_SURNAME.casefold()}.example",
            "phone": "+31 00 0000000",
        }
