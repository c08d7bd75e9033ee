"""Reads of one project's resources, and what a refused one, or an order that nobody knows, says of the project itself.

One signal is not believed: where a single resource is refused, the list of all orders tells whether all is in trouble,
and where several orders in a row are unknown, whether this is the right project at all (`missing_orders`).
"""

import threading
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from invoicedrop.channable.client import ApiClient
from invoicedrop.channable.missing_orders import QUESTION, MissingOrders
from invoicedrop.channable.models import OrdersPage
from invoicedrop.channable.response import ApiResponse
from invoicedrop.circuit_breaker import CircuitBreaker
from invoicedrop.errors import Deferred, OutcomeUnknown, PauseCause, Paused, Refused, Rejected, Unanswered
from invoicedrop.reasons import Reason
from invoicedrop.timing import Timing

PAGE_SIZE: Final = 100
"""Orders a page: the API's largest."""
ORDERS: Final = frozenset({"orders"})
"""The field of the list's own success."""
_JUST_NOW: Final = 1.0
"""Seconds for which it is known that the list of orders can be read."""
_SHORTEST_WAIT: Final = 0.01
"""Seconds between two tries while the rate limit is used up."""
_Model = TypeVar("_Model", bound=BaseModel)


class ProjectReads:
    """Reads below one project's address. Thread-safe; raises what `ApiClient.request` does.

    `patience` is for how many seconds a read waits while the company's rate limit is used up, before it raises Paused.
    """

    def __init__(
        self, client: ApiClient, project: str, breaker: CircuitBreaker, *, patience: float, timing: Timing
    ) -> None:
        self._client = client
        self._project = project
        self._breaker = breaker
        self._patience = patience
        self._missing = MissingOrders(timing=timing)
        self._corroborating = threading.Lock()
        self._list_answered = float("-inf")

    def get_one(
        self, path: str, *, subject: str, form: frozenset[str], params: dict[str, str | int] | None = None
    ) -> ApiResponse:
        """Read one resource. Where that is refused, the list of all orders tells whether all is in trouble."""
        is_probe = self._breaker.detail is not None
        try:
            return self.get(path, subject=subject, form=form, params=params, alone=True)
        except Refused:
            if is_probe:  # the next one, of another resource, tells
                raise
            # One such question at a time; whoever is refused meanwhile waits for its answer, too.
            with self._corroborating:
                if self._breaker.detail is None and time.monotonic() > self._list_answered + _JUST_NOW:
                    with suppress(Unanswered, Deferred):
                        self._newest_orders()
                        self._list_answered = time.monotonic()
            if self._breaker.detail is not None:
                raise Paused(self._breaker.detail, self._breaker.cause) from None
            raise

    def get(
        self,
        path: str,
        *,
        subject: str,
        form: frozenset[str],
        params: dict[str, str | int] | None = None,
        alone: bool = False,
        corroborates: bool = False,
    ) -> ApiResponse:
        """Make a read, which can be repeated, and wait where only the rate limit stands against it."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self._client.request(
                    "GET",
                    path,
                    breaker=self._breaker,
                    subject=subject,
                    form=form,
                    params=params,
                    alone=alone,
                    corroborates=corroborates,
                )
            except Paused as error:
                wait = max(_SHORTEST_WAIT, self._breaker.until - time.monotonic())
                if error.cause is not PauseCause.RATE_LIMIT or time.monotonic() + wait > deadline:
                    raise
                # A command's wait: the service has no patience here, and waits in its main loop.
                time.sleep(wait)

    def no_order(self, order: int | str, detail: str, *, by_read: bool = True) -> Rejected | Unanswered:
        """Return what to raise for an order that the API does not know, in its own words (see `missing_orders`)."""
        if self._missing.is_question(order) and not (self._missing.may_be_answered and self._is_right_project()):
            question = f"{QUESTION} ({detail})"
            self._breaker.trip(QUESTION, PauseCause.PROJECT)
            return Unanswered(question)
        self._breaker.reset(by_read=by_read)
        return Rejected(Reason.ORDER_NOT_FOUND, detail)

    def order_is_known(self) -> None:
        """An order of the project was found: it is the right one."""
        self._missing.known()

    def _is_right_project(self) -> bool:
        try:
            page = self._newest_orders()
        except (Paused, Unanswered, Deferred):
            return False
        return self._missing.answered_by(page.orders)

    def _newest_orders(self) -> OrdersPage:
        """Read the list of the project's orders, without a word to the circuit breaker if that works."""
        response = self.get(
            f"/v2/{self._project}/orders",
            subject="orders",
            form=ORDERS,
            params={"limit": PAGE_SIZE, "offset": 0},
            corroborates=True,
        )
        return read(OrdersPage, response)


def read(model: type[_Model], response: ApiResponse) -> _Model:
    """Return what an answer to a read holds.

    Raises:
        Unanswered: it is no success, or cannot be read.

    """
    if response.status != HTTPStatus.OK:
        raise Unanswered(response.summary())
    return parse(model, response, Unanswered)


def parse(model: type[_Model], response: ApiResponse, error_type: type[OutcomeUnknown] | type[Unanswered]) -> _Model:
    """Return what the body of a success holds; raise `error_type` where it cannot be read."""
    try:
        return model.model_validate_json(response.body)
    except ValidationError as error:
        fields = ", ".join(sorted({".".join(map(str, item["loc"])) or "the whole" for item in error.errors()}))
        # The body itself is not quoted: orders carry customers' data.
        raise error_type(f"HTTP {response.status}, but the answer cannot be read ({fields})") from None
