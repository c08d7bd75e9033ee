"""The state of the stand-in: its tokens, its orders, and every PDF that was uploaded."""

import hashlib
import heapq
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final, NamedTuple, Unpack

from invoicedrop.sandbox.attachments import StoredAttachment
from invoicedrop.sandbox.bucket import LeakyBucket
from invoicedrop.sandbox.events import Event, EventPlan
from invoicedrop.sandbox.files import FileKeeper
from invoicedrop.sandbox.options import Options
from invoicedrop.sandbox.order_query import OrderQuery
from invoicedrop.sandbox.orders import OrderChanges, StoredOrder, order_id_of
from invoicedrop.sandbox.paper import invoice_pdf
from invoicedrop.sandbox.samples import SAMPLES
from invoicedrop.sandbox.signatures import UrlSigner

_LARGEST_ID: Final = 2**63 - 1
_BETWEEN_ORDERS: Final = timedelta(minutes=37)


class Upload(NamedTuple):
    """One attached PDF, as tests compare it.

    `created` is UTC, `size` in bytes, `posted` whether it came through the API (else somebody else put it there).
    """

    project: int
    order_id: int
    sha256: str
    attachment_id: int
    created: datetime
    size: int
    item_ids: tuple[int, ...]
    posted: bool


class Store:
    """The company's data. Every method may be called from any thread, even while the server runs.

    Attributes:
        tokens: the valid ones; may be changed at any time.
        bucket: the company's rate limit, with its counts.
        latency, visible_after, list_lag, url_lifetime, counts_all_orders, reencodes: as in `Options`, times in
            seconds; may be changed at any time.
        event_plan: the events that follow uploads.

    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.company_id = options.company_id
        self.tokens = set(options.tokens)
        self.bucket = LeakyBucket(options.rate, options.burst)
        self.latency = options.latency
        self.visible_after = options.visible_after
        self.list_lag = options.list_lag
        self.url_lifetime = options.url_lifetime
        self.counts_all_orders = options.counts_all_orders
        self.reencodes = options.reencodes
        self.event_plan = EventPlan()
        self._lock = threading.RLock()
        self._started = datetime.now(UTC)
        self._orders: dict[int, dict[int, StoredOrder]] = {project: {} for project in options.projects}
        self._ranks = {project: _ranks(options, project) for project in options.projects}
        self._attachments: dict[int, StoredAttachment] = {}
        self._events = 0
        self._signer = UrlSigner()
        self._files = FileKeeper(options.folder)
        for attachment in self._files.restored():
            self._attachments[attachment.id] = attachment
            if attachment.project_id in self._orders:
                self._make(attachment.project_id, attachment.order_id).attachments.append(attachment)
        if options.samples:
            self._add_samples()

    # Access

    def authorised(self, authorization: str | None) -> bool:
        """Whether an Authorization header carries a valid token."""
        scheme, _, token = (authorization or "").partition(" ")
        return scheme.casefold() == "bearer" and token.strip() in self.tokens

    def reaches(self, company_id: int, project_id: int) -> bool:
        """Whether the company's tokens give access to this company and project."""
        return company_id == self.company_id and project_id in self._orders

    def drain(self, requests: int) -> int:
        """Count requests of another client of the company; return how many the bucket accepted."""
        return self.bucket.drain(requests)

    # Orders

    def add_order(
        self, order_id: int, *, project_id: int | None = None, **changes: Unpack[OrderChanges]
    ) -> StoredOrder:
        """Add or change an order; what is not given keeps its generated value. See `StoredOrder.change`."""
        with self._lock:
            order = self._make(self._project(project_id), order_id)
            order.change(changes)
            return order

    def order(self, order_id: int, *, project_id: int | None = None) -> StoredOrder | None:
        """Return an order of a project (default: the first project), or None if it has no such order."""
        with self._lock:
            return self._find(self._project(project_id), order_id)

    def orders(self, project_id: int, query: OrderQuery) -> list[StoredOrder]:
        """Return the orders of a project that match, newest first."""
        with self._lock:
            if self.options.any_order:
                self._make_searched(project_id, query.search)
            for order_id in self._ranks[project_id]:
                self._make(project_id, order_id)
            matches = [order for order in self._orders[project_id].values() if query.matches(order)]
            return sorted(matches, key=lambda order: (order.created, order.id), reverse=True)

    def overview(self, limit: int) -> list[StoredOrder]:
        """Return at most `limit` orders: those with the newest attachments first, then the newest of the others."""
        with self._lock:
            for project_id, ranks in self._ranks.items():
                for order_id in islice(ranks, limit):
                    self._make(project_id, order_id)
            orders = [order for project in self._orders.values() for order in project.values()]
            return heapq.nlargest(
                limit, orders, key=lambda order: (max((a.id for a in order.attachments), default=0), order.created)
            )

    def add_event(
        self, order_id: int, status: str, message: str, *, project_id: int | None = None, after: float = 0.0
    ) -> None:
        """Add an event to an order, `after` seconds from now; `status` is info, warning or error."""
        with self._lock:
            order = self._make(self._project(project_id), order_id)
            self._note(order, status, message, after)

    def events(self, order: StoredOrder) -> list[Event]:
        """Return the events of an order that have come, in that order."""
        with self._lock:
            now = time.monotonic()
            return sorted(
                (event for event in order.events if event.visible_at <= now), key=lambda event: event.visible_at
            )

    # Attachments

    def attach(
        self,
        order_id: int,
        pdf: bytes,
        *,
        project_id: int | None = None,
        item_ids: tuple[int, ...] = (),
        attachment_type: str = "INVOICE",
        title: str | None = None,
        visible_after: float | None = None,
        posted: bool = False,
        created: datetime | None = None,
        length_told: bool = True,
        shown: Mapping[str, Any] | None = None,
        hidden: tuple[str, ...] = (),
    ) -> StoredAttachment:
        """Attach a document to an order (generated if it does not exist), as an upload (`posted`) or somebody does.

        Raises:
            OSError: the folder cannot be written; nothing is attached.

        """
        sha256 = hashlib.sha256(pdf).hexdigest()
        with self._lock:
            project_id = self._project(project_id)
            number = self._files.next_id()
            now = datetime.now(UTC)
            attachment = StoredAttachment(
                id=number,
                order_id=order_id,
                project_id=project_id,
                title=title or f"invoice_{order_id}_{number}.pdf",
                attachment_type=attachment_type,
                created=created or now,
                size=len(pdf),
                sha256=sha256,
                item_ids=item_ids,
                visible_at=time.monotonic() + (self.visible_after if visible_after is None else visible_after),
                posted=posted,
                reencoded=posted and self.reencodes,
                length_told=length_told,
                shown=shown or {},
                hidden=hidden,
            )
            self._files.keep(attachment, pdf)
            order = self._make(project_id, order_id)
            order.attachments.append(attachment)
            order.modified = now
            self._attachments[number] = attachment
            self._note(order, "info", f"Attachment {number} was sent to {order.channel_name}")
            for rule in self.event_plan.draw(project_id, order_id) if posted else ():
                self._note(order, rule.status, rule.message, rule.after)
            return attachment

    def visible(self, order: StoredOrder, *, lag: float = 0.0) -> list[StoredAttachment]:
        """Return the attachments of an order that are visible now, or were `lag` seconds ago."""
        with self._lock:
            now = time.monotonic() - lag
            return [attachment for attachment in order.attachments if attachment.visible_at <= now]

    def attachment(self, attachment_id: int) -> StoredAttachment | None:
        """Return an attachment, or None if it never existed."""
        with self._lock:
            return self._attachments.get(attachment_id)

    def content(self, attachment_id: int) -> bytes | None:
        """Return an attachment's bytes as they were received, or None if the file is gone or never existed."""
        with self._lock:
            attachment = self._attachments.get(attachment_id)
            return None if attachment is None else self._files.read(attachment)

    def forget_file(self, attachment_id: int) -> None:
        """Expire an attachment's file: its order still shows it, its download is answered with 410."""
        with self._lock:
            self._files.forget(self._attachments[attachment_id])

    def uploads(self) -> list[Upload]:
        """Return every document that was uploaded or attached otherwise, oldest first."""
        with self._lock:
            return [
                Upload(a.project_id, a.order_id, a.sha256, a.id, a.created, a.size, a.item_ids, a.posted)
                for a in self._attachments.values()
            ]

    # Download URLs

    def sign(self, attachment_id: int) -> str:
        """Return path and query of a download URL that is valid for `url_lifetime` from now."""
        return self._signer.sign(attachment_id, self.url_lifetime)

    def signed(self, attachment_id: int, expires: int, signature: str) -> bool:
        """Whether a download URL was signed here and is still valid."""
        return self._signer.signed(attachment_id, expires, signature)

    # Called with the lock held

    def _project(self, project_id: int | None) -> int:
        return self.options.projects[0] if project_id is None else project_id

    def _find(self, project_id: int, order_id: int) -> StoredOrder | None:
        order = self._orders[project_id].get(order_id)
        if order is None and (
            order_id in self._ranks[project_id] or (self.options.any_order and 0 < order_id <= _LARGEST_ID)
        ):
            order = self._make(project_id, order_id)
        return order

    def _make(self, project_id: int, order_id: int) -> StoredOrder:
        orders = self._orders[project_id]
        if order_id not in orders:
            rank = self._ranks[project_id].get(order_id, -order_id % 400)
            orders[order_id] = StoredOrder.invent(order_id, project_id, self._started - _BETWEEN_ORDERS * rank)
        return orders[order_id]

    def _make_searched(self, project_id: int, term: str) -> None:
        number = int(term) if term.isascii() and term.isdigit() else order_id_of(term)
        if number is not None:
            self._find(project_id, number)

    def _add_samples(self) -> None:
        project_id = self._project(None)
        for order_id, sample in SAMPLES.items():
            order = self._make(project_id, order_id)
            order.change(sample.changes)
            if sample.attached is not None and not order.attachments:
                pdf = invoice_pdf(f"{order_id} by somebody else")
                self.attach(order_id, pdf, attachment_type=sample.attached, visible_after=0)
        self.event_plan.extend(sample.event for sample in SAMPLES.values() if sample.event is not None)

    def _note(self, order: StoredOrder, status: str, message: str, after: float = 0.0) -> None:
        self._events += 1
        order.events.append(
            Event(
                id=self._events,
                order_id=order.id,
                project_id=order.project_id,
                status=status,
                message=message,
                created=datetime.now(UTC) + timedelta(seconds=after),
                visible_at=time.monotonic() + after,
            )
        )


def _ranks(options: Options, project: int) -> dict[int, int]:
    """Return the ids of a project's orders, each with its rank from the newest (the highest id) on."""
    orders = options.orders.get(project, ()) if isinstance(options.orders, Mapping) else options.orders
    ids = range(1, orders + 1) if isinstance(orders, int) else sorted(set(orders))
    return {order_id: rank for rank, order_id in enumerate(reversed(ids))}
