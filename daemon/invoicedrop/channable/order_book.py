"""The orders as they were read lately, so that a backlog of invoices costs few requests beside its uploads.

One invoice costs one read of its order. Where many wait, pages of the project's newest orders are read instead: a page
of a hundred serves all of them that wait, and an order that it does not show is still read by itself. What is kept is
what `Order` parses: ids, numbers, status and attachments, nothing of a customer.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from invoicedrop.channable.models import Order, OrdersPage
from invoicedrop.channable.project import Project
from invoicedrop.channable.uncached_order import uncached_order
from invoicedrop.errors import Unanswered
from invoicedrop.timing import DEFAULT_TIMING, Timing

_BACKLOG: Final = 5
"""Waiting invoices from which on a page may pay."""
_WAITING_PER_PAGE: Final = 20
_MOST_PAGES: Final = 15
"""Pages read while an order counts as fresh: one for so many waiting invoices, and no more than that."""
_LEAST_SERVED: Final = 5
"""Invoices that a page must have served, on average, for pages to be read again soon."""
_UNPROFITABLE: Final = 600.0
"""Seconds without pages where they did not pay: the invoices that wait are for older orders."""
_MOST_ORDERS: Final = 5_000


@dataclass(slots=True)
class _Kept:
    """An order, when it was read, and whether by a page that it has not yet served to pay for."""

    order: Order
    read_at: float
    by_page: bool = False


class OrderBook:
    """The orders of one project. Thread-safe. Every method that reads raises what `Project.order` does.

    `backlog` returns how many invoices wait for this project.
    """

    def __init__(
        self,
        project: Project,
        backlog: Callable[[], int] = lambda: 1,
        *,
        clock: Callable[[], float] = time.monotonic,
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        self._project = project
        self._backlog = backlog
        self._clock = clock
        self._fresh = timing.order_fresh
        self._lock = threading.Lock()
        self._orders: OrderedDict[int, _Kept] = OrderedDict()
        self._paging = threading.Lock()
        self._pages: Iterator[OrdersPage] = iter(())
        self._pages_left = 0
        self._pages_read = 0
        self._served = 0
        self._next_round = clock()

    def __len__(self) -> int:
        """Return how many orders are kept."""
        return len(self._orders)

    def order(self, order_id: int) -> Order:
        """Return the order as it was at most a minute ago.

        Raises:
            Rejected: there is no such order.

        """
        order = self._fresh_order(order_id) or self._paged(order_id)
        return order or self.put(self._read(order_id))

    def _read(self, order_id: int) -> Order:
        read = self._project.order(order_id)
        if read.kept_by is not None:
            with suppress(Unanswered):  # then there is nothing newer to be had
                return uncached_order(self._project, read.order)
        return read.order

    def put(self, order: Order, *, by_page: bool = False) -> Order:
        """Keep an order that was read just now; return it."""
        with self._lock:
            self._orders[order.id] = _Kept(order, self._clock(), by_page)
            self._orders.move_to_end(order.id)
            if len(self._orders) > _MOST_ORDERS:
                self._orders.popitem(last=False)
        return order

    def _fresh_order(self, order_id: int) -> Order | None:
        with self._lock:
            kept = self._orders.get(order_id)
            if kept is None or self._clock() - kept.read_at >= self._fresh:
                return None
            self._served += kept.by_page
            kept.by_page = False
            return kept.order

    def _paged(self, order_id: int) -> Order | None:
        """Return the order from a page, if pages pay now and one of them has it.

        That newer orders have larger ids is only a hint where to stop: an order that is missed is read by itself.
        """
        if self._backlog() < _BACKLOG:
            return None
        with self._paging:  # the threads that come meanwhile find their orders on the same page
            self._begin_round()
            order = self._fresh_order(order_id)
            while order is None and self._pages_left > 0:
                oldest = self._next_page()
                order = self._fresh_order(order_id)
                if oldest is not None and oldest < order_id:
                    break
            return order

    def _begin_round(self) -> None:
        """Begin with the first page again where that is due."""
        now = self._clock()
        if now < self._next_round:
            return
        paid = self._served >= _LEAST_SERVED * self._pages_read
        self._next_round = now + (self._fresh if paid else _UNPROFITABLE)
        self._pages_left = min(1 + self._backlog() // _WAITING_PER_PAGE, _MOST_PAGES) if paid else 0
        self._pages_read = self._served = 0
        self._pages = self._project.pages(optional=True)

    def _next_page(self) -> int | None:
        """Read a page; return the smallest id on it. A list that is of no use now costs no invoice anything."""
        self._pages_left -= 1
        self._pages_read += 1
        page, is_usable = None, False
        try:
            page = next(self._pages, None)
            is_usable = page is None or page.kept_by is None
        except Unanswered:
            pass
        except BaseException:
            # Nobody can be asked now (Paused, Stopping): the round begins again when that is over.
            self._pages_left = self._pages_read = self._served = 0
            self._next_round = self._clock()
            raise
        if not is_usable:
            self._next_round = self._clock() + _UNPROFITABLE
        if not is_usable or page is None or not page.orders:
            self._pages_left = 0
            return None
        for order in page.orders:
            self.put(order, by_page=True)
        return min(order.id for order in page.orders)
