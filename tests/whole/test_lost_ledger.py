"""A ledger that is lost, empty, damaged, or put back from a backup: what is said, and that nothing is sent twice."""

import os
import shutil
import sqlite3
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from invoicedrop.commands.check.ledger import of_ledger
from invoicedrop.ledger.ledger import LEDGER_FILE, Ledger
from invoicedrop.service.known_ledger import known_ledger
from merchant import Daemon, Merchant, running
from quick_service import QUICK, UNCHECKED, program
from waiting import wait_until

_UNCHECKED_QUICK = program(QUICK, checked=False)
_FILES = (LEDGER_FILE, f"{LEDGER_FILE}-wal", f"{LEDGER_FILE}-shm")


def _send(merchant: Merchant, *numbers: int) -> None:
    """Drop invoices and run until all are processed."""
    for number in numbers:
        merchant.drop_pdf(f"{number}.pdf")
    assert merchant.run("run", "--once", program=UNCHECKED).returncode == 0
    assert all((merchant.processed / f"{number}.pdf").exists() for number in numbers)


def _attachments(merchant: Merchant) -> Counter[int]:
    return Counter(upload.order_id for upload in merchant.sandbox.store.uploads())


def _warnings(daemon: Daemon) -> str:
    return " ".join(str(line.get("detail")) for line in daemon.events("service.started") if line["level"] == "warning")


def _checked(merchant: Merchant, **settings: str) -> str:
    """Return what `check` says of the ledger."""
    with ExitStack() as opened:
        _, findings = of_ledger(merchant.settings(**settings), opened)
    return "; ".join(f"{finding.level}: {finding.text}" for finding in findings)


def _lose(merchant: Merchant, how: str) -> dict[str, str]:
    """Lose the ledger; return the settings that go on without it."""
    match how:
        case "state_dir":
            return {"state_dir": str(merchant.home / "another")}
        case "volume":
            shutil.rmtree(merchant.state)
        case "files":
            for name in _FILES:
                (merchant.state / name).unlink(missing_ok=True)
        case "empty":
            os.truncate(merchant.state / LEDGER_FILE, 0)
    return {}


_TOLD = {
    "state_dir": "has invoices already",
    "volume": "has invoices already",
    "files": "was at work here with another one",
    "empty": "its file was there, and empty",
}


@pytest.mark.parametrize("how", _TOLD)
def test_a_lost_ledger_is_told_and_doubles_nothing(merchant: Merchant, how: str) -> None:
    """A new ledger where one was is told by `check` and the log, and what is dropped again is a duplicate."""
    _send(merchant, 5, 6)
    assert "has invoices already" not in _checked(merchant)
    settings = _lose(merchant, how)
    for told in (_checked(merchant, **settings), _checked(merchant, **settings)):
        assert "is no ledger yet, but" in told
        assert _TOLD[how] in told
        assert "each order is looked at before its invoice is sent" in told
    for number in (5, 6):
        merchant.drop_pdf(f"{number}.pdf")
    with running(merchant, program=UNCHECKED, **settings) as daemon:
        daemon.wait_for("invoice.duplicate", 2)
        assert "is a new ledger, which knows of no invoice, but" in _warnings(daemon)
        assert _TOLD[how] in _warnings(daemon)
        assert daemon.stop() == 0
    assert _attachments(merchant) == {5: 1, 6: 1}
    with running(merchant, program=UNCHECKED, **settings) as daemon:
        daemon.wait_for("inbox.watching")
        assert _warnings(daemon) == ""
        assert daemon.stop() == 0


def test_a_first_start_is_no_loss(merchant: Merchant) -> None:
    """On empty folders neither `check` nor the log says anything of a ledger that was lost."""
    assert _checked(merchant) == "ok: none yet: it is made at the first start"
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("inbox.watching")
        assert _warnings(daemon) == ""
        assert daemon.stop() == 0
    assert _checked(merchant) == f"ok: {merchant.state / LEDGER_FILE} can be used"


def test_a_ledger_lost_by_a_service_that_was_killed_is_told_by_the_drop_folder(merchant: Merchant) -> None:
    """Where nothing was processed yet the owner file says that this machine worked there with another ledger."""
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("inbox.watching")
        daemon.kill()
    shutil.rmtree(merchant.state)
    assert f"this machine worked on {merchant.drop} with another one" in _checked(merchant)
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("inbox.watching")
        assert f"this machine worked on {merchant.drop} with another one" in _warnings(daemon)
        assert daemon.stop() == 0


def test_without_the_order_check_the_cost_is_said(merchant: Merchant) -> None:
    """Where orders are not looked at, nobody is told that nothing is sent twice."""
    _send(merchant, 5)
    shutil.rmtree(merchant.state)
    told = _checked(merchant, order_check="off")
    assert "what is dropped there once more is sent once more" in told
    assert "Nothing is sent twice" not in told


def test_what_an_earlier_ledger_filed_is_noted_for_good(merchant: Merchant) -> None:
    """Once a new ledger knows invoices, `check` still says that PDFs were there before it."""
    _send(merchant, 5)
    shutil.rmtree(merchant.state)
    _send(merchant, 6)
    assert "that were there before this ledger" not in _checked(merchant)
    with closing(sqlite3.connect(merchant.state / LEDGER_FILE)) as ledger:
        # As if the PDF had been filed two hours before: a file's ctime cannot be set.
        ledger.execute("UPDATE invoices SET first_seen = first_seen + 7200")
        ledger.commit()
    assert "that were there before this ledger" in _checked(merchant)


def test_entries_that_are_gone_are_told(merchant: Merchant) -> None:
    """A ledger that knows less than the service remembers (its log was deleted) is told, and doubles nothing."""
    with running(merchant, program=UNCHECKED) as daemon:
        merchant.drop_pdf("5.pdf")
        daemon.wait_for("invoice.processed")
        shutil.copy(merchant.state / LEDGER_FILE, merchant.home / "kept")
        with closing(sqlite3.connect(merchant.state / LEDGER_FILE)) as ledger:
            ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for number in (6, 7):
            merchant.drop_pdf(f"{number}.pdf")
        daemon.wait_for("invoice.processed", 3)
        _wait_for_entries(merchant, 3)
        daemon.kill()
    for name in _FILES[1:]:
        (merchant.state / name).unlink()
    words = "knows 1 invoices and knew 3"
    assert words in _checked(merchant)
    for number in (5, 6, 7):
        merchant.drop_pdf(f"{number}.pdf")
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("invoice.duplicate", 3)
        assert words in _warnings(daemon)
        assert daemon.stop() == 0
    assert _attachments(merchant) == {5: 1, 6: 1, 7: 1}


def _wait_for_entries(merchant: Merchant, entries: int) -> None:
    def remembered() -> bool:
        known = known_ledger(merchant.state)
        return known is not None and known.last_id >= entries

    wait_until(remembered, what="the service to remember all entries")


@pytest.mark.parametrize("damage", ["truncated", "another file", "hole"])
def test_a_damaged_ledger_is_78_and_there_is_a_way_on_without(merchant: Merchant, damage: str) -> None:
    """Start and `check` say that it is damaged and what to do; doing so sends nothing twice."""
    _send(merchant, *range(1, 31))
    ledger = merchant.state / LEDGER_FILE
    match damage:
        case "truncated":
            os.truncate(ledger, ledger.stat().st_size // 2)
        case "another file":
            ledger.write_bytes(b"not a database")
        case "hole":
            with ledger.open("r+b") as file:
                file.seek(4096 * 2)
                file.write(bytes(4096 * 5))
    done = merchant.run("run")
    assert done.returncode == 78, done.stderr
    assert f"the ledger {ledger} is damaged (" in done.stderr
    assert "last backup (invoicedrop backup)" in done.stderr
    assert _checked(merchant).startswith(f"problem: the ledger {ledger} is damaged (")
    if damage == "hole":
        checked = merchant.run("check")
        assert checked.returncode == 1
        assert f"the ledger {ledger} is damaged (" in " ".join(checked.stdout.split())
    for name in _FILES:
        if (merchant.state / name).exists():
            (merchant.state / name).rename(merchant.home / name)
    merchant.drop_pdf("5.pdf")
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("invoice.duplicate")
        assert daemon.stop() == 0
    assert set(_attachments(merchant).values()) == {1}


def test_damage_under_a_running_service_pauses_it_in_words(merchant: Merchant) -> None:
    """Torn pages that a running service meets move nothing, and the log and status name the backup as the way out."""
    with running(merchant, program=_UNCHECKED_QUICK) as daemon:
        for number in range(1, 31):
            merchant.drop_pdf(f"{number}.pdf")
        daemon.wait_for("invoice.processed", 30)
        with closing(sqlite3.connect(merchant.state / LEDGER_FILE)) as ledger:
            # What another process has written is read anew.
            ledger.execute("PRAGMA user_version = 7")
            ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = (merchant.state / LEDGER_FILE).stat().st_size
        with (merchant.state / LEDGER_FILE).open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (size - 4096))
        merchant.drop_pdf("40.pdf")
        daemon.wait_for("inbox.unavailable")
        detail = str(daemon.events("inbox.unavailable")[-1]["detail"])
        assert "is damaged (" in detail
        assert "last backup (invoicedrop backup)" in detail
        assert (merchant.drop / "40.pdf").exists()
        daemon.kill()
    assert 40 not in _attachments(merchant)


@pytest.mark.parametrize("leftovers", ["removed", "left"])
def test_a_restored_backup_doubles_nothing(merchant: Merchant, leftovers: str) -> None:
    """A backup made while uploads ran, put in place after a kill, sends nothing twice, whatever lay beside it."""
    backup = merchant.home / "backup"
    numbers = range(1, 61)
    for number in numbers[:40]:
        merchant.drop_pdf(f"{number}.pdf")
    with running(merchant, program=_UNCHECKED_QUICK) as daemon:
        daemon.wait_for("invoice.processed", 5)
        done = merchant.run("backup", str(backup))
        assert done.returncode == 0, done.stderr
        for number in numbers[40:]:
            merchant.drop_pdf(f"{number}.pdf")
        daemon.wait_for("invoice.processed", 50)
        _wait_for_entries(merchant, 50)
        daemon.kill()
    assert (merchant.state / _FILES[1]).stat().st_size
    shutil.copy(backup, merchant.state / LEDGER_FILE)
    if leftovers == "removed":
        for name in _FILES[1:]:
            (merchant.state / name).unlink()
    for number in numbers:
        merchant.drop_pdf(f"{number}.pdf")
    with running(merchant, program=_UNCHECKED_QUICK) as daemon:
        _wait_for_all(merchant, daemon)
        assert "knew" in _warnings(daemon)
        assert daemon.stop() == 0
    assert _attachments(merchant) == dict.fromkeys(numbers, 1)
    with closing(sqlite3.connect(merchant.state / LEDGER_FILE)) as ledger:
        assert ledger.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert len(list(merchant.state.glob(f"{LEDGER_FILE}-wal.*"))) == (leftovers == "left")


def _wait_for_all(merchant: Merchant, daemon: Daemon) -> None:
    wait_until(lambda: not list(merchant.drop.glob("*.pdf")), seconds=60, what="an empty drop folder")
    assert not merchant.failed.exists() or not list(merchant.failed.iterdir()), daemon.errors()


def test_commands_never_make_a_ledger_of_an_empty_file(merchant: Merchant) -> None:
    """To a command an empty file is no ledger, and it stays as it is: the start makes one of it, and says so."""
    merchant.state.mkdir()
    (merchant.state / LEDGER_FILE).touch()
    for command in ("check", "status", "verify"):
        merchant.run(command)
    assert (merchant.state / LEDGER_FILE).stat().st_size == 0
    _send(merchant, 5)
    with Ledger.open(Path(merchant.state)) as ledger:
        assert ledger.last_id() == 1
