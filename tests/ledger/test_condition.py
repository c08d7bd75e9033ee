import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from damage import DAMAGE, HIDDEN_DAMAGE, LEDGER, killed_ledger, without_log
from entries import invoice

from invoicedrop.errors import LedgerDamaged, LedgerUnavailable
from invoicedrop.invoice import State
from invoicedrop.ledger.condition import Condition, File, condition_of, examine, require_sound
from invoicedrop.ledger.ledger import Ledger


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a killed process has left: its ledger in `state`, two copies of it beside."""
    home = tmp_path_factory.mktemp("killed")
    killed_ledger(home / "state")
    return home


@pytest.fixture
def state(killed: Path, tmp_path: Path) -> Path:
    """A copy of that folder of its own."""
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    return tmp_path / "state"


def _entries(state: Path) -> int:
    with Ledger.open(state) as ledger:
        return len(ledger.in_state(State.UPLOADING))


def test_what_a_killed_process_left_is_a_whole_ledger(state: Path) -> None:
    """A log that was not written into the file is the ledger's own: nothing is damaged, and no entry is missing."""
    found = condition_of(state / LEDGER)
    assert (found.file, found.log, found.is_strange) == (File.DATABASE, state / f"{LEDGER}-wal", False)
    require_sound(state / LEDGER, seconds=60)
    assert examine(state / LEDGER, seconds=60, indexes=True) == (None, True)
    assert _entries(state) == 160


def test_looking_for_damage_changes_nothing(state: Path) -> None:
    """File and log are, byte for byte, what they were: what is wrong can still be put right."""
    before = [(state / name).read_bytes() for name in (LEDGER, f"{LEDGER}-wal")]
    examine(state / LEDGER, seconds=60, indexes=True)
    assert [(state / name).read_bytes() for name in (LEDGER, f"{LEDGER}-wal")] == before


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_told_with_what_to_do(state: Path, kind: str) -> None:
    """A damaged file is refused in words: the backup, how to go on without one and at what cost; and it is kept."""
    DAMAGE[kind](state)
    before = (state / LEDGER).read_bytes()
    with pytest.raises(LedgerDamaged, match=r"is damaged \(.*\).*last backup.*without it.*nothing is sent twice"):
        Ledger.open(state)
    assert (state / LEDGER).read_bytes() == before


@pytest.mark.parametrize("kind", HIDDEN_DAMAGE)
def test_damage_that_opening_does_not_show_is_found(state: Path, kind: str) -> None:
    """After an end without a close the start looks through the file, before anything is changed in it."""
    HIDDEN_DAMAGE[kind](state)
    before = (state / LEDGER).read_bytes()
    with pytest.raises(LedgerDamaged, match=r"malformed|[Pp]age"):
        require_sound(state / LEDGER, seconds=60)
    assert (state / LEDGER).read_bytes() == before


def _write_many(ledger: Ledger) -> None:
    for number in range(1000, 1400):
        ledger.uploading(invoice(number, sha256=f"{number * 7919:064x}"))


def test_damage_met_while_running_is_no_trouble_that_passes(state: Path) -> None:
    """A torn page that is met by a read or a write of an open ledger is damage, in the words of the start."""
    HIDDEN_DAMAGE["hole"](state)
    with Ledger.open(state) as ledger:
        with pytest.raises(LedgerDamaged, match="last backup"):
            ledger.in_state(State.UPLOADING)
        with pytest.raises(LedgerDamaged, match="last backup"):
            _write_many(ledger)


def test_an_index_that_lacks_rows_is_found_by_the_whole_examination(state: Path) -> None:
    """What the quick look at the start passes over, `check` finds."""
    path = without_log(state)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = sql || ' WHERE id > 5' WHERE name = 'invoices_by_bytes'")
        connection.commit()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM invoices WHERE id = 3")
        connection.commit()
        connection.execute("PRAGMA writable_schema = ON")
        words = "UPDATE sqlite_master SET sql = replace(sql, ' WHERE id > 5', '') WHERE name = 'invoices_by_bytes'"
        connection.execute(words)
        connection.commit()
    assert examine(path, seconds=60, indexes=False).damage is None
    assert "invoices_by_bytes" in str(examine(path, seconds=60, indexes=True).damage)


def test_the_look_for_damage_ends_in_its_time(state: Path) -> None:
    """Where the time is over it says that not all was looked at, and finds nothing."""
    path = without_log(state)
    rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT 'a' || i, i, i FROM n"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"INSERT INTO buckets {rows}")
        connection.commit()
    assert examine(path, seconds=-1, indexes=True) == (None, False)
    require_sound(path, seconds=-1)


@pytest.mark.parametrize("instead", ["backup", "", None], ids=["backup", "empty", "missing"])
def test_a_log_of_another_file_is_set_aside(state: Path, instead: str | None) -> None:
    """A dead ledger's log is not played into a backup in its place, nor thrown away with a lost file: it is kept."""
    log = (state / f"{LEDGER}-wal").read_bytes()
    (state / LEDGER).unlink()
    if instead is not None:
        (state / LEDGER).write_bytes((state.parent / instead).read_bytes() if instead else b"")
    assert condition_of(state / LEDGER).is_strange
    assert _entries(state) == (40 if instead else 0)
    (kept,) = state.glob(f"{LEDGER}-wal.*")
    assert kept.read_bytes() == log
    assert examine(state / LEDGER, seconds=60, indexes=True) == (None, True)
    # Opened again it is a ledger like any other: what is committed next stays.
    with Ledger.open(state) as ledger:
        ledger.uploading(invoice(9000))
        assert not _condition_of_a_copy(state).is_strange
    assert len(list(state.glob(f"{LEDGER}-wal.*"))) == 1


def _condition_of_a_copy(state: Path) -> Condition:
    """Look at a copy of the folder: no file is closed that SQLite has open here."""
    copy = state.parent / "copy"
    shutil.copytree(state, copy)
    return condition_of(copy / LEDGER)


@pytest.mark.parametrize("name", ["-wal", "-shm"])
def test_what_sqlite_needs_beside_the_file_is_named(state: Path, name: str) -> None:
    """A folder in the place of log or index is trouble that names it, and no damage."""
    beside = state / f"{LEDGER}{name}"
    beside.unlink()
    beside.mkdir()
    with pytest.raises(LedgerUnavailable, match=f"{LEDGER}{name} is no file: remove it") as raised:
        Ledger.open(state)
    assert not isinstance(raised.value, LedgerDamaged)


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can become another user")
def test_rights_are_told_as_rights(killed: Path, home: Path) -> None:
    """A ledger that belongs to another user is named with its owner and with who we are."""
    home.chmod(0o755)
    state = home / "state"
    shutil.copytree(killed / "state", state)
    state.chmod(0o777)
    (state / LEDGER).chmod(0o600)
    child = os.fork()
    if child == 0:
        os.seteuid(65534)
        try:
            Ledger.open(state)
        except LedgerUnavailable as error:
            os._exit(0 if f"{LEDGER} belongs to root" in error.detail else 2)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
