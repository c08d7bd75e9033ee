import calendar
import time
from collections.abc import Iterator

import pytest

from invoicedrop.system.local_time import midnight


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
