"""Orders of every kind: what can be set of them, what the samples are, and what reads say wrongly."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from invoicedrop.sandbox import SAMPLES, STATUSES, item_ids
from sandbox_caller import Started


def test_an_order_is_shipped_and_takes_invoices_unless_something_else_is_set(started: Started) -> None:
    """The usual order is shipped, came through a Channable API connection, and is neither a test nor a demo order."""
    order = started().order().json()["order"]
    assert order["status_shipped"] == "shipped"
    assert order["platform_name"] == "channable"
    assert order["supports_order_attachments"] is True
    assert order["data"]["extra"]["is_test_order"] is order["data"]["extra"]["is_demo_order"] is False
    assert order["data"]["customer"]["business_order"] is False
    assert order["data"]["price"] == {"total": round(12.1 * len(item_ids(7)), 2), "currency": "EUR"}


def test_each_field_of_an_order_can_be_set(started: Started) -> None:
    """What is set is shown by the single order and by lists, and what is not set stays."""
    caller = started()
    before = caller.order().json()["order"]
    caller.sandbox.store.add_order(
        7,
        channel_name="example_bazaar",
        status_shipped="cancelled",
        platform_name="example_shop",
        supports_order_attachments=False,
        is_test_order=True,
        is_demo_order=True,
        business_order=True,
        price_total=-3.5,
        price_currency="SEK",
    )
    order = caller.order().json()["order"]
    assert order == caller.listed(7)
    assert (order["channel_name"], order["status_shipped"]) == ("example_bazaar", "cancelled")
    assert (order["platform_name"], order["supports_order_attachments"]) == ("example_shop", False)
    assert order["data"]["extra"]["is_test_order"] is order["data"]["extra"]["is_demo_order"] is True
    assert order["data"]["customer"]["business_order"] is True
    assert order["data"]["price"] == {"total": -3.5, "currency": "SEK"}
    assert order["channel_id"] == before["channel_id"]
    assert order["data"]["products"] == before["data"]["products"]


def test_an_order_may_not_say_whether_it_takes_attachments(started: Started) -> None:
    """With None the field is missing, as older orders may lack it."""
    caller = started()
    caller.sandbox.store.add_order(7, supports_order_attachments=None)
    assert "supports_order_attachments" not in caller.order().json()["order"]


def test_another_status_is_a_modification(started: Started) -> None:
    """An order whose status changes was modified then, unless a time is given."""
    caller = started()
    before = datetime.now(UTC)
    caller.sandbox.store.add_order(6, status_shipped="shipped")
    caller.sandbox.store.add_order(7, status_shipped="cancelled")
    caller.sandbox.store.add_order(8, status_shipped="partial", modified=before - timedelta(days=1))
    assert caller.order_ids(last_modified_after=before.isoformat()) == [7]
    assert 7 not in caller.order_ids(last_modified_before=before.isoformat())
    assert 8 in caller.order_ids(last_modified_before=before.isoformat())


@pytest.mark.parametrize(
    ("shown", "hidden"),
    [
        ({"id": None}, ()),
        ({"created": "0000-00-00"}, ("modified",)),
        ({"attachments": "none", "data": 7}, ()),
        ({"data.extra.channel_order_number": None}, ("channel_id",)),
        ({"id": None, "attachments": None}, ("data", "status_shipped", "no.such.field")),
    ],
)
def test_an_order_can_be_odd_among_good_ones(started: Started, shown: dict[str, Any], hidden: tuple[str, ...]) -> None:
    """Any field can be anything or missing; other orders of the same list are as ever."""
    caller = started(orders=3)
    good = [caller.listed(order) for order in (3, 1)]
    caller.sandbox.store.add_order(2, shown=shown, hidden=hidden)
    orders = caller.orders().json()["orders"]
    assert [orders[0], orders[2]] == good
    odd = orders[1]
    assert caller.order(2).json()["order"] == odd
    for path, value in shown.items():
        here = odd
        *parents, name = path.split(".")
        for parent in parents:
            here = here[parent]
        assert here[name] == value
    assert not set(hidden) & set(odd)


def test_the_samples_are_of_every_kind(started: Started) -> None:
    """With samples there is an order of each status and channel, and each other kind; the usual orders are as ever."""
    with_samples, without = started(samples=True), started()
    statuses = {with_samples.order(9001 + n).json()["order"]["status_shipped"] for n in range(len(STATUSES))}
    assert statuses == set(STATUSES)
    channels = [with_samples.order(9021 + n).json()["order"]["channel_name"] for n in range(6)]
    assert len(set(channels)) == 6
    assert {"bol", "amazon", "kaufland", "mirakl_mediamarkt", "channable_sandbox"} < set(channels)
    assert set(SAMPLES) <= set(with_samples.order_ids() + with_samples.order_ids(offset=100))
    assert with_samples.attachments(9041)[0]["attachment_type"] == "INVOICE"
    assert with_samples.attachments(9042)[0]["attachment_type"] == "SHIPPING_LABEL"
    assert without.order(9001).status_code == 404
    assert sorted(without.order_ids()) == list(range(1, 101))


def test_the_attachments_of_samples_come_once(started: Started, tmp_path: Any) -> None:
    """A sandbox with a folder that is started again has the same two documents of somebody else."""
    for _ in range(2):
        sandbox = started(samples=True, folder=tmp_path).sandbox
        assert [(upload.order_id, upload.posted) for upload in sandbox.uploads()] == [(9041, False), (9042, False)]


# Reads that lie


def test_a_lie_changes_what_a_read_says_and_not_the_order(started: Started) -> None:
    """The next two reads of this order show an old status and no attachments; then, and for others, the facts come."""
    caller = started()
    caller.upload()
    caller.sandbox.faults.add(
        "lie", "order", order_id=7, count=2, shown={"status_shipped": "waiting", "attachments": []}, hidden=["modified"]
    )
    assert caller.order(8).json()["order"]["status_shipped"] == "shipped"
    for _ in range(2):
        answer = caller.order()
        assert answer.status_code == 200
        order = answer.json()["order"]
        assert (order["status_shipped"], order["attachments"]) == ("waiting", [])
        assert "modified" not in order
        assert answer.json()["events"]
    assert len(caller.attachments()) == 1
    assert caller.order().json()["order"]["status_shipped"] == "shipped"


def test_a_lie_in_a_list_is_about_one_order_or_all(started: Started) -> None:
    """With an order id a lie is about this order in each list; without one it is about all orders."""
    caller = started(orders=3)
    caller.sandbox.faults.add("lie", "orders", order_id=2, count=1, shown={"attachments": 7})
    caller.sandbox.faults.add("lie", "orders", count=1, shown={"status_shipped": "waiting"})
    first, second, third = (
        [(o["id"], o["status_shipped"], o["attachments"]) for o in caller.orders().json()["orders"]] for _ in range(3)
    )
    assert first == [(3, "shipped", []), (2, "shipped", 7), (1, "shipped", [])]
    assert second == [(3, "waiting", []), (2, "waiting", []), (1, "waiting", [])]
    assert third == [(3, "shipped", []), (2, "shipped", []), (1, "shipped", [])]


def test_a_lie_about_any_request_leaves_the_others_alone(started: Started) -> None:
    """A lie is in reads of orders only: uploads and downloads neither change nor use it up, and a 404 stays one."""
    caller = started()
    caller.sandbox.faults.add("lie", count=2, shown={"status_shipped": "waiting"})
    assert caller.upload().json()["order_attachment_id"] == 1
    assert caller.ask("GET", caller.download_url().json()["url"], token=None).status_code == 200
    assert caller.order(999).status_code == 404
    assert caller.order().json()["order"]["status_shipped"] == "waiting"
    assert caller.sandbox.faults.current() == []


def test_reads_fail_and_are_slow_by_order(started: Started) -> None:
    """Reads of one order, and lists, can fail or be slow while uploads and other orders are quick."""
    caller = started()
    caller.sandbox.faults.add("status", "order", order_id=7, status=500)
    caller.sandbox.faults.add("html", "orders", status=504)
    caller.sandbox.faults.add("hang_before_store", "order", order_id=9)
    assert [caller.order(order).status_code for order in (7, 8)] == [500, 200]
    assert caller.orders().status_code == 504
    with pytest.raises(httpx.ReadTimeout):
        caller.order(9, timeout=0.1)
    assert [caller.upload(order).status_code for order in (7, 9)] == [202, 202]


# Exact moments


def test_something_can_happen_right_before_a_request(started: Started) -> None:
    """Between two reads an order is cancelled: the action runs once, right before the second read of this order."""
    caller = started()
    store = caller.sandbox.store
    caller.sandbox.moments.before("order", lambda: store.add_order(7, status_shipped="cancelled"), order_id=7, skip=1)
    statuses = [caller.order(order).json()["order"]["status_shipped"] for order in (8, 7, 8, 7)]
    assert statuses == ["shipped", "shipped", "shipped", "cancelled"]


def test_somebody_else_can_be_quicker_or_a_moment_later(started: Started) -> None:
    """An attachment of others comes right before an upload is stored, right after it, or although it is not stored."""
    caller = started()
    store, moments = caller.sandbox.store, caller.sandbox.moments
    moments.before("upload", lambda: store.attach(7, b"%PDF before"), count=2)
    moments.after("upload", lambda: store.attach(7, b"%PDF after"), count=None)
    caller.sandbox.faults.add("reset_before_store", "upload", count=1)
    with pytest.raises(httpx.ReadError):
        caller.upload()
    caller.upload()
    caller.upload()
    sizes = [(upload.posted, upload.size) for upload in caller.sandbox.uploads()]
    pdf = next(size for posted, size in sizes if posted)
    assert sizes == [(False, 11), (False, 11), (True, pdf), (False, 10), (True, pdf), (False, 10)]


def test_a_moment_is_none_of_a_refused_request(started: Started) -> None:
    """A request without a valid token has no moment."""
    caller = started()
    ran: list[float] = []
    caller.sandbox.moments.before("any", lambda: ran.append(time.monotonic()))
    caller.order(token="wrong")
    assert ran == []
    caller.orders()
    caller.orders()
    assert len(ran) == 1
