"""The orders as they were read lately, against the sandbox: how few requests a backlog costs."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from api_caller import Caller, caller_of
from invoicedrop.channable.order_book import OrderBook
from invoicedrop.errors import Rejected, Unanswered
from invoicedrop.sandbox import Options, Running, serve
from manual_clock import ManualClock
from scripted_api import Reply, Request, as_json, scripted


@contextmanager
def book_of(orders: int, backlog: int) -> Iterator[tuple[OrderBook, Running, ManualClock]]:
    """Return the book of a project with so many orders, for which so many invoices wait."""
    clock = ManualClock()
    with serve(Options(rate=0, orders=orders)) as api, caller_of(api.url) as caller:
        yield OrderBook(caller.project, lambda: backlog, clock=clock), api, clock


def test_one_invoice_costs_one_read() -> None:
    """A single order is read by itself, and not again within a minute."""
    with book_of(300, backlog=1) as (book, api, clock):
        assert [book.order(8).id for _ in range(3)] == [8, 8, 8]
        assert [request.path.rpartition("/")[2] for request in api.requests] == ["8"]
        clock.now += 60
        book.order(8)
        assert len(api.requests) == 2


def test_an_order_that_does_not_exist_is_rejected() -> None:
    """There is no such order: by a page or by itself, the API's own 404 decides."""
    with book_of(30, backlog=10) as (book, _api, _clock), pytest.raises(Rejected):
        book.order(5000)


def test_pages_serve_a_backlog_of_recent_orders() -> None:
    """300 invoices of the newest 300 of 1,000 orders cost a handful of reads, in eight threads too."""
    with book_of(1000, backlog=300) as (book, api, _clock), ThreadPoolExecutor(8) as pool:
        assert [order.id for order in pool.map(book.order, range(701, 1001))] == list(range(701, 1001))
        assert len(api.requests) <= 10


def test_pages_are_not_read_for_ever_for_old_orders() -> None:
    """Where pages do not show what is asked for, their number is bounded, and they are left alone for ten minutes."""
    with book_of(3000, backlog=100) as (book, api, clock):
        for order_id in range(1, 101):
            book.order(order_id)
        assert len(api.requests) <= 100 + 6
        clock.now += 60
        for order_id in range(101, 201):
            book.order(order_id)
        assert len(api.requests) <= 200 + 6
        clock.now += 600
        book.order(201)
        assert len(api.requests) > 201 + 6


def test_a_list_that_cannot_be_read_stops_no_invoice() -> None:
    """Where the list of orders answers 504, each order is read by itself."""
    lists = 0

    def script(request: Request) -> Reply:
        nonlocal lists
        if "?" in request.path:
            lists += 1
            return Reply(status=504)
        return as_json({"order": {"id": int(request.path.rpartition("/")[2])}})

    with scripted(script) as server, caller_of(server.url) as caller:
        book = OrderBook(caller.project, lambda: 50)
        assert [book.order(order_id).id for order_id in range(1, 21)] == list(range(1, 21))
    assert lists == 1


def test_an_order_that_cannot_be_read_is_asked_about_again() -> None:
    """A failed read is not kept: the next one asks anew."""
    replies = [Reply(status=500), as_json({"order": {"id": 8}})]
    with scripted(lambda _request: replies.pop(0)) as server, caller_of(server.url) as caller:
        book = OrderBook(caller.project)
        with pytest.raises(Unanswered):
            book.order(8)
        assert book.order(8).id == 8


def test_the_memory_is_bounded(caller: Caller) -> None:
    """Of very many orders the oldest are forgotten."""
    book = OrderBook(caller.project)
    for order_id in range(20_000):
        book.put(book.order(1).model_copy(update={"id": order_id}))
    assert len(book) == 5_000
