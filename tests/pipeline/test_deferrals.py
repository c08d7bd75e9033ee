"""What is remembered of deferred files: growing delays, and a line in the log only for what is new."""

import json
from collections.abc import Iterator
from io import StringIO

import pytest

from invoicedrop import logs
from invoicedrop.errors import Deferred, FileUnavailable
from invoicedrop.pipeline.deferrals import Deferrals
from invoicedrop.timing import Timing
from manual_clock import ManualClock


@pytest.fixture
def log() -> Iterator[StringIO]:
    """The log, as JSON."""
    stream = StringIO()
    logs.configure("json", "info", stream)
    yield stream
    logs.configure("auto", "info")


def _lines(log: StringIO) -> list[str]:
    return [str(json.loads(line)["detail"]) for line in log.getvalue().splitlines()]


def _defer(deferrals: Deferrals, name: str, trouble: Deferred) -> float:
    with pytest.raises(type(trouble)) as caught, deferrals.noted(name, logs.get_logger()):
        raise trouble
    return float(caught.value.delay)


@pytest.mark.usefixtures("log")
def test_each_file_has_its_own_doubling_delay() -> None:
    """A file that fails again waits twice as long, up to the longest; another one, or one that has passed, does not."""
    deferrals = Deferrals(Timing(longest_retry=30.0))
    trouble = FileUnavailable(5.0, "open elsewhere")
    assert [_defer(deferrals, "1.pdf", trouble) for _ in range(5)] == [5.0, 10.0, 20.0, 30.0, 30.0]
    assert _defer(deferrals, "2.pdf", trouble) == 5.0
    deferrals.forget("1.pdf")
    assert _defer(deferrals, "1.pdf", trouble) == 5.0


@pytest.mark.usefixtures("log")
def test_other_deferrals_keep_their_delay() -> None:
    """A delay that somebody else has worked out stays as it is."""
    deferrals = Deferrals(Timing())
    assert [_defer(deferrals, "1.pdf", Deferred(7.0, "the order may still come")) for _ in range(3)] == [7.0] * 3


def test_a_deferral_is_logged_when_its_words_change_and_else_hourly(log: StringIO) -> None:
    """The same words are logged once an hour, other ones at once, for each file by itself."""
    clock = ManualClock()
    deferrals = Deferrals(Timing(), clock=clock)
    for _ in range(10):
        _defer(deferrals, "1.pdf", FileUnavailable(5.0, "busy"))
        clock.now += 60
    assert _lines(log) == ["busy"]
    _defer(deferrals, "1.pdf", FileUnavailable(5.0, "damaged"))
    _defer(deferrals, "2.pdf", FileUnavailable(5.0, "damaged"))
    assert _lines(log) == ["busy", "damaged", "damaged"]
    clock.now += 3600
    _defer(deferrals, "1.pdf", FileUnavailable(5.0, "damaged"))
    assert _lines(log) == ["busy", "damaged", "damaged", "damaged"]


@pytest.mark.usefixtures("log")
def test_what_is_remembered_has_an_end() -> None:
    """However many names fail, only so many are remembered."""
    deferrals = Deferrals(Timing())
    for number in range(10_001):
        deferrals.is_news(f"{number}.pdf", "busy")
    assert not deferrals.is_news("10000.pdf", "busy")
    assert deferrals.is_news("0.pdf", "busy")
