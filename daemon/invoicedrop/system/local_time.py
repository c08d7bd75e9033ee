"""Moments as people and programs read them, whoever wrote them down, and the local time zone's day.

A file's time, an order's date or a stored time may be anything: the year 30828 (a broken Windows date), year 1, year
9999, before 1970. `datetime` raises on most of these; what is shown here is the nearest moment that has a date.
"""

import math
import time
from datetime import UTC, datetime
from typing import Final

# A day inside what `datetime` can hold, so that every time zone can show it.
_EARLIEST: Final = datetime(1, 1, 2, tzinfo=UTC).timestamp()
_LATEST: Final = datetime(9999, 12, 30, tzinfo=UTC).timestamp()

DAY: Final = 86_400.0
"""A day, in seconds."""

Moment = float | datetime
"""Seconds since the epoch, or a datetime with a time zone."""


def utc(moment: Moment) -> datetime:
    """Return the moment in UTC, clamped to the years 1 to 9999. Never raises."""
    seconds = moment.timestamp() if isinstance(moment, datetime) else moment
    if math.isnan(seconds):
        seconds = 0.0
    return datetime.fromtimestamp(min(max(seconds, _EARLIEST), _LATEST), UTC)


def local(moment: Moment) -> datetime:
    """Return the moment in the local time zone, clamped to the years 1 to 9999. Never raises."""
    return utc(moment).astimezone()


def iso(moment: Moment) -> str:
    """Return the moment for programs: UTC, ISO 8601, whole seconds."""
    return utc(moment).isoformat(timespec="seconds")


def day(moment: Moment) -> str:
    """Return the moment's local day, as 2026-11-25."""
    return local(moment).date().isoformat()


def minute(moment: Moment) -> str:
    """Return the moment's local day and time, as 2026-11-25 18:07."""
    return local(moment).replace(tzinfo=None).isoformat(" ", "minutes")


def midnight(moment: float) -> float:
    """Return when the local day of `moment` began; both in seconds since the epoch."""
    day = time.localtime(moment)
    # -1: the C library finds out whether summer time was in force at that midnight; it may not be the same as now.
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday, 0, 0, 0, 0, 0, -1))
