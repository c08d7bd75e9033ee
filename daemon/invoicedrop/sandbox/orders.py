"""Generated orders, in the form that the All Orders V2 endpoints return them.

Every customer is invented, and every surname, address and e-mail address contains `CUSTOMER_SURNAME`, so that a test
can prove with one search that a program kept no customer data.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

CHANNELS: Final = ("bol", "kaufland", "mirakl_mediamarkt", "amazon")
CUSTOMER_SURNAME: Final = "Zonnebloem-Testklant"
_GIVEN_NAMES: Final = ("Anneke", "Bram", "Cato", "Daan", "Els", "Floris", "Guusje")
_TOWNS: Final = ("Utrecht", "Leipzig", "Gent", "Graz", "Groningen")
_LIFETIME: Final = timedelta(days=365)


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


def utc_text(moment: datetime) -> str:
    """Return a time as the API writes it: UTC, ISO 8601."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(slots=True, kw_only=True)
class StoredAttachment:
    """A document of an order. `visible_at` is on the store's clock, `sha256` in hex, `size` in bytes."""

    id: int
    order_id: int
    project_id: int
    title: str
    attachment_type: str
    created: datetime
    size: int
    sha256: str
    item_ids: tuple[int, ...] = ()
    visible_at: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the attachment as an order shows it."""
        return {
            "id": self.id,
            "title": self.title,
            "attachment_type": self.attachment_type,
            "file_type": "PDF",
            "created": utc_text(self.created),
            "expires_at": utc_text(self.created + _LIFETIME),
            "order_id": self.order_id,
            "project_id": self.project_id,
            "data": {"order_item_ids": list(self.item_ids)} if self.item_ids else {},
        }


@dataclass(slots=True, kw_only=True)
class Event:
    """A later, asynchronous message of the marketplace about an order; `status` is info, warning or error."""

    id: int
    order_id: int
    project_id: int
    status: str
    message: str
    created: datetime

    def to_json(self) -> dict[str, Any]:
        """Return the event as an order shows it."""
        return {
            "id": self.id,
            "order_id": self.order_id,
            "project_id": self.project_id,
            "status": self.status,
            "message": self.message,
            "created": utc_text(self.created),
            "modified": utc_text(self.created),
        }


@dataclass(slots=True, kw_only=True)
class StoredOrder:
    """An order: its identity and its attachments. `memo` is free text that mentions other orders."""

    id: int
    project_id: int
    channel_name: str
    channel_id: str
    channel_order_number: str
    created: datetime
    modified: datetime
    status_shipped: str = "shipped"
    memo: str = ""
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
            memo=memo,
        )

    def mentions(self, term: str) -> bool:
        """Whether the loose text search finds this order."""
        texts = (str(self.id), self.channel_id, self.channel_order_number, self.memo, *self._customer().values())
        folded = term.casefold()
        return any(folded in text.casefold() for text in texts)

    def to_json(self, attachments: list[StoredAttachment]) -> dict[str, Any]:
        """Return the order as the API shows it, with these attachments (those that are visible)."""
        customer = self._customer()
        address = {key: customer[key] for key in ("first_name", "last_name", "street", "city", "country_code")}
        return {
            "id": self.id,
            "project_id": self.project_id,
            "platform_id": f"SHOP-{self.id}",
            "platform_name": "example_shop",
            "channel_id": self.channel_id,
            "channel_id_internal": self.channel_id,
            "channel_name": self.channel_name,
            "status_paid": "paid",
            "status_shipped": self.status_shipped,
            "created": utc_text(self.created),
            "modified": utc_text(self.modified),
            "error": any(event.status == "error" for event in self.events),
            "data": {
                "billing": address,
                "shipping": address,
                "customer": {"email": customer["email"], "phone": customer["phone"]},
                "extra": {"channel_order_number": self.channel_order_number, "memo": self.memo},
                "products": [
                    {"channable_order_item_id": item, "title": f"Example article {item}", "quantity": 1, "price": 12.1}
                    for item in item_ids(self.id)
                ],
            },
            "attachments": [attachment.to_json() for attachment in attachments],
        }

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
