"""Moments and lengths of time as local people write them. Moments are in seconds since the epoch."""

from typing import Final

from invoicedrop.languages.catalogue import Catalogue
from invoicedrop.system.local_time import local

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400


def day(moment: float, words: Catalogue) -> str:
    """Return the local day: 26 Nov 2026, 26.11.2026, 26-11-2026, 26/11/2026."""
    # TRANSLATORS: strftime's; the process has no other locale than C, so that %b is English.
    return local(moment).strftime(words("%d %b %Y"))


def clock(moment: float) -> str:
    """Return the local time of day: 14:32."""
    return f"{local(moment):%H:%M}"


def moment(at: float, words: Catalogue) -> str:
    """Return the local day and time of day."""
    return f"{day(at, words)} {clock(at)}"


def when(at: float, words: Catalogue, *, now: float) -> str:
    """Return the local time, with the day if it is not that of `now`."""
    if local(at).date() == local(now).date():
        return clock(at)
    return moment(at, words)


def span(seconds: float, words: Catalogue) -> str:
    """Return a length of time as people say it, rounded up: 40 seconds, 12 minutes, 3 h 20 min, 2 days."""
    whole = int(-(-seconds // 1))
    if whole < _MINUTE:
        return words.counted("{count} second", "{count} seconds", whole)
    minutes = -(-whole // _MINUTE)
    if minutes <= 2 * _MINUTE:
        return words.counted("{count} minute", "{count} minutes", minutes)
    if whole <= 2 * _DAY:
        hours, rest = divmod(minutes, 60)
        return words("{hours} h {minutes} min", hours=hours, minutes=rest) if rest else words("{hours} h", hours=hours)
    return words.counted("{count} day", "{count} days", -(-whole // _DAY))
