import errno
import fcntl
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any, Final

import pytest

from invoicedrop.errors import FolderUnavailable, InstanceRunning
from invoicedrop.inbox.ownership import OWNER_FILE, Owner, Ownership, last_owner
from system_calls import refusing

_LEDGER, _OTHER = "a" * 32, "b" * 32
_STALE: Final = 60.0


def _ownership(
    folder: Path, ledger: str = _LEDGER, *, beat: float = 0.0, shared: bool = False, **changes: Any
) -> Ownership:
    names = {name: getattr(Owner.ourselves(ledger), name) for name in Owner.__slots__}
    return Ownership(folder, Owner(**names | changes), beat=beat, stale=_STALE, shared=shared)


@pytest.fixture
def unlocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no locks for folders, as NFS has none."""
    monkeypatch.setattr(fcntl, "flock", refusing(errno.EBADF))


def _age(folder: Path, seconds: float) -> None:
    changed = time.time() - seconds
    os.utime(folder / OWNER_FILE, (changed, changed))


def test_a_folder_has_one_owner_at_a_time(tmp_path: Path) -> None:
    """While one holds the folder, another is refused, and takes it when the first has given it up."""
    first, second = _ownership(tmp_path), _ownership(tmp_path, _OTHER)
    umask = os.umask(0o077)
    assert first.hold() is None
    os.umask(umask)
    assert (tmp_path / OWNER_FILE).stat().st_mode & 0o777 == 0o644
    assert first.hold() is None
    with pytest.raises(InstanceRunning, match=f"process {os.getpid()} on {os.uname().nodename}, since 2"):
        second.hold()
    first.release()
    assert second.hold() is None
    first.release()
    assert last_owner(tmp_path) is not None
    second.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("unlocked")
def test_without_locks_the_file_alone_holds_the_folder(tmp_path: Path) -> None:
    """On a share without locks a fresh beat refuses another machine, and a beat too old or from the future does not."""
    first = _ownership(tmp_path, host="nas", boot="another")
    second = _ownership(tmp_path, _OTHER)
    assert first.hold() is None
    with pytest.raises(InstanceRunning, match="on nas"):
        second.hold()
    for age in (_STALE + 5, -_STALE - 5):
        _age(tmp_path, age)
        assert "on nas" in str(second.hold())
        with pytest.raises(InstanceRunning):
            first.hold()
        second.release()
        assert first.hold() is None


@pytest.mark.usefixtures("unlocked")
def test_without_locks_a_dead_life_of_ours_is_known_by_its_process(tmp_path: Path) -> None:
    """Our own earlier life, whose process is gone, is succeeded at once; one whose process lives is not."""
    with subprocess.Popen(["sleep", "60"]) as process:
        assert _ownership(tmp_path, pid=process.pid).hold() is None
        again = _ownership(tmp_path)
        with pytest.raises(InstanceRunning):
            again.hold()
        process.kill()
        process.wait()
    assert again.hold() is None
    for changes in ({"boot": "before the machine was started again"}, {"pid": os.getpid()}, {"pid": 1 << 80}):
        _ownership(tmp_path, **changes).hold()
        assert again.hold() is None


@pytest.mark.usefixtures("unlocked")
def test_two_that_start_at_once_do_not_both_take_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner file is made only where there is none: the slower one is refused."""
    first, second = _ownership(tmp_path, host="nas", boot="another"), _ownership(tmp_path, _OTHER)
    real = os.link

    def late(*arguments: Any, **named: Any) -> None:
        monkeypatch.setattr(os, "link", real)
        assert first.hold() is None
        real(*arguments, **named)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(InstanceRunning):
        second.hold()
    assert [path.name for path in tmp_path.iterdir()] == [OWNER_FILE]


def test_without_hard_links_the_file_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links has an owner file, too."""
    monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    assert _ownership(tmp_path).hold() is None
    assert [path.name for path in tmp_path.iterdir()] == [OWNER_FILE]


def test_a_beat_that_cannot_be_judged_is_no_dead_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be written, another machine's file is not taken over; our own hold does not end."""
    held = _ownership(tmp_path)
    assert held.hold() is None
    monkeypatch.setattr(os, "rename", refusing(errno.EIO))
    assert held.hold() is None
    held.release()
    monkeypatch.undo()
    _ownership(tmp_path, host="nas", boot="another").hold()
    monkeypatch.setattr(os, "rename", refusing(errno.EIO))
    with pytest.raises((FolderUnavailable, InstanceRunning), match="nas"):
        _ownership(tmp_path, _OTHER).hold()


def test_a_folder_that_was_replaced_is_held_anew(tmp_path: Path) -> None:
    """A share that was mounted anew under the same name is another folder: that one is held from then on."""
    folder = tmp_path / "drop"
    folder.mkdir()
    held = _ownership(folder, beat=60.0)
    held.hold()
    folder.rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError):
        held.hold()
    folder.mkdir()
    assert held.hold() is None
    with pytest.raises(InstanceRunning):
        _ownership(folder, _OTHER).hold()


def test_what_an_owner_file_says_is_shown_on_one_line(tmp_path: Path) -> None:
    """Control characters in an owner file reach no terminal, and too much text is nobody's name."""
    _ownership(tmp_path).hold()
    path = tmp_path / OWNER_FILE
    values = json.loads(path.read_bytes())
    path.write_text(json.dumps(values | {"host": "n\n\x1b[2Jas"}))
    last = last_owner(tmp_path)
    assert last is not None
    assert str(last.owner).isprintable()
    path.write_text(json.dumps(values | {"host": "n" * 201}))
    assert last_owner(tmp_path) is None


# A ledger that daemons share


def test_who_shares_our_ledger_does_not_stop_us_and_others_do(tmp_path: Path) -> None:
    """With a shared ledger, neither lock nor beat of a daemon with the same one counts; those of another one do."""
    hanging = _ownership(tmp_path, shared=True, host="alpha", boot="another")
    ours, other = _ownership(tmp_path, shared=True), _ownership(tmp_path, _OTHER, shared=True)
    assert hanging.hold() is None
    with pytest.raises(InstanceRunning, match="on alpha"):
        other.hold()
    assert ours.hold() is None
    last = last_owner(tmp_path)
    assert last is not None
    assert last.owner.host == os.uname().nodename
    # It goes, and takes only what is its own with it; the lock is ours now.
    hanging.release()
    assert last_owner(tmp_path) == last
    assert ours.hold() is None
    with pytest.raises(InstanceRunning, match=f"process {os.getpid()}"):
        other.hold()
    ours.release()
    assert other.hold() is None
    other.release()


@pytest.mark.usefixtures("unlocked")
def test_without_locks_a_shared_ledger_decides_too(tmp_path: Path) -> None:
    """On a share without locks a fresh beat stops nobody who shares that ledger, and everybody else."""
    assert _ownership(tmp_path, shared=True, host="alpha", boot="another").hold() is None
    with pytest.raises(InstanceRunning, match="on alpha"):
        _ownership(tmp_path).hold()
    assert _ownership(tmp_path, shared=True).hold() is None
