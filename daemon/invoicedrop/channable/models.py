"""The bodies of the API's responses: models of only the fields that are used.

Customers' names and addresses, which orders carry, are never even parsed. Unknown fields are ignored, and fields
that this program can live without are optional, so that an addition or a gap on their side stops nothing.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, TypeAdapter, ValidationError, model_validator


def _utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def _object(value: Any) -> Any:
    return value if isinstance(value, (dict, BaseModel)) else {}


def _text(value: Any) -> Any:
    """What is no text is shown as Python does; what cannot be shown (a number of thousands of digits) is none."""
    try:
        return value if value is None else str(value)
    except (ValueError, RecursionError):
        return None


def _no_flag(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("true and false are no ids")  # noqa: TRY004 - pydantic's way to refuse
    return value


def _time(value: Any) -> Any:
    """A moment that cannot be read, or shown in every time zone, is as good as none: nothing is decided by it."""
    try:
        moment = _TIME.validate_python(value)
    except (ValidationError, ValueError, OverflowError):
        return None
    return moment if moment is not None and _FIRST_YEAR <= moment.year <= _LAST_YEAR else None


def _flag(value: Any) -> Any:
    return value if isinstance(value, bool) else None


def _list(value: Any) -> Any:
    return [] if value is None else value


def _readable(model: type[BaseModel]) -> BeforeValidator:
    """Keep those items of a list that are readable: one that is odd takes none of the others with it."""

    def keep(value: Any) -> Any:
        return [item for item in value if _reads(model, item)] if isinstance(value, list) else []

    return BeforeValidator(keep)


def _reads(model: type[BaseModel], item: Any) -> bool:
    try:
        model.model_validate(item)
    except ValidationError:
        return False
    return True


_TIME: Final = TypeAdapter(datetime | None)
_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 9999
UtcTime = Annotated[datetime | None, AfterValidator(lambda moment: moment and _utc(moment)), BeforeValidator(_time)]
Text = Annotated[str | None, BeforeValidator(_text)]
Id = Annotated[int, BeforeValidator(_no_flag)]
"""Of any length."""
Flag = Annotated[bool | None, BeforeValidator(_flag)]


class UploadResponse(BaseModel):
    """The body of a 202: it can still say `error`."""

    status: str
    order_attachment_id: Id | None = None
    message: Text = None


class AttachmentUrl(BaseModel):
    """Where an attachment can be fetched, for five minutes."""

    url: str


class Attachment(BaseModel):
    """A file of an order. `attachment_type` is "INVOICE", or labels of several kinds."""

    id: Id
    attachment_type: Text = None
    created: UtcTime = None

    @property
    def is_invoice(self) -> bool:
        """Whether this is (also) an invoice."""
        return "INVOICE" in (self.attachment_type or "").upper()


class Product(BaseModel):
    """A line of an order; bol only takes invoices for single ones, by this id."""

    channable_order_item_id: Id


class _Extra(BaseModel):
    channel_order_number: Text = None
    is_test_order: Flag = None
    is_demo_order: Flag = None


class _Data(BaseModel):
    extra: Annotated[_Extra, BeforeValidator(_object)] = _Extra()
    products: Annotated[list[Product], _readable(Product)] = []


class _Numbered(BaseModel):
    """The marketplace's own numbers of an order."""

    channel_id: Text = None
    data: Annotated[_Data, BeforeValidator(_object)] = _Data()

    @property
    def numbers(self) -> frozenset[str]:
        """The marketplace's own numbers of this order."""
        return frozenset(number for number in (self.channel_id, self.data.extra.channel_order_number) if number)


class Order(_Numbered):
    """One order, as far as invoices are concerned.

    `platform_name` is "channable" where the order came through a Channable API connection: only such orders take
    attachments.
    """

    id: Id
    channel_name: Text = None
    platform_name: Text = None
    status_shipped: Text = None
    supports_order_attachments: Flag = None
    created: UtcTime = None
    modified: UtcTime = None
    # Strict: one that cannot be read may be ours, so such an order is as good as unread.
    attachments: Annotated[list[Attachment], BeforeValidator(_list)] = []

    @property
    def marketplace_number(self) -> str | None:
        """The number that the marketplace shows."""
        return self.channel_id or self.data.extra.channel_order_number

    @property
    def invoices(self) -> list[Attachment]:
        """The invoices attached to this order."""
        return [attachment for attachment in self.attachments if attachment.is_invoice]

    @property
    def is_cancelled(self) -> bool:
        """Whether the whole order was cancelled; one of which only a part was is `partial`."""
        return self.status_shipped == "cancelled"

    @property
    def is_shipped(self) -> bool:
        """Whether the order was shipped, or a part of it."""
        return self.status_shipped in {"shipped", "partial"}

    @property
    def is_for_trial(self) -> bool:
        """Whether no customer stands behind it: a test or demo order."""
        return bool(self.data.extra.is_test_order or self.data.extra.is_demo_order)


class Event(BaseModel):
    """What happened to an order later; `status` is "info", "warning" or "error".

    `message` is free words of the marketplace, which may name people: it is shown to whoever asks, never logged.
    """

    id: int | None = None
    status: Text = None
    message: Text = None
    created: UtcTime = None

    @property
    def is_trouble(self) -> bool:
        """Whether it warns of something."""
        return (self.status or "").lower() in {"warning", "error"}


class OrderResponse(BaseModel):
    """The body of a single order's response; only it has the order's events."""

    order: Order
    events: Annotated[list[Event], _readable(Event)] = []


class OrdersPage(BaseModel):
    """One page of orders, newest first: those that can be read, and how many cannot.

    `entries` is how many orders the page has in all: a list ends with a page that has fewer than its limit. The API's
    `total` is not read: in the vendor's examples it counts the orders of the page. `unreadable_numbers` are the
    marketplace's numbers of each order that cannot be read, as far as they can be. `kept_by` is what the cache calls
    itself that the page comes from, if something says that it does.
    """

    orders: list[Order]
    unreadable: int = 0
    unreadable_numbers: list[frozenset[str]] = []
    kept_by: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _each_for_itself(cls, page: Any) -> Any:
        entries = page.get("orders") if isinstance(page, dict) else None
        if not isinstance(entries, list):
            return page  # refused by its type, with words
        readable = [entry for entry in entries if _reads(Order, entry)]
        unreadable = [entry for entry in entries if not _reads(Order, entry)]
        numbers = [_Numbered.model_validate(_object(entry)).numbers for entry in unreadable]
        return {"orders": readable, "unreadable": len(unreadable), "unreadable_numbers": numbers}

    def may_hide(self, number: str) -> int:
        """Return how many of the orders that cannot be read may have this marketplace number."""
        return sum(not numbers or number in numbers for numbers in self.unreadable_numbers)

    @property
    def entries(self) -> int:
        """How many orders the page has, readable or not."""
        return len(self.orders) + self.unreadable
