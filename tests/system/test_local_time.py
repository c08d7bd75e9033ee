import calendar
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

import pytest

from invoicedrop.system.local_time import day, iso, local, midnight, minute, utc

_YEAR_30828: Final = 910_692_730_085.0
_STRANGE: Final = (
    _YEAR_30828,
    -1.0,
    -62_135_596_801.0,
    1e308,
    float("inf"),
    float("-inf"),
    float("nan"),
    datetime.min.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC),
    datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    datetime.max.replace(tzinfo=timezone(-timedelta(hours=12))),
)
"""An mtime that Windows software leaves, an error code taken for a time, and what a calendar does not have."""


@pytest.fixture
def _central_europe(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Live in the time zone of Amsterdam and Berlin, written out (POSIX.1, TZ): no data base of zones is needed."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        yield
    time.tzset()


def _utc(*moment: int) -> float:
    return calendar.timegm((*moment, 0, 0))


@pytest.mark.usefixtures("_central_europe")
@pytest.mark.parametrize(
    ("moment", "began"),
    [
        (_utc(2026, 7, 1, 12), _utc(2026, 6, 30, 22)),
        (_utc(2026, 12, 1, 23), _utc(2026, 12, 1, 23)),
        (_utc(2026, 3, 29, 12), _utc(2026, 3, 28, 23)),
        (_utc(2026, 10, 25, 12), _utc(2026, 10, 24, 22)),
    ],
    ids=["summer", "at midnight", "the clock was put forward", "the clock was put back"],
)
def test_a_day_begins_at_local_midnight(moment: float, began: float) -> None:
    """A day begins at midnight by the clock on the wall, on days of 23 and 25 hours too."""
    assert midnight(moment) == began


@pytest.mark.usefixtures("_central_europe")
@pytest.mark.parametrize("moment", _STRANGE, ids=repr)
def test_any_moment_can_be_shown(moment: float | datetime) -> None:
    """Whatever a file system, an API or a stored time says, it is shown as a date and raises nothing."""
    for shown in (iso(moment), day(moment), minute(moment)):
        assert re.match(r"\d{4}-\d\d-\d\d", shown)
    assert utc(moment).timestamp() == local(moment).timestamp()


def test_a_plain_moment_is_shown_as_it_is() -> None:
    """A moment that a calendar has is not changed."""
    assert iso(0.0) == "1970-01-01T00:00:00+00:00"
    assert iso(datetime(2026, 11, 25, 18, 7, tzinfo=timezone(timedelta(hours=1)))) == "2026-11-25T17:07:00+00:00"
