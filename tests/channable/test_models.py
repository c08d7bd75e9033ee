"""What the bodies of responses may lack."""

from datetime import UTC, datetime

import pytest

from api_caller import caller_of
from invoicedrop.channable.models import Order, OrderResponse, OrdersPage
from invoicedrop.errors import Unanswered
from invoicedrop.sandbox import CUSTOMER_SURNAME
from scripted_api import as_json, scripted


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"channel_name": None, "channel_id": None, "created": None, "attachments": None, "data": None},
        {"data": {"extra": None}},
        {"data": {}},
        {"data": {"extra": []}},
        {"data": []},
        {"channel_name": 5, "unknown": {"deep": [1]}},
    ],
    ids=str,
)
def test_an_order_may_lack_what_we_can_live_without(order: dict[str, object]) -> None:
    """Missing, null, empty and unknown fields of an order stop nothing."""
    parsed = OrderResponse.model_validate({"order": {"id": 8} | order}).order
    assert parsed.id == 8
    assert parsed.invoices == []
    assert parsed.numbers == frozenset()


@pytest.mark.parametrize(
    ("attachment", "is_invoice"),
    [
        ({"id": 1, "attachment_type": "INVOICE"}, True),
        ({"id": 1, "attachment_type": ["INVOICE", "CREDIT_NOTE"]}, True),
        ({"id": 1, "attachment_type": {"label": "Invoice"}}, True),
        ({"id": 1, "attachment_type": None}, False),
        ({"id": 1, "attachment_type": "PACKING_SLIP", "title": None, "created": None}, False),
        ({"id": 1, "attachment_type": "INVOICE", "title": 5}, True),
    ],
)
def test_an_invoice_is_told_from_other_attachments(attachment: dict[str, object], *, is_invoice: bool) -> None:
    """The type may be a word or labels of several kinds; what is called an invoice is one."""
    assert bool(Order.model_validate({"id": 8, "attachments": [attachment]}).invoices) is is_invoice


def test_a_number_may_be_a_number() -> None:
    """A marketplace number that comes as a JSON number is compared as text; a time without a zone is UTC."""
    order = Order.model_validate({"id": 8, "channel_id": 4711, "created": "2026-11-22T10:00:00"})
    assert order.numbers == {"4711"}
    assert order.created == datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"order": None},
        {"order": {"id": None, "data": {"billing": {"last_name": CUSTOMER_SURNAME}}}},
        {"order": {"id": 8, "attachments": [{"title": CUSTOMER_SURNAME}]}},
        {"order": {"id": 8, "attachments": CUSTOMER_SURNAME}},
        [CUSTOMER_SURNAME],
    ],
    ids=["empty", "null", "no_id", "attachment_without_id", "no_attachments", "list"],
)
def test_a_body_that_cannot_be_read_is_unanswered_and_not_quoted(body: object) -> None:
    """A field that is missing is named by its place; the body itself, which has customers' data, is not quoted."""
    with (
        scripted(
            lambda request: as_json(body if request.path.endswith("/8") else {"orders": []}),
        ) as server,
        caller_of(server.url) as caller,
        pytest.raises(Unanswered) as caught,
    ):
        caller.project.order(8)
    assert CUSTOMER_SURNAME not in str(caught.value)
    assert CUSTOMER_SURNAME not in repr(caught.value.__cause__)


def test_a_page_may_have_more_than_we_use() -> None:
    """Unknown fields of a page are ignored."""
    page = OrdersPage.model_validate({"orders": [{"id": 1, "x": 1}], "total": 1, "error_count": 0, "next": None})
    assert [order.id for order in page.orders] == [1]


def test_an_order_that_cannot_be_read_takes_no_other_with_it() -> None:
    """Each order of a page is read for itself: what cannot be read is counted."""
    odd = ({"id": None}, {"id": 2, "attachments": [{"id": "?"}]}, "3", None)
    page = OrdersPage.model_validate({"orders": [{"id": 1}, *odd, {"id": 4}]})
    assert [order.id for order in page.orders] == [1, 4]
    assert (page.unreadable, page.entries) == (4, 6)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00", "10000-01-01T00:00:00", CUSTOMER_SURNAME, {}, -(10**30), []])
def test_a_moment_that_cannot_be_shown_is_none(moment: object) -> None:
    """A date that cannot be read, or told in every time zone, stops nothing."""
    order = Order.model_validate({"id": 8, "created": moment, "attachments": [{"id": 1, "created": moment}]})
    assert (order.created, order.attachments[0].created) == (None, None)


def test_odd_events_and_products_are_left_out() -> None:
    """An event or a product that cannot be read takes no other with it, nor the order."""
    body = OrderResponse.model_validate(
        {
            "order": {"id": 8, "data": {"products": [{"channable_order_item_id": 11}, {}, None, "x"]}},
            "events": [None, {"id": "x"}, {"status": "ERROR", "message": 7}],
        }
    )
    assert [product.channable_order_item_id for product in body.order.data.products] == [11]
    assert [(event.message, event.is_trouble) for event in body.events] == [("7", True)]
