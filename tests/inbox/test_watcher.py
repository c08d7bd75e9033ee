"""The watcher on real folders with real inotify; also with events taken away, when only scans are left."""

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from invoicedrop.errors import FolderUnavailable
from invoicedrop.inbox.events import Events, News
from invoicedrop.inbox.identity import Identity, identity_of
from invoicedrop.inbox.stability import StabilityTracker
from invoicedrop.inbox.watcher import Watcher, ends_like_a_pdf
from invoicedrop.system import disk
from system_calls import refuse_watches
from waiting import wait_until

WHOLE = b"%PDF-1.7\nsome\n%%EOF\n"
HALF = b"%PDF-1.7\nsome"
NEVER = 3600.0
"""Seconds until the next scan that nothing asks for."""


class Watch:
    """A watcher of a folder, what it reported, and what it has handed out."""

    def __init__(
        self,
        folder: Path,
        *,
        settle: float = NEVER,
        events: bool = True,
        window: int = 100,
        scan_interval: float = NEVER,
    ) -> None:
        self.folder = folder
        self.woken = threading.Event()
        self.events = Events(self.woken.set)
        self.left_alone: list[tuple[str, str]] = []
        self.tracker = StabilityTracker(settle, clock=time.monotonic, window=window)
        self.watcher = Watcher(
            folder,
            self.tracker,
            scan_interval=scan_interval,
            events=self.events if events else None,
            on_ignored=lambda name, why: self.left_alone.append((name, why)),
            own_folders=(folder / "processed", folder / "failed"),
        )
        self.seen: list[str] = []

    def scan(self) -> None:
        """Look at the whole folder."""
        self.watcher.scan_soon()
        self.watcher.look()

    def take(self) -> list[str]:
        """Take what is settled now; return its names."""
        return [name for name, _, _ in self.tracker.take(1000)]

    def wait_for(self, *names: str) -> None:
        """Look whenever woken until these names were handed out; without any scan of the folder."""

        def handed_out() -> bool:
            self.woken.wait(0.05)
            self.woken.clear()
            self.watcher.look()
            self.seen.extend(self.take())
            return set(names) <= set(self.seen)

        wait_until(handed_out, what=f"{names}; seen: {self.seen}", seconds=10)


Watching = Callable[..., Watch]


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Watching]:
    """Make watchers of a drop folder, which are closed afterwards."""
    (tmp_path / "drop").mkdir()
    made: list[Watch] = []

    def make(**named: float) -> Watch:
        made.append(Watch(tmp_path / "drop", **named))  # type: ignore[arg-type] # as Watch itself says
        return made[-1]

    yield make
    for watch in made:
        watch.watcher.close()


def move_in(folder: Path, name: str, content: bytes = WHOLE) -> None:
    """Put a whole file into a folder in one step."""
    beside = folder.parent / f"{name}.writing"
    beside.write_bytes(content)
    beside.rename(folder / name)


# With events: nothing waits to settle, and no scan comes


def test_files_that_were_there_before_are_found(watching: Watching) -> None:
    """The first look finds what was dropped before anybody watched, the oldest first."""
    watch = watching(settle=0)
    for place, name in enumerate(("3.pdf", "1.pdf", "2.PDF")):
        (watch.folder / name).write_bytes(WHOLE)
        os.utime(watch.folder / name, (1000 + place, 1000 + place))
    watch.watcher.look()
    assert watch.watcher.mode == "events"
    assert watch.watcher.waiting == 3
    assert watch.take() == ["3.pdf", "1.pdf", "2.PDF"]


def test_a_file_moved_in_is_ready_at_once(watching: Watching) -> None:
    """A whole file that is moved into the folder need not settle, and no scan is needed."""
    watch = watching()
    watch.scan()
    move_in(watch.folder, "1.pdf")
    watch.wait_for("1.pdf")


@pytest.mark.parametrize("stays", [True, False], ids=["both_names_stay", "one_name_stays"])
def test_a_file_linked_in_is_ready_at_once(watching: Watching, *, stays: bool) -> None:
    """A whole file that is linked into the folder need not settle, nor if its other name goes at once."""
    watch = watching()
    watch.scan()
    beside = watch.folder.parent / "1.pdf.writing"
    beside.write_bytes(WHOLE)
    # Otherwise its last write and the link may fall into one tick of the file system's clock.
    os.utime(beside, (1000, 1000))
    (watch.folder / "1.pdf").hardlink_to(beside)
    if not stays:
        beside.unlink()
    watch.wait_for("1.pdf")


def test_a_file_written_and_closed_settles_first(watching: Watching) -> None:
    """A whole file that was closed after writing is left alone for the settle time after the last event about it."""
    watch = watching(settle=0.3)
    watch.scan()
    (watch.folder / "1.pdf").write_bytes(WHOLE)
    closed = time.monotonic()
    watch.wait_for("1.pdf")
    assert time.monotonic() - closed >= 0.3


@pytest.mark.parametrize("how", ["linked_elsewhere", "times_kept"])
def test_a_file_written_here_is_not_taken_for_one_linked_in(watching: Watching, how: str) -> None:
    """A new file that is written in the folder settles first, also if it gets a second name or an older time."""
    watch = watching()
    watch.scan()
    path = watch.folder / "1.pdf"
    path.write_bytes(WHOLE)
    if how == "times_kept":
        os.utime(path, (1000, 1000))
    else:
        path.with_name("kept.bak").hardlink_to(path)
    move_in(watch.folder, "2.pdf")
    watch.wait_for("2.pdf")
    time.sleep(0.1)
    watch.watcher.look()
    assert watch.take() == []
    assert "1.pdf" in watch.tracker


@pytest.mark.parametrize("news", [News.WRITTEN, News.CREATED])
def test_an_event_of_a_write_that_comes_late_is_believed(watching: Watching, news: News) -> None:
    """A file whose creation is seen before the event of its writing is not handed out for being whole already."""
    watch = watching(events=False)
    (watch.folder / "1.pdf").write_bytes(WHOLE)
    os.utime(watch.folder / "1.pdf", (1000, 1000))
    watch.watcher.look_at("1.pdf", News.CREATED)
    assert watch.take() == []
    watch.watcher.look_at("1.pdf", news)
    time.sleep(0.1)
    assert watch.take() == ([] if news is News.WRITTEN else ["1.pdf"])


def test_a_write_into_an_open_file_starts_the_wait_anew(watching: Watching) -> None:
    """While a writer has a file open and writes now and then, it is not handed out, though it has a PDF's end."""
    watch = watching(settle=0.4)
    watch.scan()
    with (watch.folder / "1.pdf").open("wb", buffering=0) as stream:
        for _ in range(6):
            stream.seek(0)
            # The same length, so that neither size nor, on a coarse clock, time tells that it was written.
            stream.write(WHOLE)
            time.sleep(0.2)
            watch.watcher.look()
            assert watch.take() == []
    watch.wait_for("1.pdf")


def test_a_file_renamed_in_place_is_ready_at_once(watching: Watching) -> None:
    """A file that gets its right name when it is complete, as browsers do, is found under that name only."""
    watch = watching()
    watch.scan()
    (watch.folder / "1.pdf.part").write_bytes(WHOLE)
    (watch.folder / "1.pdf.part").rename(watch.folder / "1.pdf")
    watch.wait_for("1.pdf")
    assert watch.seen == ["1.pdf"]


def test_a_name_in_any_bytes_is_found(watching: Watching) -> None:
    """A name that is no valid text is a name all the same."""
    watch = watching()
    watch.scan()
    name = os.fsdecode(b"1_\xff.pdf")
    move_in(watch.folder, name)
    watch.wait_for(name)


def test_a_file_closed_while_incomplete_settles_first(watching: Watching) -> None:
    """A file that is closed without its end (it may be continued) is not handed out at once, nor is one moved in so."""
    watch = watching(settle=0.5)
    watch.scan()
    (watch.folder / "1.pdf").write_bytes(HALF)
    move_in(watch.folder, "3.pdf", HALF)
    move_in(watch.folder, "2.pdf")
    watch.wait_for("2.pdf")
    watch.wait_for("1.pdf", "3.pdf")
    assert watch.seen[0] == "2.pdf"


def test_a_file_rewritten_is_handed_out_as_it_is_now(watching: Watching) -> None:
    """What is handed out is the identity of the last version seen, not that of the first."""
    watch = watching(settle=0.1)
    watch.scan()
    (watch.folder / "1.pdf").write_bytes(HALF)
    (watch.folder / "1.pdf").write_bytes(WHOLE)
    identities: list[Identity] = []

    def handed_out() -> bool:
        watch.watcher.look()
        identities.extend(identity for _, identity, _ in watch.tracker.take(9))
        return bool(identities)

    wait_until(handed_out)
    assert identities == [identity_of((watch.folder / "1.pdf").lstat())]


def test_a_file_that_vanished_is_forgotten(watching: Watching) -> None:
    """A file that somebody takes away before it settles is not handed out."""
    watch = watching(settle=0)
    (watch.folder / "1.pdf").write_bytes(WHOLE)
    watch.scan()
    assert "1.pdf" in watch.tracker
    (watch.folder / "1.pdf").unlink()
    watch.watcher.look_at("1.pdf")
    assert "1.pdf" not in watch.tracker
    (watch.folder / "2.pdf").write_bytes(WHOLE)
    watch.scan()
    (watch.folder / "2.pdf").unlink()
    watch.scan()
    assert watch.take() == []
    assert watch.watcher.waiting == 0


def test_events_that_are_lost_bring_a_scan(watching: Watching) -> None:
    """When the kernel says that its queue overflowed, the whole folder is looked at."""
    watch = watching(settle=0)
    watch.scan()
    watch.events.close()
    (watch.folder / "1.pdf").write_bytes(WHOLE)
    watch.watcher.look()
    assert watch.take() == []
    watch.events.on_queue_overflow()
    assert watch.woken.is_set()
    watch.watcher.look()
    assert watch.take() == ["1.pdf"]
    assert watch.watcher.mode == "events"


def test_without_events_scans_find_everything(watching: Watching) -> None:
    """Where no events come (a network share), scans alone find, settle and forget files."""
    watch = watching(settle=0.05, events=False)
    watch.scan()
    assert watch.watcher.mode == "scans"
    (watch.folder / "1.pdf").write_bytes(WHOLE)
    (watch.folder / "2.pdf").write_bytes(WHOLE)
    watch.scan()
    assert watch.take() == []
    (watch.folder / "2.pdf").unlink()
    watch.scan()
    wait_until(lambda: watch.take() == ["1.pdf"], seconds=5)


def test_events_that_are_refused_leave_scans(watching: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel gives no more watches, scans go on, and events are asked for again later."""
    watch = watching(settle=0)
    with monkeypatch.context() as limit:
        refuse_watches(limit)
        (watch.folder / "1.pdf").write_bytes(WHOLE)
        watch.scan()
        assert watch.take() == ["1.pdf"]
        assert watch.watcher.mode == "scans"
    watch.scan()
    assert watch.watcher.mode == "events"


def test_a_scan_comes_by_itself(watching: Watching) -> None:
    """After the interval the whole folder is looked at without anybody asking."""
    watch = watching(settle=0, events=False, scan_interval=0.05)
    watch.scan()
    (watch.folder / "1.pdf").write_bytes(WHOLE)

    def found() -> bool:
        watch.watcher.look()
        return watch.take() == ["1.pdf"]

    wait_until(found, seconds=5)
    assert watch.watcher.next_scan <= time.monotonic() + 0.05


# The folder itself


def test_a_missing_folder_is_named_and_found_again(watching: Watching) -> None:
    """A drop folder that is not there is unavailable, by its name; when it is back, files are found as before."""
    watch = watching()
    watch.scan()
    shutil.rmtree(watch.folder)
    with pytest.raises(FolderUnavailable, match=str(watch.folder)):
        watch.scan()
    with pytest.raises(FolderUnavailable):
        watch.scan()
    watch.folder.mkdir()
    (watch.folder / "1.pdf").write_bytes(WHOLE)
    watch.scan()
    assert "1.pdf" in watch.tracker
    assert watch.watcher.mode == "events"
    move_in(watch.folder, "2.pdf")
    watch.wait_for("2.pdf")


@pytest.mark.parametrize("how", ["renamed", "deleted"])
def test_a_replaced_folder_is_noticed_at_once(watching: Watching, how: str) -> None:
    """Another folder under the same name is watched from the moment the old one goes, not from the next scan."""
    watch = watching()
    watch.scan()
    (watch.folder / "old.pdf").write_bytes(HALF)
    watch.scan()
    if how == "renamed":
        watch.folder.rename(watch.folder.with_name("away"))
    else:
        shutil.rmtree(watch.folder)
    watch.folder.mkdir()
    (watch.folder / "1.pdf").write_bytes(HALF)

    def noticed() -> bool:
        watch.watcher.look()
        return "1.pdf" in watch.tracker and "old.pdf" not in watch.tracker

    wait_until(noticed, seconds=5, what="the new folder")
    move_in(watch.folder, "2.pdf")
    watch.wait_for("2.pdf")


def test_a_folder_under_a_link_may_change(watching: Watching) -> None:
    """A drop folder that is a link is followed to where it leads now, also when it leads elsewhere later."""
    watch = watching()
    one, two = watch.folder.with_name("one"), watch.folder.with_name("two")
    watch.folder.rmdir()
    one.mkdir()
    two.mkdir()
    watch.folder.symlink_to(one)
    watch.scan()
    watch.folder.unlink()
    watch.folder.symlink_to(two)
    watch.scan()
    move_in(two, "2.pdf")
    watch.wait_for("2.pdf")


def test_a_file_in_place_of_the_folder_is_unavailable(watching: Watching) -> None:
    """What is no folder cannot be watched: the folder is unavailable."""
    watch = watching()
    watch.folder.rmdir()
    watch.folder.write_bytes(b"")
    with pytest.raises(FolderUnavailable):
        watch.scan()


# What is left alone


def make_symlink(path: Path) -> None:
    """Link to a good invoice elsewhere."""
    (path.parent.parent / "target.pdf").write_bytes(WHOLE)
    path.symlink_to(path.parent.parent / "target.pdf")


def make_socket(path: Path) -> None:
    """Bind a socket there."""
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (make_symlink, "symbolic link"),
        (lambda path: path.symlink_to("nowhere"), "symbolic link"),
        (os.mkfifo, "FIFO"),
        (make_socket, "socket"),
        (lambda path: path.mkdir(), "folder"),
    ],
    ids=["symlink", "dangling", "fifo", "socket", "folder"],
)
def test_what_is_no_file_is_left_alone_with_one_line(
    watching: Watching, make: Callable[[Path], None], word: str
) -> None:
    """A link, FIFO, socket or folder named like an invoice is reported once, however often seen, and never taken."""
    watch = watching(settle=0)
    watch.scan()
    make(watch.folder / "1.pdf")
    move_in(watch.folder, "2.pdf")
    watch.wait_for("2.pdf")
    for _ in range(3):
        watch.scan()
        watch.watcher.look_at("1.pdf", News.MOVED_IN)
    assert watch.take() == []
    assert [name for name, _ in watch.left_alone] == ["1.pdf"]
    assert word in watch.left_alone[0][1]
    assert os.path.lexists(watch.folder / "1.pdf")
    assert watch.watcher.waiting == 1


def test_what_comes_again_is_reported_again(watching: Watching) -> None:
    """A file that is left alone, goes, and comes back later is reported once for each time."""
    watch = watching()
    for _ in range(2):
        (watch.folder / "notes.txt").write_text("")
        watch.scan()
        watch.scan()
        (watch.folder / "notes.txt").unlink()
        watch.scan()
    assert [name for name, _ in watch.left_alone] == ["notes.txt", "notes.txt"]


def test_names_of_others_are_left_alone_and_our_own_are_not_reported(watching: Watching) -> None:
    """Hidden, temporary and other files are reported once; our own folders and unfinished files are not."""
    watch = watching(settle=0)
    for name in (".hidden.pdf", "~$1.pdf", "1.pdf.part", "notes.txt", disk.unfinished_name()):
        (watch.folder / name).write_bytes(WHOLE)
    for name in ("processed", "failed", "other"):
        (watch.folder / name).mkdir()
    watch.scan()
    assert watch.take() == []
    assert {name for name, _ in watch.left_alone} == {".hidden.pdf", "~$1.pdf", "1.pdf.part", "notes.txt", "other"}


# A longer backlog than is tracked


@pytest.mark.parametrize("events", [True, False])
def test_a_backlog_longer_than_the_window_goes_through_oldest_first(watching: Watching, *, events: bool) -> None:
    """Of a long backlog only a window is in memory; all of it is handed out, each file once, in order of its age."""
    watch = watching(settle=0, events=events, window=5)
    expected = [f"{number}.pdf" for number in range(40)]
    for age, name in enumerate(expected):
        (watch.folder / name).write_bytes(WHOLE)
        os.utime(watch.folder / name, (1000 + age, 1000 + age))
    watch.scan()
    assert watch.watcher.longer_backlog
    assert watch.watcher.waiting == 40
    handed_out: list[str] = []
    while len(handed_out) < 40:
        assert len(watch.tracker) <= 5
        taken = watch.take()
        assert taken, f"stuck after {handed_out}"
        for name in taken:
            (watch.folder / name).unlink()
            watch.tracker.release(name)
        handed_out.extend(taken)
        watch.watcher.look()
    assert handed_out == expected
    watch.watcher.look()
    assert not watch.watcher.longer_backlog


def test_a_backlog_of_exactly_the_window_is_no_longer_one(watching: Watching) -> None:
    """A folder that just fits is not scanned again and again."""
    watch = watching(window=3)
    for number in range(3):
        (watch.folder / f"{number}.pdf").write_bytes(WHOLE)
    watch.scan()
    assert not watch.watcher.longer_backlog
    assert len(watch.tracker) == 3


def test_files_put_off_do_not_stop_new_ones(watching: Watching) -> None:
    """With a whole window of files that wait for their retry, a new file is found by its event."""
    watch = watching(settle=0, window=3)
    for number in range(3):
        (watch.folder / f"{number}.pdf").write_bytes(WHOLE)
    watch.scan()
    for name in watch.take():
        watch.tracker.put_off(name, NEVER)
    move_in(watch.folder, "new.pdf")
    watch.wait_for("new.pdf")


# The quick look


@pytest.mark.parametrize(
    ("content", "whole"),
    [
        (WHOLE, True),
        (b"junk before\n" + WHOLE + b"junk after", True),
        (WHOLE + b"\0" * 1000, True),
        (WHOLE + b"\0" * 2000, False),
        (HALF, False),
        (b"%%EOF", False),
        (b"<html>%%EOF", False),
        (b"", False),
    ],
    ids=["whole", "junk_around", "padded", "padded_too_much", "half", "no_head", "html", "empty"],
)
def test_a_whole_pdf_is_known_by_its_ends(tmp_path: Path, content: bytes, *, whole: bool) -> None:
    """A file that begins and ends as a PDF does counts as whole; that decides only how soon it is read."""
    path = tmp_path / "1.pdf"
    path.write_bytes(content)
    assert ends_like_a_pdf(path, identity_of(path.lstat())) is whole


def test_another_file_than_was_seen_is_not_whole(tmp_path: Path) -> None:
    """A file that was exchanged since it was seen, or is gone, is not taken for the one that was."""
    path = tmp_path / "1.pdf"
    path.write_bytes(WHOLE)
    identity = identity_of(path.lstat())
    path.write_bytes(WHOLE + b" ")
    assert not ends_like_a_pdf(path, identity)
    path.unlink()
    assert not ends_like_a_pdf(path, identity)
