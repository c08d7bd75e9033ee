"""The tracker against a slow, simple model of what it promises, under every order of events."""

from dataclasses import dataclass

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from invoicedrop.inbox.identity import Identity
from invoicedrop.inbox.stability import WINDOW, StabilityTracker
from manual_clock import ManualClock

NAMES = st.sampled_from(["1.pdf", "2.pdf", "3.pdf", "4.pdf"])
SETTLE = 1.0


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now


def like(version: int) -> Identity:
    """Return what a file looks like in one of its versions."""
    return Identity(1, 1, 100, version)


@pytest.fixture
def clock() -> Clock:
    """A clock for one test."""
    return Clock()


@pytest.fixture
def tracker(clock: Clock) -> StabilityTracker:
    """A tracker on that clock."""
    return StabilityTracker(SETTLE, clock=clock)


def names(tracker: StabilityTracker, limit: int = 100) -> list[str]:
    """Take what is settled; return the names."""
    return [name for name, _, _ in tracker.take(limit)]


def test_a_file_settles_after_holding_still(tracker: StabilityTracker, clock: Clock) -> None:
    """A file is handed out once it has not changed for the settle time since it was first seen, not before."""
    tracker.observe("1.pdf", like(1))
    clock.now += 0.999
    assert names(tracker) == []
    assert tracker.next_due() == pytest.approx(1001.0)
    clock.now = 1001.0
    assert tracker.take(1) == [("1.pdf", like(1), 1000.0)]


def test_a_change_starts_the_wait_anew(tracker: StabilityTracker, clock: Clock) -> None:
    """Every change seen starts the settle time again, and what is handed out is the last version."""
    tracker.observe("1.pdf", like(1))
    for version in (2, 3, 4):
        clock.now += 0.9
        tracker.observe("1.pdf", like(version))
        assert names(tracker) == []
    clock.now += SETTLE
    ((name, identity, since),) = tracker.take(1)
    assert (name, identity) == ("1.pdf", like(4))
    assert since == pytest.approx(1002.7)


def test_what_was_put_off_takes_turns_with_what_was_not(tracker: StabilityTracker, clock: Clock) -> None:
    """Due again, files that were put off are handed out every second time, the longest due first."""
    for name in ("1.pdf", "2.pdf"):
        tracker.observe(name, like(1))
    clock.now += SETTLE
    assert names(tracker) == ["1.pdf", "2.pdf"]
    tracker.put_off("2.pdf", 1)
    tracker.put_off("1.pdf", 2)
    for name in ("3.pdf", "4.pdf", "5.pdf"):
        tracker.observe(name, like(1))
    clock.now += 10
    assert names(tracker, 1) == ["2.pdf"]
    assert names(tracker) == ["3.pdf", "1.pdf", "4.pdf", "5.pdf"]


def test_a_change_after_settling_but_before_taking_counts(tracker: StabilityTracker, clock: Clock) -> None:
    """A file that was ready and then changed is not handed out until it holds still again."""
    for name in ("1.pdf", "2.pdf"):
        tracker.observe(name, like(1))
    clock.now += SETTLE
    assert names(tracker, 1) == ["1.pdf"]
    tracker.observe("2.pdf", like(2))
    assert names(tracker) == []
    clock.now += SETTLE
    assert tracker.take(9) == [("2.pdf", like(2), 1001.0)]


def test_a_complete_file_need_not_wait(tracker: StabilityTracker) -> None:
    """A file whose writer has closed it, and whose end is complete, is handed out at once, and only once."""
    tracker.observe("1.pdf", like(1))
    tracker.complete("1.pdf")
    tracker.complete("1.pdf")
    assert names(tracker) == ["1.pdf"]
    assert names(tracker) == []


def test_a_write_starts_the_wait_anew(tracker: StabilityTracker, clock: Clock) -> None:
    """A file that somebody writes to, or closes, settles from then on, also if it looks the same; a busy one stays."""
    tracker.observe("1.pdf", like(1))
    clock.now += 0.9
    tracker.written("1.pdf")
    clock.now += 0.9
    assert names(tracker) == []
    tracker.written("1.pdf")
    clock.now += SETTLE
    assert tracker.take(1) == [("1.pdf", like(1), clock.now - SETTLE)]
    tracker.written("1.pdf")
    tracker.written("2.pdf")
    assert len(tracker) == 1


def test_a_write_takes_back_what_was_ready(tracker: StabilityTracker, clock: Clock) -> None:
    """A file that was settled, or came whole, but was not handed out yet, settles anew when somebody writes to it."""
    tracker.observe("1.pdf", like(1))
    tracker.complete("1.pdf")
    tracker.observe("2.pdf", like(1))
    clock.now += SETTLE
    assert names(tracker, 0) == []
    tracker.written("1.pdf")
    tracker.written("2.pdf")
    assert names(tracker) == []
    clock.now += SETTLE
    assert names(tracker) == ["1.pdf", "2.pdf"]


def test_a_write_does_not_shorten_a_backoff(tracker: StabilityTracker, clock: Clock) -> None:
    """A file put off stays put off for at least its delay, and for the settle time after a write."""
    tracker.observe("1.pdf", like(1))
    tracker.complete("1.pdf")
    assert names(tracker) == ["1.pdf"]
    tracker.put_off("1.pdf", 60)
    tracker.written("1.pdf")
    clock.now = 1059.5
    assert names(tracker) == []
    tracker.written("1.pdf")
    clock.now = 1060.0
    assert names(tracker) == []
    clock.now = 1060.5
    assert names(tracker) == ["1.pdf"]


def test_complete_does_not_shorten_a_backoff(tracker: StabilityTracker, clock: Clock) -> None:
    """A file put off stays put off, however often its folder reports events, unless it changes."""
    tracker.observe("1.pdf", like(1))
    tracker.complete("1.pdf")
    assert names(tracker) == ["1.pdf"]
    tracker.put_off("1.pdf", 60)
    tracker.observe("1.pdf", like(1))
    tracker.complete("1.pdf")
    assert names(tracker) == []
    clock.now = 1059.999
    assert names(tracker) == []
    clock.now = 1060.0
    assert names(tracker) == ["1.pdf"]


def test_a_change_ends_a_backoff(tracker: StabilityTracker, clock: Clock) -> None:
    """A file put off that is replaced by another is new: its old trouble is forgotten."""
    tracker.observe("1.pdf", like(1))
    clock.now += SETTLE
    assert names(tracker) == ["1.pdf"]
    tracker.put_off("1.pdf", 600)
    tracker.observe("1.pdf", like(2))
    clock.now += SETTLE
    assert names(tracker) == ["1.pdf"]
    assert tracker.room == WINDOW - 1


def test_order_of_arrival_is_kept(tracker: StabilityTracker, clock: Clock) -> None:
    """Files are handed out in the order in which they came, and one put back keeps its place."""
    for number in (3, 1, 2):
        tracker.observe(f"{number}.pdf", like(1))
    clock.now += SETTLE
    assert names(tracker, 2) == ["3.pdf", "1.pdf"]
    tracker.put_back("3.pdf")
    tracker.put_back("1.pdf")
    assert names(tracker) == ["3.pdf", "1.pdf", "2.pdf"]


def test_files_put_off_do_not_use_up_the_window(clock: Clock) -> None:
    """Thousands of files that wait for their own retry leave room for new ones."""
    tracker = StabilityTracker(0.0, clock=clock, window=2)
    for number in range(5):
        assert tracker.room > 0
        tracker.observe(f"{number}.pdf", like(1))
        assert names(tracker) == [f"{number}.pdf"]
        tracker.put_off(f"{number}.pdf", 900)
    assert tracker.room == 2
    assert tracker.nearly_empty
    clock.now += 900
    assert len(names(tracker)) == 5
    assert tracker.room == 0
    assert not tracker.nearly_empty


def test_a_scan_forgets_what_is_gone_but_not_what_is_being_worked_on(tracker: StabilityTracker, clock: Clock) -> None:
    """Names that a whole scan did not see are dropped; a busy one is its worker's until it comes back."""
    for number in (1, 2, 3):
        tracker.observe(f"{number}.pdf", like(1))
    clock.now += SETTLE
    assert names(tracker, 1) == ["1.pdf"]
    tracker.keep_only({"3.pdf"})
    assert "1.pdf" in tracker
    assert "2.pdf" not in tracker
    assert names(tracker) == ["3.pdf"]


@dataclass
class ModelFile:
    """One file in the model."""

    version: int
    since: float
    due: float
    arrival: int
    busy: bool = False
    waits: bool = False


class TrackerAgainstModel(RuleBasedStateMachine):
    """Whatever happens in whatever order, the tracker hands out what the model says, in the model's order."""

    @initialize(settle=st.sampled_from([0.0, 1.0]), window=st.integers(1, 5))
    def begin(self, settle: float, window: int) -> None:
        """Start with an empty folder."""
        self.clock = Clock()
        self.settle = settle
        self.window = window
        self.tracker = StabilityTracker(settle, clock=self.clock, window=window)
        self.model: dict[str, ModelFile] = {}
        self.arrivals = 0

    @rule(seconds=st.sampled_from([0.25, 1.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now += seconds

    @rule(name=NAMES, version=st.integers(1, 3))
    def observe(self, name: str, version: int) -> None:
        """A look sees a file, perhaps changed."""
        self.tracker.observe(name, like(version))
        file, now = self.model.get(name), self.clock.now
        if file is None:
            self.arrivals += 1
            self.model[name] = ModelFile(version, now, now + self.settle, self.arrivals)
        elif not file.busy and file.version != version:
            self.model[name] = ModelFile(version, now, now + self.settle, file.arrival)

    @rule(name=NAMES)
    def complete(self, name: str) -> None:
        """An event says that a file is whole."""
        self.tracker.complete(name)
        file = self.model.get(name)
        if file is not None and not file.busy and not file.waits:
            file.due = min(file.due, self.clock.now)

    @rule(name=NAMES)
    def written(self, name: str) -> None:
        """An event says that somebody writes to a file."""
        self.tracker.written(name)
        file, now = self.model.get(name), self.clock.now
        if file is not None and not file.busy:
            file.since, file.due = now, max(file.due, now + self.settle)

    @rule(name=NAMES)
    def forget(self, name: str) -> None:
        """A look finds that a file is gone."""
        self.tracker.forget(name)
        file = self.model.get(name)
        if file is not None and not file.busy:
            del self.model[name]

    @rule(seen=st.sets(NAMES))
    def keep_only(self, seen: set[str]) -> None:
        """A whole scan ends."""
        self.tracker.keep_only(seen)
        self.model = {name: file for name, file in self.model.items() if name in seen or file.busy}

    @rule(limit=st.integers(0, 4))
    def take(self, limit: int) -> None:
        """Files are handed out: the settled ones, oldest arrival first, each with what it was seen as."""
        due = sorted(
            (file.arrival, name) for name, file in self.model.items() if not file.busy and file.due <= self.clock.now
        )
        taken = self.tracker.take(limit)
        assert [name for name, _, _ in taken] == [name for _, name in due[:limit]]
        for name, identity, since in taken:
            file = self.model[name]
            assert (identity, since) == (like(file.version), file.since)
            file.busy = True
        for _, name in due:
            self.model[name].waits = False

    @rule(how=st.sampled_from(["release", "put_back", "put_off"]), place=st.integers(0, 3))
    def come_back(self, how: str, place: int) -> None:
        """A worker brings a file back."""
        busy = sorted(name for name, file in self.model.items() if file.busy)
        if not busy:
            return
        name = busy[place % len(busy)]
        if how == "release":
            self.tracker.release(name)
            del self.model[name]
            return
        self.model[name].busy = False
        if how == "put_back":
            self.tracker.put_back(name)
        else:
            self.tracker.put_off(name, 10.0)
            self.model[name].waits = True
            self.model[name].due = self.clock.now + 10.0

    @invariant()
    def agrees(self) -> None:
        """Tracker and model know the same files, and count the window alike."""
        if not hasattr(self, "model"):
            return
        assert len(self.tracker) == len(self.model)
        assert all(name in self.tracker for name in self.model)
        waiting = sum(file.waits for file in self.model.values())
        assert self.tracker.room == max(0, self.window - len(self.model) + waiting)

    @invariant()
    def wakes_in_time(self) -> None:
        """Whoever sleeps until `next_due` never sleeps through a file's time."""
        if not hasattr(self, "model"):
            return
        first = min((file.due for file in self.model.values() if not file.busy), default=None)
        due = self.tracker.next_due()
        if first is not None:
            assert due is not None
            assert due <= max(first, self.clock.now)


TrackerAgainstModel.TestCase.settings = hypothesis_settings(max_examples=80, stateful_step_count=30, deadline=None)
test_tracker_agrees_with_its_model = TrackerAgainstModel.TestCase


# Names that may be to blame, and inode numbers that say nothing


def test_what_may_be_to_blame_comes_back_behind_the_others() -> None:
    """After a probe that failed the next one takes another file, the first one coming last."""
    clock = ManualClock()
    tracker = StabilityTracker(0.0, clock=clock)
    for number in range(3):
        tracker.observe(f"{number}.pdf", Identity(1, number, 5, 5))
    taken = []
    for _ in range(6):
        ((name, _, _),) = tracker.take(1)
        taken.append(name)
        tracker.put_back(name, last=True)
    assert taken == ["0.pdf", "1.pdf", "2.pdf"] * 2


def test_inode_numbers_that_change_alone_are_done_without() -> None:
    """A file of which only the inode number changes, three times, is settled by size and time from then on."""
    clock = ManualClock()
    tracker = StabilityTracker(1.0, clock=clock)
    for inode in range(1, 5):
        assert not tracker.unstable_inodes
        tracker.observe("1.pdf", Identity(1, inode, 5, 5))
        clock.now += 0.5
    assert tracker.unstable_inodes
    for inode in range(5, 9):
        tracker.observe("1.pdf", Identity(1, inode, 5, 5))
        clock.now += 0.5
    assert [name for name, _, _ in tracker.take(1)] == ["1.pdf"]
    tracker.put_back("1.pdf")
    tracker.observe("1.pdf", Identity(1, 9, 6, 5))
    assert tracker.take(1) == []


def test_a_file_that_is_not_the_one_that_was_taken_settles_again() -> None:
    """What changed between being settled and being read waits anew, once seen as it is now."""
    clock = ManualClock()
    tracker = StabilityTracker(1.0, clock=clock)
    tracker.observe("1.pdf", Identity(1, 1, 5, 5))
    clock.now += 1
    assert [name for name, _, _ in tracker.take(1)] == ["1.pdf"]
    tracker.settle_again("1.pdf")
    assert tracker.take(1) == []
    tracker.observe("1.pdf", Identity(1, 1, 6, 6))
    clock.now += 1
    assert [identity for _, identity, _ in tracker.take(1)] == [Identity(1, 1, 6, 6)]
