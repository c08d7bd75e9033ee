"""The filters and the page of a list of orders."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from invoicedrop.sandbox.answers import Detail, detail
from invoicedrop.sandbox.orders import StoredOrder

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}")
_MAX_ORDERS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderQuery:
    """The filters of the list of orders (None or empty filters nothing), and which part of it is asked for."""

    search: str = ""
    statuses: frozenset[str] = frozenset()
    start_date: datetime | None = None
    end_date: datetime | None = None
    last_modified_after: datetime | None = None
    last_modified_before: datetime | None = None
    limit: int = _MAX_ORDERS
    offset: int = 0

    def matches(self, order: StoredOrder) -> bool:
        """Whether an order passes the filters."""
        return (
            (not self.search or order.mentions(self.search))
            and (not self.statuses or order.status_shipped in self.statuses)
            and (self.start_date is None or order.created >= self.start_date)
            and (self.end_date is None or order.created <= self.end_date)
            and (self.last_modified_after is None or order.modified > self.last_modified_after)
            and (self.last_modified_before is None or order.modified < self.last_modified_before)
        )


def read_query(values: Mapping[str, Sequence[str]]) -> OrderQuery | list[Detail]:
    """Return what a query string asks for, or the details of a 422. Only `status` may be given several times."""
    wrong: list[Detail] = []
    last = {name: texts[-1] for name, texts in values.items()}
    query = OrderQuery(
        search=last.get("search", "").strip(),
        statuses=frozenset(text for text in values.get("status", ()) if text),
        start_date=_moment(last, "start_date", wrong),
        end_date=_moment(last, "end_date", wrong),
        last_modified_after=_moment(last, "last_modified_after", wrong),
        last_modified_before=_moment(last, "last_modified_before", wrong),
        limit=_number(last, "limit", wrong, default=_MAX_ORDERS, minimum=1, maximum=_MAX_ORDERS),
        offset=_number(last, "offset", wrong, default=0, minimum=0),
    )
    return wrong or query


def _number(
    query: Mapping[str, str], name: str, wrong: list[Detail], *, default: int, minimum: int, maximum: int | None = None
) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not _INTEGER.fullmatch(text):
        wrong.append(detail(("query", name), "Input should be a valid integer", "int_parsing"))
        return default
    value = int(text)
    if value < minimum:
        wrong.append(
            detail(("query", name), f"Input should be greater than or equal to {minimum}", "greater_than_equal")
        )
    elif maximum is not None and value > maximum:
        wrong.append(detail(("query", name), f"Input should be less than or equal to {maximum}", "less_than_equal"))
    return value


def _moment(query: Mapping[str, str], name: str, wrong: list[Detail]) -> datetime | None:
    text = query.get(name)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        wrong.append(detail(("query", name), "Input should be a valid datetime or date", "datetime_from_date_parsing"))
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
