import errno
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from invoicedrop.errors import Changed, Deferred, FileUnavailable, FolderUnavailable
from invoicedrop.inbox.filed_names import reason_path
from invoicedrop.inbox.filing import Filing
from invoicedrop.inbox.identity import Identity, digest, identity_of
from invoicedrop.reasons import Reason, reason_text
from invoicedrop.system import disk
from invoicedrop.system.mover import DEFAULT_MOVER, Mover, renameat2
from system_calls import refusing
from ways import WAYS, first_way, unheld

OURS = b"%PDF-1.7 the invoice that was read %%EOF"
OTHER = b"%PDF-1.7 another invoice %%EOF"
OUR_SHA = hashlib.sha256(OURS).hexdigest()


def identity(path: Path) -> Identity:
    """Return what tells this state of the file from another."""
    return identity_of(path.lstat())


def contents(*folders: Path) -> list[bytes]:
    """Return the contents of all PDFs in these folders, sorted."""
    return sorted(path.read_bytes() for folder in folders for path in folder.iterdir() if path.suffix.lower() == ".pdf")


def leftovers(*folders: Path) -> list[str]:
    """Return the names of unfinished files of ours."""
    return [path.name for folder in folders for path in folder.glob(f"{disk.TEMPORARY}*")]


class Folders:
    """The three folders of an inbox, and their Filing, which uses `mover`."""

    def __init__(self, home: Path, mover: Mover = DEFAULT_MOVER) -> None:
        self.drop = home / "drop"
        self.drop.mkdir()
        self.processed_dir = self.drop / "processed"
        self.failed_dir = self.drop / "failed"
        self.all = (self.drop, self.processed_dir, self.failed_dir)
        self.use(mover)
        self.filing.prepare()

    def use(self, mover: Mover, clock: Callable[[], float] = time.time) -> None:
        """File with this mover, by this clock, from now on."""
        self.filing = Filing(self.drop, self.processed_dir, self.failed_dir, mover=mover, clock=clock)

    def put(self, name: str = "8355.pdf", content: bytes = OURS) -> Identity:
        """Drop a file."""
        (self.drop / name).write_bytes(content)
        return identity(self.drop / name)

    def exchange(self, name: str = "8355.pdf", content: bytes = OTHER) -> None:
        """Put another file in the place of a dropped one, as an export that replaces its file does."""
        other = self.drop.parent / "other"
        other.write_bytes(content)
        other.rename(self.drop / name)

    def processed(self, name: str = "8355.pdf", *, resumed: bool = False) -> Path:
        """File a dropped file as good, as it is now."""
        return self.filing.processed(name, identity(self.drop / name), OUR_SHA, resumed=resumed)

    def failed(self, name: str = "8355.pdf", *, resumed: bool = False) -> Path:
        """File a dropped file as bad, as it is now."""
        return self.filing.failed(
            name, identity(self.drop / name), OUR_SHA, Reason.DAMAGED, "no root object", resumed=resumed
        )


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way of moving a file, alone."""
    if request.param == "placeholder":
        monkeypatch.setattr(os, "link", refusing(errno.EOPNOTSUPP))
    return str(request.param)


@pytest.fixture
def folders(tmp_path: Path, request: pytest.FixtureRequest) -> Folders:
    """The folders of an inbox; in a test with the fixture `way`, where files can be moved in this way only."""
    if "way" not in request.fixturenames:
        return Folders(tmp_path)
    return Folders(tmp_path, Mover(first_way(request.getfixturevalue("way"))))


class RacedMover(Mover):
    """Calls `race` right before each move that is asked for."""

    def __init__(self, rename: Callable[[Path, Path], None], race: Callable[[Path, Path], object]) -> None:
        super().__init__(rename)
        self._race = race

    def move(self, source: Path, target: Path) -> None:
        """Move a file, too late."""
        self._race(unheld(source), unheld(target))
        super().move(source, target)


@pytest.mark.usefixtures("way")
def test_a_good_invoice_moves_unaltered(folders: Folders) -> None:
    """Each way of moving leaves the same bytes and times, in processed and nowhere else."""
    folders.put()
    os.utime(folders.drop / "8355.pdf", ns=(10**18, 10**18))
    filed = folders.processed()
    assert filed == folders.processed_dir / "8355.pdf"
    assert filed.read_bytes() == OURS
    assert filed.stat().st_mtime_ns == 10**18
    assert contents(*folders.all) == [OURS]
    assert leftovers(*folders.all) == []


@pytest.mark.usefixtures("way")
def test_nothing_is_ever_overwritten(folders: Folders) -> None:
    """Each way of moving leaves files of the same name alone and takes a name with the time, or with a number."""
    filed = []
    for _ in range(4):
        folders.put()
        filed.append(folders.processed())
    for path in filed:
        assert path.read_bytes() == OURS
    assert len(set(filed)) == 4
    assert all(re.fullmatch(r"8355(_\d{8}T\d{6}Z(-\d+)?)?\.pdf", path.name) for path in filed)
    assert contents(*folders.all) == [OURS] * 4


def test_a_name_taken_at_the_last_moment_is_not_overwritten(folders: Folders, way: str) -> None:
    """A file that appears in failed just before ours moves there keeps its name, its bytes, and no reason."""
    folders.put()

    def race(_source: Path, target: Path) -> None:
        if target == folders.failed_dir / "8355.pdf" and not target.exists():
            target.write_bytes(OTHER)

    folders.use(RacedMover(first_way(way), race))
    filed = folders.failed()
    assert filed.name != "8355.pdf"
    assert filed.read_bytes() == OURS
    assert (folders.failed_dir / "8355.pdf").read_bytes() == OTHER
    assert [path.name for path in folders.failed_dir.glob("*.txt")] == [f"{filed.name}.reason.txt"]


@pytest.mark.usefixtures("way")
def test_a_bad_invoice_lies_beside_its_reason(folders: Folders) -> None:
    """A failed invoice and its reason have the same name, and the reason names the file, the trouble and the hash."""
    folders.put()
    first = folders.failed()
    folders.put()
    second = folders.failed()
    for filed in (first, second):
        text = (folders.failed_dir / f"{filed.name}.reason.txt").read_text()
        assert "8355.pdf was not sent" in text
        assert "no root object" in text
        assert OUR_SHA in text
    assert leftovers(*folders.all) == []


@pytest.mark.usefixtures("way")
def test_a_file_that_changed_before_the_move_stays(folders: Folders) -> None:
    """What is not what was read is not moved: it stays as a new file, and no reason is written."""
    read = folders.put()
    folders.exchange()
    with pytest.raises(Changed):
        folders.filing.processed("8355.pdf", read, OUR_SHA)
    with pytest.raises(Changed):
        folders.filing.failed("8355.pdf", read, OUR_SHA, Reason.DAMAGED, "")
    assert (folders.drop / "8355.pdf").read_bytes() == OTHER
    assert contents(folders.processed_dir, folders.failed_dir) == []
    assert list(folders.failed_dir.iterdir()) == []


def test_the_same_bytes_touched_or_copied_anew_are_still_the_file(folders: Folders) -> None:
    """A file whose times or inode changed, but not its bytes, is what was read, and moves."""
    read = folders.put()
    folders.exchange(content=OURS)
    assert folders.filing.processed("8355.pdf", read, OUR_SHA).read_bytes() == OURS


def test_a_file_exchanged_in_the_very_moment_comes_back(folders: Folders, way: str) -> None:
    """A file exchanged between the last look and the move is not filed under a false receipt, and not lost."""
    read = folders.put()

    def race(source: Path, _target: Path) -> None:
        if source.parent == folders.drop:
            folders.exchange()

    folders.use(RacedMover(first_way(way), race))
    with pytest.raises(Changed):
        folders.filing.failed("8355.pdf", read, OUR_SHA, Reason.DAMAGED, "")
    assert contents(folders.drop) == [OTHER]
    assert list(folders.failed_dir.iterdir()) == []
    assert leftovers(*folders.all) == []


@pytest.mark.parametrize("two_steps", ["link", "copy"])
def test_a_file_exchanged_before_its_name_is_removed_is_not_lost(folders: Folders, two_steps: str) -> None:
    """Where a move takes two steps, a new file that takes the old name between them stays for its own turn."""
    read = folders.put()
    exchanged: list[Path] = []

    class Raced(Mover):
        def withdraw(self, path: Path, is_ours: Callable[[Path], bool]) -> None:
            if unheld(path) == folders.drop / "8355.pdf" and not exchanged:
                exchanged.append(path)
                folders.exchange()
            super().withdraw(path, is_ours)

    folders.use(Raced(first_way(two_steps)))
    filed = folders.filing.processed("8355.pdf", read, OUR_SHA)
    assert exchanged
    assert filed.read_bytes() == OURS
    assert contents(folders.processed_dir) == [OURS]
    assert (folders.drop / "8355.pdf").read_bytes() == OTHER
    assert leftovers(*folders.all) == []


def test_a_file_exchanged_while_a_crash_is_repaired_is_not_lost(folders: Folders) -> None:
    """Where the move was done before a crash, only the old file's second name goes, never a new file under it."""
    read = folders.put()
    os.link(folders.drop / "8355.pdf", folders.processed_dir / "8355.pdf")

    class Raced(Mover):
        def withdraw(self, path: Path, is_ours: Callable[[Path], bool]) -> None:
            folders.exchange()
            super().withdraw(path, is_ours)

    folders.use(Raced())
    folders.filing.processed("8355.pdf", read, OUR_SHA, resumed=True)
    assert contents(folders.processed_dir) == [OURS]
    assert contents(folders.drop) == [OTHER]


def test_a_move_that_ends_half_done_keeps_its_reason(folders: Folders) -> None:
    """Where the old name could not be taken away, the invoice in failed has its reason, then and after the repair."""

    class Broken(Mover):
        def withdraw(self, path: Path, is_ours: Callable[[Path], bool]) -> None:  # noqa: ARG002 - refused
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    folders.put()
    folders.use(Broken(first_way("link")))
    with pytest.raises(FileUnavailable):
        folders.failed()
    assert len(list(folders.failed_dir.glob("*.reason.txt"))) == 1
    folders.use(Mover(first_way("link")))
    filed = folders.failed(resumed=True)
    assert reason_path(filed).exists()
    assert contents(*folders.all) == [OURS]


def test_a_file_that_is_gone_is_no_trouble(folders: Folders) -> None:
    """An invoice that somebody took away again is a change, not a failure of folder or file."""
    read = folders.put()
    (folders.drop / "8355.pdf").unlink()
    with pytest.raises(Changed):
        folders.filing.processed("8355.pdf", read, OUR_SHA)


def test_an_unread_file_is_known_by_its_identity(folders: Folders) -> None:
    """A file too large to be read is moved if it is untouched, and stays if it is not."""
    read = folders.put()
    filed = folders.filing.failed("8355.pdf", read, None, Reason.TOO_LARGE, "too large")
    assert filed.read_bytes() == OURS
    assert "sha256" not in reason_path(filed).read_text()
    read = folders.put("8356.pdf")
    folders.put("8356.pdf", OTHER + b"longer")
    with pytest.raises(Changed):
        folders.filing.failed("8356.pdf", read, None, Reason.TOO_LARGE, "too large")
    assert contents(folders.drop) == [OTHER + b"longer"]


# Crashes


def tomorrow() -> float:
    """Return the time after a restart: never the same second as before."""
    return time.time() + 86_400


class Crash(BaseException):
    """The process is gone."""


class Effects:
    """Counts the system calls that change something, and dies right before or after one; the dead change nothing."""

    def __init__(self, dies_at: int, *, after: bool) -> None:
        self.dies_at = dies_at
        self.after = after
        self.count = 0
        self.dead = False

    def counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap one of these calls."""

        def counting(*arguments: object, **named: object) -> Any:
            if self.dead:
                raise Crash
            self.count += 1
            dies_now = self.count == self.dies_at
            if dies_now and not self.after:
                self.dead = True
                raise Crash
            try:
                return call(*arguments, **named)
            finally:
                if dies_now:
                    self.dead = True
                    raise Crash

        return counting

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Wrap every call of the system that changes something, but for the one that a mover is given."""
        for name in ("link", "replace", "unlink", "mkdir", "rmdir", "utime", "fsync"):
            monkeypatch.setattr(os, name, self.counted(getattr(os, name)))
        monkeypatch.setattr(shutil, "copyfileobj", self.counted(shutil.copyfileobj))
        opened = os.open

        def opening(path: Any, flags: int, mode: int = 0o777) -> int:
            call = self.counted(opened) if flags & os.O_CREAT else opened
            return int(call(path, flags, mode))

        monkeypatch.setattr(os, "open", opening)


@pytest.mark.parametrize("good", [True, False], ids=["processed", "failed"])
@pytest.mark.parametrize("taken", [False, True], ids=["name_free", "name_taken"])
def test_a_crash_at_every_step_is_repaired(home: Path, way: str, *, good: bool, taken: bool) -> None:
    """Dead right before or after each effect of a move, the same call later finishes it: one place, one reason."""
    step, after, steps = 0, True, 0
    while True:
        step, after = (step + 1, False) if after else (step, True)
        parent = home / f"{step}-{after}"
        parent.mkdir()
        folders = Folders(parent)
        target = folders.processed_dir if good else folders.failed_dir
        if taken:
            (target / "8355.pdf").write_bytes(OTHER)
        folders.put()
        effects = Effects(step, after=after)
        folders.use(Mover(first_way(way, effects.counted(renameat2))))
        with pytest.MonkeyPatch.context() as monkeypatch:
            effects.watch(monkeypatch)
            try:
                (folders.processed if good else folders.failed)()
            except Crash:
                steps += 1
            else:
                break
        folders.use(Mover(first_way(way)), clock=tomorrow)
        folders.filing.prepare()
        folders.filing.clean_up()
        if (folders.drop / "8355.pdf").exists():
            filed = (folders.processed if good else folders.failed)(resumed=True)
        else:
            path = folders.filing.lies_in(target, "8355.pdf", OUR_SHA)
            assert path is not None, f"lost by a crash at {step}, after={after}"
            filed = path
        where = f"crash at effect {step}, after={after}"
        assert contents(folders.drop) == [], where
        assert contents(target) == sorted([OURS] + [OTHER] * taken), where
        assert filed.read_bytes() == OURS, where
        folders.filing.sweep_reasons()
        reasons = sorted(path.name for path in target.glob("*.txt"))
        assert reasons == ([] if good else [f"{filed.name}.reason.txt"]), where
        assert leftovers(*folders.all) == [], where
    assert steps >= 4


def test_an_empty_invoice_that_failed_before_is_no_placeholder(folders: Folders) -> None:
    """An empty file filed as failed keeps its place and its reason when another of its name is filed after a crash."""
    read = folders.put(content=b"")
    empty = hashlib.sha256(b"").hexdigest()
    first = folders.filing.failed("8355.pdf", read, empty, Reason.EMPTY, "0 bytes")
    folders.put()
    second = folders.failed(resumed=True)
    assert first.read_bytes() == b""
    assert "0 bytes" in reason_path(first).read_text()
    assert second.read_bytes() == OURS
    assert "no root object" in reason_path(second).read_text()


# Trouble of folders, and of single files

_EVERYBODYS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
_OTHER_MEANINGS = {errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EXDEV, errno.EINTR}
"""What a rename says where a folder or the file has gone, the new name is taken, or it must be copied."""
_ONE_FILES = sorted(set(errno.errorcode) - _EVERYBODYS - _OTHER_MEANINGS)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        *product(("rename",), (errno.ENOSPC, errno.EROFS, errno.EMFILE, errno.EDQUOT)),
        *product(
            ("fsync of a folder", "fsync of a file"),
            (errno.ENOSPC, errno.EROFS, errno.EIO, errno.EMFILE, errno.ESTALE, errno.EDQUOT),
        ),
    ],
)
def test_trouble_of_the_folders_is_not_the_invoices_fault(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, code: int, call: str
) -> None:
    """A full, broken or read-only disk makes the whole inbox wait; the invoice stays whole, in one place."""
    read = folders.put()
    fsync = os.fsync

    def refused_fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) is (call == "fsync of a folder"):
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    if call == "rename":
        folders.use(Mover(refusing(code)))
    else:
        monkeypatch.setattr(os, "fsync", refused_fsync)
    with pytest.raises(FolderUnavailable, match=re.escape(os.strerror(code))):
        folders.filing.failed("8355.pdf", read, OUR_SHA, Reason.DAMAGED, "")
    assert contents(*folders.all) == [OURS]
    assert leftovers(*folders.all) == []


@pytest.mark.parametrize("code", _ONE_FILES)
def test_a_single_file_that_cannot_be_moved_waits_alone(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Where the folders are in order and only this file cannot be moved, only this file waits."""
    read = folders.put()
    folders.use(Mover(refusing(code)))
    monkeypatch.setattr(os, "link", refusing(code))
    monkeypatch.setattr(os, "replace", refusing(code))
    with pytest.raises(Deferred) as caught:
        folders.filing.processed("8355.pdf", read, OUR_SHA)
    assert caught.value.delay > 1
    assert "8355.pdf" in caught.value.detail
    assert contents(*folders.all) == [OURS]


def test_a_target_folder_that_vanished_is_made_again(folders: Folders) -> None:
    """Somebody who tidies up may remove the processed folder: the invoice waits a moment, then goes there."""
    folders.put()
    folders.processed_dir.rmdir()
    with pytest.raises(Deferred):
        folders.processed()
    assert folders.processed().read_bytes() == OURS


@pytest.mark.parametrize("which", ["drop", "processed_dir", "failed_dir"])
def test_prepare_says_which_folder_cannot_be_used(folders: Folders, which: str) -> None:
    """A folder that is missing, or no folder, is named."""
    folder: Path = getattr(folders, which)
    shutil.rmtree(folder)
    folder.write_bytes(b"in the way")
    with pytest.raises(FolderUnavailable, match=re.escape(str(folder))):
        folders.filing.prepare()


def test_prepare_does_not_make_the_drop_folder(folders: Folders) -> None:
    """A drop folder that is not mounted is not replaced by an empty one on the disk beneath."""
    shutil.rmtree(folders.drop)
    with pytest.raises(FolderUnavailable):
        folders.filing.prepare()


def test_what_a_crash_left_is_cleared_and_nothing_else(folders: Folders) -> None:
    """Unfinished files of ours go; everything else stays."""
    for folder in folders.all:
        (folder / f"{disk.TEMPORARY}0123456789abcdef.tmp").write_bytes(b"half")
        (folder / ".invoice.tmp").write_bytes(b"somebody's")
    folders.put()
    folders.filing.prepare()
    folders.filing.clean_up()
    assert leftovers(*folders.all) == []
    assert contents(*folders.all) == [OURS]
    assert all((folder / ".invoice.tmp").exists() for folder in folders.all)


def test_prepare_leaves_alone_what_is_being_written(folders: Folders) -> None:
    """What another thread of this process has begun is not taken for what a crash left."""
    folders.put()
    copy = disk.copy_new(folders.drop / "8355.pdf", folders.processed_dir)
    folders.filing.prepare()
    assert copy.exists()


# Reasons


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_speaks_to_a_bookkeeper_first(reason: Reason) -> None:
    """What is wrong and what to do come first, in words; what only an administrator needs comes last."""
    text = reason_text("8355.pdf", reason, "HTTP 422\n  file: wrong", "ab" * 32, at=1_795_342_500)
    lines = text.splitlines()
    assert lines[0] == "8355.pdf was not sent to the marketplace."
    order = [lines.index(head) for head in ("What is wrong:", "What to do:", "Details for your administrator:")]
    assert order == sorted(order)
    assert f"  reason  {reason}" in lines
    assert "  detail  HTTP 422 file: wrong" in lines
    assert "  time    2026-11-22 10:15:00 UTC" in lines
    assert "  sha256  " + "ab" * 32 in lines
    assert text.endswith("\n")


def test_a_name_of_any_bytes_can_be_shown(folders: Folders) -> None:
    """A name that is no valid text is filed under its own bytes, and shown in the reason as well as it can be."""
    name = os.fsdecode(b"8355_\xff\xfe.pdf")
    folders.put(name)
    filed = folders.failed(name)
    assert os.fsencode(filed.name) == b"8355_\xff\xfe.pdf"
    assert "8355_" in reason_path(filed).read_text()


def test_a_reason_goes_when_its_invoice_has_left(folders: Folders) -> None:
    """A reason is removed once its PDF is no longer beside it, by name or by a sweep, and not before."""
    folders.put("1.pdf")
    first = folders.failed("1.pdf")
    folders.put("2.PDF")
    second = folders.failed("2.PDF")
    (folders.failed_dir / "notes.reason.txt").write_text("somebody's own")
    folders.filing.forget_reason(first)
    folders.filing.sweep_reasons()
    assert reason_path(first).exists()
    assert reason_path(second).exists()
    first.unlink()
    folders.filing.forget_reason(first)
    assert not reason_path(first).exists()
    second.unlink()
    folders.filing.sweep_reasons()
    assert [path.name for path in folders.failed_dir.iterdir()] == ["notes.reason.txt"]


def test_a_sweep_leaves_the_reason_of_an_invoice_on_its_way(folders: Folders) -> None:
    """A reason is written before its invoice comes: a sweep in between does not take it for a forgotten one."""
    folders.put()
    folders.use(RacedMover(renameat2, lambda *_paths: folders.filing.sweep_reasons()))
    assert reason_path(folders.failed()).exists()


def test_a_move_that_fails_leaves_no_reason_behind(folders: Folders) -> None:
    """Where the invoice could not be moved, no reason stands in failed without it."""
    read = folders.put()
    folders.use(Mover(refusing(errno.EIO)))
    with pytest.raises(FileUnavailable):
        folders.filing.failed("8355.pdf", read, OUR_SHA, Reason.DAMAGED, "")
    assert list(folders.failed_dir.iterdir()) == []


LONG_NAMES = ["8355_" + "a" * 246 + ".pdf", "8355_" + "é" * 123 + ".pdf", "8355_x" + "語" * 81 + "ab.pdf"]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", LONG_NAMES, ids=["ascii", "two_bytes", "three_bytes"])
def test_the_longest_names_fit(folders: Folders, name: str) -> None:
    """Names of 255 bytes are filed too, twice and with their reasons, and stay valid text."""
    assert len(name.encode()) == 255
    seen = set()
    for _ in range(2):
        folders.put(name)
        filed = folders.failed(name)
        assert filed.read_bytes() == OURS
        assert filed.suffix == ".pdf"
        assert reason_path(filed).exists()
        for path in (filed, reason_path(filed)):
            path.name.encode()
            seen.add(path)
    assert len({path for path in seen if path.suffix == ".pdf"}) == 2


def test_the_reason_of_a_longest_name_goes_with_it(folders: Folders) -> None:
    """The sweep keeps a long name's reason while its PDF is there and removes it afterwards."""
    name = LONG_NAMES[0]
    folders.put(name)
    filed = folders.failed(name)
    folders.filing.sweep_reasons()
    assert reason_path(filed).exists()
    filed.unlink()
    folders.filing.forget_reason(filed)
    assert not reason_path(filed).exists()


# Looking for what was moved just before a crash


def test_lies_in_finds_the_file_by_name_and_content(folders: Folders) -> None:
    """The moved file is found under its own name or one made unique, by its content, and not by its name alone."""
    folder = folders.processed_dir
    (folder / "8355.pdf").write_bytes(OTHER)
    (folder / "8355_items-1.pdf").write_bytes(OURS)
    assert folders.filing.lies_in(folder, "8355.pdf", OUR_SHA) is None
    unique = folder / "8355_20261122T101500Z-2.pdf"
    unique.write_bytes(OURS)
    assert folders.filing.lies_in(folder, "8355.pdf", OUR_SHA) == unique


@pytest.mark.parametrize("kind", ["folder", "symlink", "dangling", "fifo"])
def test_lies_in_is_not_stopped_by_what_is_no_file(folders: Folders, kind: str) -> None:
    """A folder, link or FIFO under the name in processed (an archive's, perhaps) does not stop the recovery."""
    path = folders.processed_dir / "8355.pdf"
    match kind:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "symlink":
            (folders.drop.parent / "archived").write_bytes(OURS)
            path.symlink_to(folders.drop.parent / "archived")
        case _:
            path.symlink_to("nowhere")
    unique = folders.processed_dir / "8355_20261122T101500Z.pdf"
    unique.write_bytes(OURS)
    assert folders.filing.lies_in(folders.processed_dir, "8355.pdf", OUR_SHA) == unique
    assert digest(path) is None
    folders.put()
    assert folders.processed(resumed=True).read_bytes() == OURS


def test_lies_in_says_when_the_folder_cannot_be_read(folders: Folders) -> None:
    """A folder that is not there is no proof that the file is not."""
    folders.processed_dir.rmdir()
    with pytest.raises(FolderUnavailable):
        folders.filing.lies_in(folders.processed_dir, "8355.pdf", OUR_SHA)


# Real mounts


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than the temporary one."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or not os.access(shared, os.W_OK) or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to write to")
    folder = shared / f"invoicedrop-test-{os.getpid()}-{tmp_path.name}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_a_move_to_another_disk_is_a_verified_copy(tmp_path: Path, other_disk: Path) -> None:
    """Across two real file systems: copied, verified, and only then gone from the drop folder; nothing overwritten."""
    drop = tmp_path / "drop"
    drop.mkdir()
    filing = Filing(drop, other_disk / "processed", other_disk / "failed")
    filing.prepare()
    for _ in range(2):
        (drop / "8355.pdf").write_bytes(OURS)
        filed = filing.processed("8355.pdf", identity(drop / "8355.pdf"), OUR_SHA)
        assert filed.parent == other_disk / "processed"
    assert contents(other_disk / "processed") == [OURS, OURS]
    assert contents(drop) == []
    assert leftovers(drop, other_disk / "processed") == []


def test_a_copy_that_differs_is_thrown_away(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy across file systems that is not what was read never gets the invoice's name, and the source stays."""
    folders.put()
    folders.use(Mover(first_way("copy")))
    monkeypatch.setattr(shutil, "copyfileobj", lambda _source, target: target.write(b"spoiled"))
    with pytest.raises(Changed):
        folders.processed()
    assert contents(*folders.all) == [OURS]
    assert leftovers(*folders.all) == []


IN_NAMESPACE = """
import errno, hashlib, os, sys
from pathlib import Path
from invoicedrop.inbox.identity import identity_of
from invoicedrop.inbox.filing import Filing
from invoicedrop.errors import FolderUnavailable
from invoicedrop.reasons import Reason
drop = Path(sys.argv[1])
content = b"%PDF " + b"x" * 200_000
def drop_one(name):
    (drop / name).write_bytes(content)
    return name, identity_of((drop / name).lstat()), hashlib.sha256(content).hexdigest()
"""


def in_mount_namespace(mounts: str, script: str, drop: Path) -> str:
    """Run Python in a mount namespace of its own after these mounts; return what it prints."""
    program = [sys.executable, "-c", IN_NAMESPACE + textwrap.dedent(script), str(drop)]
    for namespace in (("unshare", "-m"), ("unshare", "-Urm")):
        try:
            usable = subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            break
        if usable:
            # 99: the mount itself was refused.
            shell = f'{{ {mounts}; }} >/dev/null 2>&1 || exit 99; exec "$@"'
            done = subprocess.run(
                [*namespace, "sh", "-c", shell, str(drop), *program], capture_output=True, text=True, check=False
            )
            if done.returncode != 99:
                assert done.returncode == 0, done.stderr
                return done.stdout
    pytest.skip("this system lets us make no mount")


def test_bind_mounts_of_one_disk_are_two_disks(tmp_path: Path) -> None:
    """Docker's volumes: a rename between two bind mounts of one disk is refused; the invoice arrives all the same."""
    drop = tmp_path / "drop"
    (drop / "processed").mkdir(parents=True)
    (tmp_path / "archive").mkdir()
    output = in_mount_namespace(
        f'mount --bind "{tmp_path}/archive" "{drop}/processed"',
        """
        filing = Filing(drop, drop / "processed", drop / "failed")
        filing.prepare()
        name, identity, sha256 = drop_one("8355.pdf")
        assert drop.stat().st_dev == (drop / "processed").stat().st_dev
        try:
            os.rename(drop / name, drop / "processed" / name)
        except OSError as error:
            assert error.errno == errno.EXDEV
        else:
            raise AssertionError("one mount")
        assert filing.processed(name, identity, sha256).read_bytes() == content
        assert not (drop / name).exists()
        print("arrived")
        """,
        drop,
    )
    assert output == "arrived\n"
    assert [path.name for path in (tmp_path / "archive").iterdir()] == ["8355.pdf"]


def test_a_full_disk_moves_nothing(tmp_path: Path) -> None:
    """A processed folder on a disk that is really full: the inbox waits, the invoice stays, nothing half is left."""
    drop = tmp_path / "drop"
    (drop / "processed").mkdir(parents=True)
    output = in_mount_namespace(
        f'mount -t tmpfs -o size=64k none "{drop}/processed"',
        """
        filing = Filing(drop, drop / "processed", drop / "failed")
        filing.prepare()
        name, identity, sha256 = drop_one("8355.pdf")
        try:
            filing.processed(name, identity, sha256)
        except FolderUnavailable as trouble:
            print(trouble.detail)
        assert (drop / name).read_bytes() == content
        assert list((drop / "processed").iterdir()) == []
        assert list((drop / "failed").iterdir()) == []
        """,
        drop,
    )
    assert "No space left" in output


def test_a_read_only_disk_is_named(tmp_path: Path) -> None:
    """A failed folder that was mounted read-only makes the inbox unavailable, and is named."""
    drop = tmp_path / "drop"
    (drop / "failed").mkdir(parents=True)
    output = in_mount_namespace(
        f'mount -t tmpfs -o ro none "{drop}/failed"',
        """
        try:
            Filing(drop, drop / "processed", drop / "failed").prepare()
        except FolderUnavailable as trouble:
            print(trouble.detail)
        """,
        drop,
    )
    assert "failed" in output
    assert "read-only" in output
