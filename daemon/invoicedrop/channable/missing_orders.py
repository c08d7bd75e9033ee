"""Whether the API knows none of several orders because of their names, or because the project is the wrong one.

An order that the API does not know is its invoice's fault; several different ones in a row, with nothing else in
between, may be the fault of `project_id`. Then the project is paused with that question and nothing moves; one probe at
a time goes on, each for another invoice. What was moved before stays. The question ends by

- any order that the API does know: the next unknown one is the first in a row again;
- the project's own list of orders, once the question has stood for a while (an API that errs for a moment is not to be
  believed about all of a backlog): a list with orders proves that the project is right, and that the unknown orders are
  really unknown. So a folder of nothing but wrong names does not hang for ever. Until an order is known again, no
  further one is a question. A list that shows one of the very orders that are said to be unknown proves nothing.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from invoicedrop.channable.models import Order
from invoicedrop.timing import DEFAULT_TIMING, Timing

QUESTION: Final = "the API knows none of several orders: is project_id right?"
_IN_A_ROW: Final = 3
"""Different orders after which it is a question."""
_MOST_KEPT: Final = 1000


class MissingOrders:
    """The orders of one project that the API did not know, one after the other. Thread-safe."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, timing: Timing = DEFAULT_TIMING) -> None:
        self._clock = clock
        self._patience = timing.project_question
        self._lock = threading.Lock()
        self._orders: set[int | str] = set()
        self._asked_at: float | None = None
        self._project_is_right = False

    def known(self) -> None:
        """The API knows an order of the project."""
        with self._lock:
            self._orders.clear()
            self._asked_at = None
            self._project_is_right = False

    def is_question(self, order: int | str) -> bool:
        """Count an order (its id, or the marketplace's number) that the API does not know.

        Returns whether that may be the project's fault.
        """
        with self._lock:
            if self._project_is_right:
                return False
            if len(self._orders) < _MOST_KEPT:
                self._orders.add(order)
            if len(self._orders) < _IN_A_ROW:
                return False
            if self._asked_at is None:
                self._asked_at = self._clock()
            return True

    @property
    def may_be_answered(self) -> bool:
        """Whether the question has stood long enough for the project's list to answer it."""
        return self._asked_at is not None and self._clock() - self._asked_at >= self._patience

    def answered_by(self, orders: list[Order]) -> bool:
        """Whether this list of the project's orders proves that the project is right."""
        with self._lock:
            contradicts = any(order.id in self._orders or order.numbers & self._orders for order in orders)
            self._project_is_right = bool(orders) and not contradicts
            return self._project_is_right
