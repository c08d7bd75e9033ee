"""An order read from a list that no cache can have."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api_caller import caller_of
from invoicedrop.channable.models import Order
from invoicedrop.channable.uncached_order import uncached_order
from invoicedrop.errors import Unanswered
from scripted_api import Reply, Request, as_json, scripted

_CREATED = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
_ORDER = Order(id=8, channel_id="N-8", created=_CREATED, attachments=[])
_SHOWN = {"id": 8, "channel_id": "N-8", "attachments": [{"id": 5, "attachment_type": "INVOICE"}]}


def _asked(request: Request) -> dict[str, str]:
    return dict(httpx.URL(request.path).params)


def _read(script: Callable[[Request], Reply], order: Order = _ORDER) -> tuple[Order, list[dict[str, str]]]:
    """Read the order from lists that a server shows; return it, and what the server was asked."""
    with scripted(script) as server, caller_of(server.url) as caller:
        return uncached_order(caller.project, order), [_asked(request) for request in server.requests]


def _orders(*orders: object, **headers: str) -> Reply:
    return as_json({"orders": list(orders), "total": len(orders)}, 200, *headers.items())


def test_a_list_about_the_orders_own_moment_shows_it() -> None:
    """One request, for orders from a little before its moment to a little after, brings what is attached."""
    order, (asked,) = _read(lambda _request: _orders({"id": 9}, _SHOWN))
    assert [attachment.id for attachment in order.attachments] == [5]
    begin, end = (datetime.fromisoformat(asked[name]) for name in ("start_date", "end_date"))
    assert timedelta() < _CREATED - begin <= timedelta(hours=1)
    assert timedelta() < end - _CREATED <= timedelta(hours=1)
    assert asked.keys() == {"start_date", "end_date", "limit", "offset"}


def test_no_two_lists_have_the_same_address() -> None:
    """What is asked for differs each time, in what the API documents, so that no cache has the answer."""
    with scripted(lambda _request: _orders(_SHOWN)) as server, caller_of(server.url) as caller:
        for _ in range(30):
            uncached_order(caller.project, _ORDER)
        assert len({request.path for request in server.requests}) == 30


@pytest.mark.parametrize(
    "created", [None, datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=UTC)]
)
def test_an_order_without_a_usable_moment_is_searched_for(created: datetime | None) -> None:
    """Its marketplace number finds it, beside others that mention the number."""
    order, (asked,) = _read(lambda _: _orders({"id": 9}, _SHOWN), _ORDER.model_copy(update={"created": created}))
    assert order.id == 8
    assert asked["search"] == "N-8"
    assert "start_date" in asked


def test_what_the_moment_does_not_show_the_number_does() -> None:
    """Where dates mean something else than the order's own moment, it is searched for."""
    order, asked = _read(lambda request: _orders(*([_SHOWN] if "search" in _asked(request) else [])))
    assert order.id == 8
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (_orders(), "no list of orders shows order 8"),
        (_orders({"id": None}), "orders there cannot be read"),
        (_orders(_SHOWN, age="5", via="1.1 box"), "comes from a cache .1.1 box."),
        (_orders({"id": 8}), "does not show what is attached"),
        (Reply(b"Forbidden", 403), "403"),
        (as_json({"status": "error", "message": "too slow"}, 504), "504"),
    ],
    ids=["none", "unreadable", "cache", "without attachments", "refused", "slow"],
)
def test_what_is_no_proof_is_said(reply: Reply, words: str) -> None:
    """A list that does not show the order, or not as it is now, is no answer."""
    with pytest.raises(Unanswered, match=words):
        _read(lambda _request: reply)


def test_an_order_among_very_many_is_given_up() -> None:
    """A list that never ends costs a few requests."""
    full: list[Any] = [{"id": number} for number in range(100, 200)]
    with scripted(lambda _request: _orders(*full)) as server, caller_of(server.url) as caller:
        with pytest.raises(Unanswered):
            uncached_order(caller.project, _ORDER)
        assert len(server.requests) == 10
