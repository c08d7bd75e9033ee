"""The bodies of the API's responses: models of only the fields that are used.

Customers' names and addresses, which orders carry, are never even parsed. Unknown fields are ignored, and fields
that this program can live without are optional, so that an addition or a gap on their side stops nothing.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator


def _utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def _object(value: Any) -> Any:
    return value if isinstance(value, (dict, BaseModel)) else {}


def _text(value: Any) -> Any:
    return value if value is None else str(value)


def _list(value: Any) -> Any:
    return [] if value is None else value


UtcTime = Annotated[datetime, AfterValidator(_utc)]


class UploadResponse(BaseModel):
    """The body of a 202: it can still say `error`."""

    status: str
    order_attachment_id: int | None = None
    message: str | None = None


class AttachmentUrl(BaseModel):
    """Where an attachment can be fetched, for five minutes."""

    url: str


class Attachment(BaseModel):
    """A file of an order. `attachment_type` is "INVOICE", or labels of several kinds."""

    id: int
    attachment_type: Any = None
    created: UtcTime | None = None

    @property
    def is_invoice(self) -> bool:
        """Whether this is (also) an invoice."""
        return "INVOICE" in str(self.attachment_type).upper()


class _Extra(BaseModel):
    channel_order_number: Annotated[str | None, BeforeValidator(_text)] = None


class _Data(BaseModel):
    extra: Annotated[_Extra, BeforeValidator(_object)] = _Extra()


class Order(BaseModel):
    """One order, as far as invoices are concerned."""

    id: int
    channel_name: Annotated[str | None, BeforeValidator(_text)] = None
    channel_id: Annotated[str | None, BeforeValidator(_text)] = None
    created: UtcTime | None = None
    attachments: Annotated[list[Attachment], BeforeValidator(_list)] = []
    data: Annotated[_Data, BeforeValidator(_object)] = _Data()

    @property
    def numbers(self) -> frozenset[str]:
        """The marketplace's own numbers of this order."""
        return frozenset(number for number in (self.channel_id, self.data.extra.channel_order_number) if number)

    @property
    def invoices(self) -> list[Attachment]:
        """The invoices attached to this order."""
        return [attachment for attachment in self.attachments if attachment.is_invoice]


class OrderResponse(BaseModel):
    """The body of a single order's response."""

    order: Order


class OrdersPage(BaseModel):
    """One page of orders, newest first."""

    orders: list[Order]
    total: int
