"""Lists of orders: totals, filters, lists that shift while they are read, and lists that lag."""

from datetime import UTC, datetime, timedelta

from sandbox_caller import Started


def test_the_total_can_be_that_of_the_page(started: Started) -> None:
    """As in the vendor's examples, `total` is then the number of orders on the page."""
    caller = started(orders=150, counts_all_orders=False)
    totals = [caller.orders(offset=offset).json()["total"] for offset in (0, 100, 150)]
    assert totals == [100, 50, 0]
    assert caller.orders(limit=7).json()["total"] == 7
    caller.sandbox.store.counts_all_orders = True
    assert caller.orders(offset=100).json()["total"] == 150


def test_several_statuses_can_be_asked_for(started: Started) -> None:
    """`status` may be given several times: orders with any of them are listed, newest first."""
    caller = started(orders=4)
    caller.sandbox.store.add_order(1, status_shipped="partial")
    caller.sandbox.store.add_order(3, status_shipped="cancelled")
    assert caller.order_ids(status=["shipped", "partial"]) == [4, 2, 1]
    assert caller.order_ids(status=["cancelled"]) == [3]
    assert caller.order_ids(status=["waiting"]) == []


def test_last_modified_can_be_a_range(started: Started) -> None:
    """Both ends of last_modified filter, with the time of the last change and not of the order."""
    caller = started(orders=[])
    for day in (1, 2, 3):
        created = datetime(2026, 10, 1, tzinfo=UTC)
        caller.sandbox.store.add_order(day, created=created, modified=created + timedelta(days=day))
    query = {"last_modified_after": "2026-10-02T12:00:00Z", "last_modified_before": "2026-10-03T12:00:00Z"}
    assert caller.order_ids(**query) == [2]
    wrong = caller.orders(last_modified_before="yesterday")
    assert (wrong.status_code, wrong.json()["detail"][0]["loc"]) == (422, ["query", "last_modified_before"])


def test_a_list_shifts_while_it_is_read(started: Started) -> None:
    """An order that comes between two pages pushes the rest on: one order is seen twice, and the new one is missed."""
    caller = started(orders=200)
    store = caller.sandbox.store
    caller.sandbox.moments.before("orders", lambda: store.add_order(201, created=datetime.now(UTC)), skip=1)
    first, second, third = (caller.order_ids(offset=offset) for offset in (0, 100, 200))
    assert first == list(range(200, 100, -1))
    assert second == list(range(101, 1, -1))
    assert third == [1]
    assert caller.order_ids(limit=1) == [201]


def test_lists_can_lag_behind_their_orders(started: Started) -> None:
    """With list_lag an upload is at its order at once, and in lists that much later."""
    caller = started(list_lag=3600)
    caller.upload()
    assert len(caller.attachments()) == 1
    assert caller.listed(7)["attachments"] == []
    caller.sandbox.store.list_lag = 0.05
    caller.sandbox.wait_until(lambda: len(caller.listed(7)["attachments"]) == 1)


def test_the_kinds_of_requests_are_counted(started: Started) -> None:
    """Uploads, reads of orders and lists, look-ups of attachments and downloads are counted apart, refused ones too."""
    caller = started()
    caller.upload()
    caller.order()
    caller.order(token="wrong")
    caller.orders()
    url = caller.download_url().json()["url"]
    for _ in range(3):
        caller.ask("GET", url, token=None)
    counted = {kind: caller.sandbox.journal.arrived(kind) for kind in ("upload", "order", "orders", "attachment")}
    assert counted == {"upload": 1, "order": 2, "orders": 1, "attachment": 1}
    assert caller.sandbox.journal.arrived("download") == 3
    assert caller.sandbox.journal.arrived() == 8
