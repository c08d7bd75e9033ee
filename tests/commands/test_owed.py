from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from invoicedrop.channable.models import Order
from invoicedrop.commands.owed import debt_of

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SHIPPED = {"id": 8355, "status_shipped": "shipped", "channel_name": "bol"}


def _order(**changes: Any) -> Order:
    return Order.model_validate(SHIPPED | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"status_shipped": "partial"},
        {"channel_name": "example_bazaar"},
        {"channel_name": None},
        {"channel_name": "mirakl_fnac"},
        {"supports_order_attachments": True},
        {"supports_order_attachments": None},
        {"platform_name": "example_shop"},
        {"attachments": [{"id": 1, "attachment_type": "SHIPPING_LABEL"}]},
        {"data": {"extra": {"is_test_order": False, "is_demo_order": None}}},
    ],
)
def test_a_shipped_order_is_owed_an_invoice(changes: dict[str, Any]) -> None:
    """Shipped, wholly or in part, is owed one; what is not known of its channel or of attachments is no excuse."""
    assert debt_of(_order(**changes), NOW).is_owed


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"attachments": [{"id": 1, "attachment_type": "INVOICE"}]}, "has an invoice"),
        ({"data": {"extra": {"is_test_order": True}}}, "a test or demo order"),
        ({"data": {"extra": {"is_demo_order": True}}}, "a test or demo order"),
        ({"status_shipped": "cancelled"}, "cancelled"),
        ({"status_shipped": "not_shipped"}, "not shipped"),
        ({"status_shipped": "pending_cancellation"}, "not shipped: pending cancellation"),
        ({"status_shipped": "awaiting_confirmation"}, "not shipped: awaiting confirmation"),
        ({"supports_order_attachments": False}, "Channable takes no invoice for it"),
    ],
)
def test_what_keeps_an_order_from_being_owed_one(changes: dict[str, Any], cause: str) -> None:
    """Each cause is named, and is certain."""
    debt = debt_of(_order(**changes), NOW)
    assert (debt.is_owed, debt.is_certain, debt.cause) == (False, True, cause)


@pytest.mark.parametrize(("status", "word"), [(None, "missing"), ("", "missing"), ("beamed_up", "beamed up")])
def test_an_unknown_status_decides_nothing(status: str | None, word: str) -> None:
    """An order that does not say whether it was shipped is not owed one for certain, and says so."""
    debt = debt_of(_order(status_shipped=status), NOW)
    assert (debt.is_owed, debt.is_certain) == (False, False)
    assert debt.cause == f"shipped or not? Its status is {word}"


def test_a_channel_that_has_ended_is_owed_nothing() -> None:
    """After the last day on which a channel takes invoices, its orders are owed none."""
    order = _order(channel_name="mirakl_fnac_darty")
    assert not debt_of(order, datetime(2027, 1, 2, tzinfo=UTC)).is_owed


@pytest.mark.parametrize(
    ("modified", "created", "hours"),
    [
        (NOW - timedelta(hours=5), NOW - timedelta(hours=50), 5),
        (None, NOW - timedelta(hours=50), 50),
        ("soon", NOW - timedelta(hours=50), 50),
        (NOW + timedelta(days=400), NOW - timedelta(hours=50), 50),
        (NOW + timedelta(minutes=3), NOW - timedelta(hours=50), 0),
        (None, None, None),
    ],
)
def test_since_when_an_invoice_is_owed(modified: object, created: object, hours: int | None) -> None:
    """Since the order was modified, or else made; a date that cannot be counts as none, one of a clock ahead as now."""
    debt = debt_of(_order(modified=modified, created=created), NOW)
    assert debt.length == (None if hours is None else timedelta(hours=hours))
    assert debt.is_overdue(timedelta(hours=4)) is (hours != 0)
    assert not debt.is_overdue(None)


def test_what_is_not_owed_is_never_overdue() -> None:
    """An order that is owed nothing is not overdue, however old it is."""
    order = _order(status_shipped="cancelled", created=NOW - timedelta(days=90))
    assert not debt_of(order, NOW).is_overdue(timedelta())
