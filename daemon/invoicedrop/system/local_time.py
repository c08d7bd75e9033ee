"""The local time zone's day."""

import time


def midnight(moment: float) -> float:
    """Return when the local day of `moment` began; both in seconds since the epoch."""
    day = time.localtime(moment)
    # -1: the C library finds out whether summer time was in force at that midnight; it may not be the same as now.
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday, 0, 0, 0, 0, 0, -1))
