import pytest

from invoicedrop.pipeline.ages import age

_NOW = 1_700_000_000.0
_YEARS = 10 * 365 * 86_400.0


@pytest.mark.parametrize(
    ("since", "now", "watched", "seconds"),
    [
        (_NOW + 10, _NOW + 70, 65.0, 60.0),
        (_NOW - 3600, _NOW + 60, 60.0, 3660.0),
        (_NOW + 10, _NOW + 70 + _YEARS, 65.0, 65.0),
        (_NOW - 3600, _NOW + 60 + _YEARS, 60.0, 3660.0),
        (_NOW + 60 + _YEARS, _NOW + 90 + _YEARS, 95.0, 30.0),
        (_NOW + 10, _NOW + 70 - _YEARS, 65.0, 65.0),
        (_NOW + _YEARS, _NOW + 60, 50.0, 50.0),
    ],
    ids=[
        "of this life",
        "of an earlier life",
        "the clock jumped since",
        "of an earlier life, and the clock jumped since",
        "written after the jump",
        "the clock was set back since",
        "written by a clock that was ahead",
    ],
)
def test_an_age_is_what_was_watched_whatever_the_clock_says(
    since: float, now: float, watched: float, seconds: float
) -> None:
    """An age grows by the monotonic clock while the process lives, and by the wall clock only before that."""
    assert age(since, now=now, started=_NOW, watched=watched) == seconds
