import fcntl
import os
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from contextlib import closing
from pathlib import Path

import pytest
from damage import HIDDEN_DAMAGE, LEDGER, killed_ledger
from entries import invoice

from invoicedrop.errors import BackupFailed, LedgerDamaged
from invoicedrop.invoice import State
from invoicedrop.ledger import backup as backup_module
from invoicedrop.ledger.backup import Content, back_up
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.ledger.schema import VERSION
from waiting import wait_until


def _restored(backup: Path, folder: Path) -> Path:
    folder.mkdir()
    (folder / LEDGER).write_bytes(backup.read_bytes())
    return folder


def _known(folder: Path) -> set[int | None]:
    with Ledger.open(folder) as ledger:
        return {entry.order_id for entry in ledger.in_state(*State)}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A name for backups, in a folder of its own."""
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder / "ledger backup?#%41.sqlite3"


def _alone(target: Path) -> bool:
    return list(target.parent.iterdir()) == [target]


def test_a_backup_is_one_whole_file_for_its_owner_alone(ledger: Ledger, target: Path, tmp_path: Path) -> None:
    """It holds every entry and the ledger's identity, needs no file beside it, and nobody else may read it."""
    identity = ledger.identity()
    for number in range(20):
        ledger.uploading(invoice(number))
    assert back_up(ledger.path, target).content == Content(VERSION, 20)
    assert _alone(target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with closing(sqlite3.connect(target)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert copy.execute("PRAGMA journal_mode").fetchall() == [("delete",)]
    with Ledger.open(_restored(target, tmp_path / "restored")) as restored:
        assert restored.identity() == identity
        assert len(restored.in_state(State.UPLOADING)) == 20


def test_a_backup_while_another_process_writes_is_of_one_moment(ledger: Ledger, target: Path, tmp_path: Path) -> None:
    """While a writer never rests backups end, hold what was there when they began and no gap, and no write fails."""
    script = """
        import sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from entries import invoice
        from invoicedrop.ledger.ledger import Ledger
        with Ledger.open(Path(sys.argv[1])) as ledger:
            number = 0
            while True:
                number += 1
                ledger.uploading(invoice(number))
                print(number, flush=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(ledger.path.parent), str(Path(__file__).parent)]
    written: list[int] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        lines = writer.stdout
        reading = threading.Thread(target=lambda: written.extend(int(line) for line in lines))
        reading.start()
        for turn in range(3):
            wait_until(lambda least=turn: len(written) > 20 * (least + 1), what="writes")
            before = written[-1]
            assert back_up(ledger.path, target).content.entries >= before
            assert _alone(target)
            known = _known(_restored(target, tmp_path / f"restored {turn}"))
            assert known == set(range(1, len(known) + 1))
            assert len(known) >= before
        after = len(written)
        wait_until(lambda: len(written) > after, what="a write after the backups")
        assert writer.poll() is None
        writer.kill()
        reading.join()


def test_a_step_of_the_backup_holds_up_no_writer(ledger: Ledger, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two steps of a copy writes go through, and the copy does not begin anew for them."""
    for number in range(60):
        ledger.uploading(invoice(number))
    monkeypatch.setattr(backup_module, "_PAGES", 1)
    steps: list[int] = []
    real = sqlite3.Connection

    class Watched(real):
        def backup(self, target: sqlite3.Connection, *, pages: int = -1, sleep: float = 0.25, **_more: object) -> None:
            def progress(_status: int, remaining: int, _total: int) -> None:
                steps.append(remaining)
                ledger.uploading(invoice(1000 + len(steps)))

            super().backup(target, pages=pages, sleep=sleep, progress=progress)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **more: connect(*args, **{"factory": Watched, **more}))
    assert back_up(ledger.path, target).content.entries == 60
    assert len(steps) > 5
    assert steps == sorted(steps, reverse=True)
    assert len(ledger.in_state(State.UPLOADING)) == 60 + len(steps)


def test_a_newer_backup_takes_an_older_one_s_place(ledger: Ledger, target: Path) -> None:
    """Every night's backup may have the same name."""
    ledger.uploading(invoice(1))
    back_up(ledger.path, target)
    ledger.uploading(invoice(2))
    assert back_up(ledger.path, target).content.entries == 2
    assert _alone(target)


def test_a_copy_that_fails_its_check_replaces_nothing(tmp_path: Path) -> None:
    """A damaged ledger is no backup: the older, good one stays as it was, and the words say what is wrong."""
    state = tmp_path / "state"
    killed_ledger(state)
    target = tmp_path / "backup"
    before = target.read_bytes()
    HIDDEN_DAMAGE["hole"](state)
    with pytest.raises(LedgerDamaged, match="damaged"):
        back_up(state / LEDGER, target)
    assert target.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "plain copy", "state"]


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_a_copy_that_cannot_be_written_replaces_nothing(
    ledger: Ledger, target: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Where a system call says that the disk is full, the older backup stays, and nothing unfinished is left."""
    back_up(ledger.path, target)
    before = target.read_bytes()
    ledger.uploading(invoice(1))
    real = getattr(os, call)

    def full(*args: object, **more: object) -> object:
        if call == "open" and not int(args[1]) & os.O_CREAT:  # type: ignore[call-overload]
            return real(*args, **more)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(BackupFailed, match="No space left"):
        back_up(ledger.path, target)
    monkeypatch.undo()
    assert target.read_bytes() == before
    assert _alone(target)


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can mount a small disk")
def test_a_full_disk_replaces_nothing(ledger: Ledger, tmp_path: Path) -> None:
    """On a disk without room for a second copy it says so, and the older backup stays, alone."""
    ledger.uploading(invoice(1))
    small = tmp_path / "small"
    small.mkdir()
    program = f"""
        mount -t tmpfs -o size=100k none {small} || exit 77
        cd {small} && {sys.executable} - <<'END'
import os
from pathlib import Path
from invoicedrop.errors import BackupFailed
from invoicedrop.ledger.backup import back_up
target = Path("{small}/backup")
back_up(Path("{ledger.path}"), target)
before = target.read_bytes()
try:
    back_up(Path("{ledger.path}"), target)
except BackupFailed as error:
    print(error)
assert target.read_bytes() == before
assert os.listdir("{small}") == ["backup"]
END
    """
    done = subprocess.run(["unshare", "-m", "bash", "-c", program], capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("nothing can be mounted here")
    assert done.returncode == 0, done.stderr
    assert "cannot be written" in done.stdout
    assert "full" in done.stdout


def test_what_a_killed_one_left_is_removed_by_the_next(ledger: Ledger, target: Path) -> None:
    """A backup that dies in the middle leaves the older one as it was, and a rest that the next one removes."""
    back_up(ledger.path, target)
    script = """
        import os, sys
        from pathlib import Path
        from invoicedrop.ledger import backup
        backup._require_good = lambda *_: os._exit(9)
        backup.back_up(Path(sys.argv[1]), Path(sys.argv[2]))
    """
    before = target.read_bytes()
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(ledger.path), str(target)], check=False)
    assert done.returncode == 9
    assert target.read_bytes() == before
    assert len(list(target.parent.iterdir())) == 2
    back_up(ledger.path, target)
    assert _alone(target)


def test_two_at_the_same_time_do_not_mix(ledger: Ledger, target: Path) -> None:
    """While one is writing the same file, the other one says so and leaves it alone."""
    with backup_module._unfinished(target) as (under_way, _):
        under_way.write_bytes(b"half")
        with pytest.raises(BackupFailed, match="another backup is writing"):
            back_up(ledger.path, target)
        assert under_way.read_bytes() == b"half"
    back_up(ledger.path, target)
    assert _alone(target)


def test_a_link_planted_under_the_unfinished_name_is_not_followed(ledger: Ledger, target: Path, tmp_path: Path) -> None:
    """Who may write into the folder of the backups cannot have another file overwritten by it."""
    with backup_module._unfinished(target) as (unfinished, _):
        pass
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    unfinished.symlink_to(precious)
    with pytest.raises(BackupFailed):
        back_up(ledger.path, target)
    assert precious.read_bytes() == b"precious"


def test_a_share_without_locks_takes_backups(ledger: Ledger, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the target's file system refuses every lock (NFS, SMB) the backup is written all the same."""

    def refused(*_args: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    ledger.uploading(invoice(1))
    assert back_up(ledger.path, target).content.entries == 1
