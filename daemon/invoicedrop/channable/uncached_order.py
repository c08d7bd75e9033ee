"""An order as the API shows it now, whatever a cache in between has kept of it.

By RFC 9111, 3.5, a cache keeps nothing that was asked for with a token. Some are told to all the same (nginx's
`proxy_cache`, a VCL that hashes each GET), and then an order looks as it did when it was first read. They ask nobody,
whatever a request says in Cache-Control; and a parameter of our own, to make each address a new one, the API might
refuse. But its lists of orders take moments: a list between two moments that nobody has asked for before is in no
cache. Such a list shows the order with its attachments, as the order's own address does.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from invoicedrop.channable.models import Order
from invoicedrop.channable.project import Project
from invoicedrop.errors import Unanswered

_RANDOM: Final = random.SystemRandom()
_MARGIN: Final = 3600
"""Seconds: the order's own moment lies between two that are up to so far away from it."""
_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Before any order. Channable is younger."""
_YEARS: Final = 10 * 365 * 24 * 3600
_FIRST_YEAR, _LAST_YEAR = 1971, 9998
"""Outside of these there may be no moment a margin away."""
_MOST_PAGES: Final = 5


def uncached_order(project: Project, order: Order) -> Order:
    """Return this order, read from a list that no cache can have; `order` is what its own address said.

    Raises:
        Unanswered: no such list shows it, or can be read.

    """
    unreadable = 0
    for filters in _lists(order):
        for count, page in enumerate(project.pages(optional=True, **filters), 1):
            for listed in page.orders:
                if listed.id == order.id:
                    _require_proof(listed, order, page.kept_by)
                    return listed
            unreadable += page.unreadable
            if count == _MOST_PAGES:
                break
    if unreadable:
        raise Unanswered(f"no list of orders shows order {order.id}, but {unreadable} orders there cannot be read")
    raise Unanswered(f"no list of orders shows order {order.id}")


def _require_proof(listed: Order, order: Order, kept_by: str | None) -> None:
    if kept_by is not None:
        raise Unanswered(f"the list of orders comes from a cache ({kept_by})")
    if "attachments" in order.model_fields_set - listed.model_fields_set:
        raise Unanswered("the list of orders does not show what is attached to them")


def _lists(order: Order) -> Iterator[dict[str, Any]]:
    """Yield the filters of lists that should show the order: by its moment, then by its numbers."""
    if order.created is not None and _FIRST_YEAR <= order.created.year <= _LAST_YEAR:
        yield {"since": order.created - _some_seconds(_MARGIN), "until": order.created + _some_seconds(_MARGIN)}
    for number in sorted(order.numbers):
        yield {"search": number, "since": _LONG_AGO + _some_seconds(_YEARS)}


def _some_seconds(most: int) -> timedelta:
    # Whole ones: the API documents no fractions. At least a minute, as moments may be rounded.
    return timedelta(seconds=_RANDOM.randint(60, most))
