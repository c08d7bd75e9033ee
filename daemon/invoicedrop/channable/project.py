"""The Channable API's endpoints, as far as this program needs them.

Facts: the help-centre page "Upload and manage invoices with Channable API" and the public OpenAPI 3.1 document of the
order connection API (2026-10). Uploads and downloads are v1, order reads v2, as that document asks for.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final, NamedTuple

from invoicedrop.channable.client import ApiClient
from invoicedrop.channable.models import AttachmentUrl, Event, Order, OrderResponse, OrdersPage, UploadResponse
from invoicedrop.channable.project_reads import ORDERS, PAGE_SIZE, ProjectReads, parse, read
from invoicedrop.channable.upload_body import Content, UploadBody
from invoicedrop.circuit_breaker import CircuitBreaker
from invoicedrop.errors import Conflict, OutcomeUnknown, Rejected, Unanswered
from invoicedrop.invoice import Receipt
from invoicedrop.languages.catalogue import phrase
from invoicedrop.reasons import Reason
from invoicedrop.timing import DEFAULT_TIMING, Timing

_LOOK_UP_PAGES: Final = 20
"""Pages of a look-up: a number that two thousand orders mention is none."""
_GONE: Final = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_UPLOAD: Final = frozenset({"status", "order_attachment_id"})
"""The fields of each endpoint's own success; these are an upload's."""
_ORDER: Final = frozenset({"order"})
_ATTACHMENT: Final = frozenset({"url"})


class AttachedOrder(NamedTuple):
    """An order, how far the server's clock is ahead of ours, and what has happened to the order.

    `kept_by` is what the cache calls itself that the answer comes from, if something says that it does; `server` what
    the sender calls itself.
    """

    order: Order
    clock_ahead: timedelta
    events: list[Event]
    kept_by: str | None = None
    server: str = ""


class Project:
    """One project's orders and invoices.

    Every method raises what `ApiClient.request` does; its module has the table. `patience` is for how many seconds a
    read waits while the company's rate limit is used up, before it raises Paused.
    """

    def __init__(
        self,
        client: ApiClient,
        company_id: int,
        project_id: int,
        breaker: CircuitBreaker,
        *,
        patience: float = 0.0,
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        self.client = client
        self.project_id = project_id
        self.breaker = breaker
        self._ids = f"companies/{company_id}/projects/{project_id}"
        self._reads = ProjectReads(client, self._ids, breaker, patience=patience, timing=timing)

    def upload(
        self,
        order_id: int,
        invoice: Content,
        item_ids: Sequence[int] = (),
        *,
        before_sending: Callable[[], None] | None = None,
        may_leave: Callable[[], None] | None = None,
        own_connection: bool = False,
    ) -> Receipt:
        """Attach an invoice to an order (bol only: to these of its items) and return the API's receipt.

        `before_sending`, `may_leave` and `own_connection` are as for `ApiClient.request`.

        Raises:
            Rejected: the API refused it for good, or there is no such order.
            Unanswered: there is no such order, nor several others before it: nothing was taken.
            Conflict: the order is not ready for it now: nothing was taken.
            OutcomeUnknown: it may or may not have been stored.

        """
        body = UploadBody(invoice, item_ids)
        try:
            response = self.client.request(
                "POST",
                f"/v1/{self._ids}/orders/{order_id}/attachments",
                breaker=self.breaker,
                subject=f"{order_id}:{invoice.sha256}",
                form=_UPLOAD,
                writes=True,
                content=body,
                own_connection=own_connection,
                headers={"Content-Type": "application/json", "Content-Length": str(len(body))},
                before_sending=before_sending,
                may_leave=may_leave,
            )
        except OutcomeUnknown as doubt:
            raise OutcomeUnknown(doubt.detail, is_whole=body.is_whole) from doubt
        if response.status == HTTPStatus.NOT_FOUND:
            raise self._reads.no_order(order_id, response.summary(), by_read=False)
        self._reads.order_is_known()
        if response.status == HTTPStatus.CONFLICT:
            raise Conflict(response.summary())
        if response.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise Rejected(
                Reason.TOO_LARGE,
                phrase("{answer}; the file has {size} bytes", answer=response.summary(), size=invoice.size),
            )
        if response.status != HTTPStatus.ACCEPTED:
            if response.status // 100 == 2:  # noqa: PLR2004 - HTTP's own meaning of 2xx
                raise OutcomeUnknown(f"an unexpected answer: {response.summary()}")
            raise Rejected(Reason.REFUSED_BY_API, response.summary())
        if not body.is_whole:
            raise OutcomeUnknown("HTTP 202, before the invoice had left whole")
        answer = parse(UploadResponse, response, OutcomeUnknown)
        if answer.status in {"success", "warning", "debug"} and answer.order_attachment_id is not None:
            return Receipt(answer.order_attachment_id, answer.message if answer.status == "warning" else None)
        if answer.status != "error":
            raise OutcomeUnknown(
                f"HTTP 202 with status {answer.status!r} and attachment id {answer.order_attachment_id}"
            )
        raise Rejected(
            Reason.REFUSED_BY_API, f"HTTP 202 with status {answer.status!r}: {answer.message or 'no message'}"
        )

    def order(self, order_id: int) -> AttachedOrder:
        """Return one order with its attachments.

        Raises:
            Rejected: there is no such order.
            Unanswered: it cannot be read, or there is no such order, nor several others before it.

        """
        response = self._reads.get_one(f"/v2/{self._ids}/orders/{order_id}", subject=str(order_id), form=_ORDER)
        received_at = datetime.now(UTC)
        if response.status == HTTPStatus.NOT_FOUND:
            raise self._reads.no_order(order_id, response.summary())
        date = response.date
        ahead = timedelta() if date is None or date.tzinfo is None else date - received_at
        body = read(OrderResponse, response)
        if body.order.id != order_id:
            raise Unanswered(f"asked about order {order_id}, the answer is about {body.order.id}")
        self._reads.order_is_known()
        return AttachedOrder(body.order, ahead, body.events, response.kept_by, response.server)

    def orders(
        self,
        *,
        search: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        offset: int = 0,
        limit: int = PAGE_SIZE,
        optional: bool = False,
    ) -> OrdersPage:
        """Return a page of orders, newest first. `search` is loose: compare before you believe a hit.

        `since` and `until` are about when orders were created. `optional`: one can do without the list, so that its
        trouble is its own.
        """
        params: dict[str, str | int] = {"limit": limit, "offset": offset}
        if search:
            params["search"] = search
        if since is not None:
            params["start_date"] = _moment(since)
        if until is not None:
            params["end_date"] = _moment(until)
        path = f"/v2/{self._ids}/orders"
        if search and not optional:
            response = self._reads.get_one(path, subject=f"orders {search}", form=ORDERS, params=params)
        else:
            response = self._reads.get(path, subject="orders", form=ORDERS, params=params, alone=optional)
        page = read(OrdersPage, response)
        page.kept_by = response.kept_by
        if page.orders and not search:
            self._reads.order_is_known()
        return page

    def pages(
        self,
        *,
        search: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        optional: bool = False,
    ) -> Iterator[OrdersPage]:
        """Yield the pages of a list of orders, newest first, up to one that is not full; see `orders`."""
        offset = 0
        while True:
            page = self.orders(search=search, since=since, until=until, offset=offset, optional=optional)
            yield page
            offset += page.entries
            if page.entries < PAGE_SIZE:
                return

    def all_orders(
        self, *, search: str = "", since: datetime | None = None, on_unreadable: Callable[[int], None] | None = None
    ) -> Iterator[Order]:
        """Yield the orders of all pages, newest first; an order that moves between pages comes once.

        `on_unreadable` is called with the number of orders of a page that cannot be read, if there are any.
        """
        seen: set[int] = set()
        for page in self.pages(search=search, since=since):
            if page.unreadable and on_unreadable is not None:
                on_unreadable(page.unreadable)
            for order in page.orders:
                if order.id not in seen:
                    seen.add(order.id)
                    yield order

    def find_order(self, number: str) -> Order:
        """Return the one order with exactly this marketplace number.

        Raises:
            Rejected: there is none, or more than one.
            Unanswered: far too many orders mention it, or of those that do some cannot be read, which may have it too;
                or there is none, nor one with several other numbers before it.

        """
        hits: dict[int, Order] = {}
        unreadable = 0
        for count, page in enumerate(self.pages(search=number), 1):
            hits |= {order.id: order for order in page.orders if number in order.numbers}
            unreadable += page.may_hide(number)
            if count == _LOOK_UP_PAGES and page.entries == PAGE_SIZE:
                raise Unanswered(f"more than {count * PAGE_SIZE} orders mention {number}")
        if len(hits) > 1:
            ids = ", ".join(map(str, sorted(hits)))
            raise Rejected(
                Reason.ORDER_AMBIGUOUS,
                phrase("the orders {ids} all have the marketplace number {number}", ids=ids, number=number),
            )
        if unreadable:
            raise Unanswered(f"of the orders that mention {number}, {unreadable} cannot be read: which one is meant?")
        if not hits:
            raise self._reads.no_order(number, phrase("no order has the marketplace number {number}", number=number))
        self._reads.order_is_known()
        return next(iter(hits.values()))

    def attachment_digest(self, order_id: int, attachment_id: int, max_bytes: int) -> str | None:
        """Download an attachment and return its SHA-256 in hex; None if its file is gone.

        A file of more than `max_bytes` is not read to its end: what is returned then is no file's digest.
        """
        path = f"/v1/{self._ids}/orders/{order_id}/attachments/{attachment_id}"
        response = self._reads.get_one(path, subject=f"{order_id} attachment {attachment_id}", form=_ATTACHMENT)
        if response.status in _GONE:
            return None
        sha256 = hashlib.sha256()
        status = self.client.download(read(AttachmentUrl, response).url, sha256.update, max_bytes)
        if status in _GONE:
            return None
        if status != HTTPStatus.OK:
            raise Unanswered(f"download: HTTP {status}")
        return sha256.hexdigest()


def _moment(moment: datetime) -> str:
    """Return a moment as the API's parameters have it."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"
