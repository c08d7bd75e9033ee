"""Events of a folder by real inotify; and what is used of watchdog's reader, which is an inner part of it."""

import dataclasses
import inspect
import threading
from importlib.metadata import version
from pathlib import Path

import pytest
from watchdog.observers.inotify_c import (
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)

from invoicedrop.inbox.events import Events, News
from system_calls import refuse_watches
from waiting import wait_until

NEWS = "watchdog's inner reader has changed: see that inbox/events still fits, then follow it here"


def descriptors() -> int:
    """Return how many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def parameters(function: object) -> list[str]:
    """Return the names of a function's parameters."""
    assert callable(function)
    return list(inspect.signature(function).parameters)


def test_watchdogs_reader_is_the_one_that_is_used() -> None:
    """The version, the calls, the callbacks and the fields of an event are those that `Events` relies on."""
    assert version("watchdog").startswith("7.1."), NEWS
    # A thread that is started, stopped and joined from outside, and closes its descriptors itself.
    assert issubclass(InotifyFD, threading.Thread), NEWS
    assert parameters(InotifyFD) == [], NEWS
    assert parameters(InotifyFD.stop) == ["self"], NEWS
    assert parameters(InotifyFD.add_callback) == ["self", "path", "mask", "callback", "id_"], NEWS
    # It calls back these three, and nothing else is asked of a callback.
    protocol = {name: parameters(value) for name, value in vars(WatchCallback).items() if name.startswith("on_")}
    assert protocol == {
        "on_event": ["self", "event"],
        "on_watch_deleted": ["self", "wd"],
        "on_queue_overflow": ["self"],
    }, NEWS
    assert {name: parameters(getattr(Events, name)) for name in protocol} == protocol, NEWS
    assert [name for name in vars(WatchCallback) if not name.startswith("_")] == list(protocol), NEWS
    # An event: its fields, and the questions that are asked of it (numbers of inotify(7)).
    assert [field.name for field in dataclasses.fields(InotifyEvent)] == ["wd", "mask", "cookie", "name"], NEWS
    for name, mask in {
        "is_close_write": InotifyConstants.IN_CLOSE_WRITE,
        "is_moved_to": InotifyConstants.IN_MOVED_TO,
        "is_modify": InotifyConstants.IN_MODIFY,
        "is_create": InotifyConstants.IN_CREATE,
        "is_delete_self": InotifyConstants.IN_DELETE_SELF,
        "is_move_self": InotifyConstants.IN_MOVE_SELF,
    }.items():
        assert getattr(InotifyEvent(WatchDescriptor(1), mask, 0, b""), name), NEWS
        assert not getattr(InotifyEvent(WatchDescriptor(1), InotifyConstants.IN_OPEN, 0, b""), name), NEWS


def test_events_name_what_happened(tmp_path: Path) -> None:
    """A name comes with the last event about it: moved in, linked in, created, written or closed."""
    woken = threading.Event()
    events = Events(woken.set)
    (tmp_path / "drop").mkdir()
    assert events.watch(tmp_path / "drop") is None
    assert events.at_work
    names: dict[str, News] = {}

    def came() -> bool:
        taken, lost = events.take()
        assert not lost
        names.update(taken)
        return set(names) == {"moved.pdf", "linked.pdf", "open.pdf", "closed.pdf"}

    with (tmp_path / "drop" / "open.pdf").open("wb") as stream:
        (tmp_path / "drop" / "closed.pdf").write_bytes(b"%PDF")
        (tmp_path / "moved.pdf").write_bytes(b"%PDF")
        (tmp_path / "drop" / "linked.pdf").hardlink_to(tmp_path / "moved.pdf")
        (tmp_path / "moved.pdf").rename(tmp_path / "drop" / "moved.pdf")
        wait_until(came)
        assert woken.is_set()
        wait_until(lambda: came() and names["closed.pdf"] is News.WRITTEN)
        assert names == {
            "moved.pdf": News.MOVED_IN,
            "linked.pdf": News.CREATED,
            "open.pdf": News.CREATED,
            "closed.pdf": News.WRITTEN,
        }
        woken.clear()
        stream.write(b"%PDF")
        stream.flush()
        # A write alone wakes nobody: a file that is copied in has thousands of them.
        wait_until(lambda: events.take() == ({"open.pdf": News.WRITTEN}, False))
        assert not woken.is_set()
    wait_until(lambda: events.take() == ({"open.pdf": News.WRITTEN}, False))
    assert woken.is_set()
    events.close()
    assert not events.at_work


def test_a_folder_that_goes_ends_its_events(tmp_path: Path) -> None:
    """A watched folder that is deleted is not watched any more, and a scan is asked for."""
    events = Events(lambda: None)
    (tmp_path / "drop").mkdir()
    assert events.watch(tmp_path / "drop") is None
    (tmp_path / "drop").rmdir()
    wait_until(lambda: events.take()[1])
    assert not events.at_work
    events.close()


def test_watching_again_leaves_nothing_open(tmp_path: Path) -> None:
    """Watching another folder, and closing, give back every descriptor and thread."""
    before, threads = descriptors(), threading.active_count()
    events = Events(lambda: None)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        assert events.watch(tmp_path / name) is None
    events.close()
    events.close()
    assert descriptors() == before
    assert threading.active_count() == threads


def test_a_limit_of_the_kernel_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel gives no more watches, it is said why, and nothing is left open."""
    before = descriptors()
    refuse_watches(monkeypatch)
    events = Events(lambda: None)
    assert events.watch(tmp_path) == "inotify watch limit reached"
    assert not events.at_work
    assert descriptors() == before


def test_more_events_than_are_remembered_bring_a_scan() -> None:
    """A flood of names is not remembered one by one: a scan is quicker."""
    events = Events(lambda: None, max_names=10)
    for number in range(11):
        events.on_event(InotifyEvent(WatchDescriptor(1), Mask(0x8), 0, b"%d.pdf" % number))
    names, lost = events.take()
    assert len(names) == 10
    assert lost
    assert events.take() == ({}, False)
