import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from invoicedrop.ledger.ledger import LEDGER_FILE, Ledger
from merchant import Merchant, running
from quick_service import UNCHECKED


@pytest.fixture
def at_work(merchant: Merchant) -> Merchant:
    """A merchant who has a ledger."""
    merchant.state.mkdir()
    Ledger.open(merchant.state).close()
    return merchant


def test_a_backup_beside_a_running_service_says_what_it_holds(merchant: Merchant) -> None:
    """The copy is made while the service is at work, is a whole database, and the service goes on undisturbed."""
    target = merchant.home / "backup.sqlite3"
    with running(merchant, program=UNCHECKED) as daemon:
        merchant.drop_pdf("5.pdf")
        daemon.wait_for("invoice.processed")
        done = merchant.run("backup", str(target))
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{target}: 1 invoice, {target.stat().st_size} bytes, checked\n"
        merchant.drop_pdf("6.pdf")
        daemon.wait_for("invoice.processed", 2)
        assert daemon.stop() == 0
    with closing(sqlite3.connect(target)) as copy:
        assert copy.execute("SELECT order_id, state FROM invoices").fetchall() == [(5, "processed")]


def _plant(target: Path, what: str, merchant: Merchant) -> Path:
    match what:
        case "folder":
            target.mkdir()
        case "link":
            (merchant.home / "other").write_bytes(b"")
            target.symlink_to("other")
        case "dangling link":
            target.symlink_to("nowhere")
        case "FIFO":
            os.mkfifo(target)
        case "invoice":
            target.write_bytes(b"%PDF-1.7")
        case "link to the ledger":
            target.symlink_to(merchant.state / LEDGER_FILE)
        case "ledger by another name":
            target.hardlink_to(merchant.state / LEDGER_FILE)
        case "ledger" | "ledger-wal":
            return merchant.home / "." / "state" / f"{LEDGER_FILE}{what.removeprefix('ledger')}"
    return target


_REFUSED = {
    "folder": "is a folder",
    "link": "is a link",
    "dangling link": "is a link",
    "FIFO": "is no file",
    "invoice": "is no backup",
    "link to the ledger": "the ledger itself",
    "ledger by another name": "the ledger itself",
    "ledger": "the ledger itself",
    "ledger-wal": "the ledger itself",
}


@pytest.mark.parametrize("what", _REFUSED)
def test_what_a_backup_must_not_replace_is_wrong_usage(at_work: Merchant, what: str) -> None:
    """Nothing but an older backup is replaced: anything else under the name is exit code 2, and stays as it is."""
    target = _plant(at_work.home / "target", what, at_work)
    before = sorted((path.name, path.lstat().st_size) for path in (*at_work.home.iterdir(), *at_work.state.iterdir()))
    done = at_work.run("backup", str(target))
    assert done.returncode == 2
    assert _REFUSED[what] in " ".join(done.stderr.split())
    files = (*at_work.home.iterdir(), *at_work.state.iterdir())
    after = sorted((path.name, path.lstat().st_size) for path in files if path.suffix not in {".stdout", ".stderr"})
    assert after == before


def test_an_empty_file_may_be_replaced(at_work: Merchant) -> None:
    """A name that mktemp made is as good as none."""
    (at_work.home / "target").touch(mode=0o644)
    assert at_work.run("backup", "target").returncode == 0
    assert (at_work.home / "target").stat().st_size


@pytest.mark.parametrize("trouble", ["no ledger", "empty ledger", "no folder"])
def test_what_cannot_be_done_now_is_75(at_work: Merchant, trouble: str) -> None:
    """Without a ledger, or without the target's folder (a disk that is not mounted), nothing is written, in words."""
    target = at_work.home / ("missing/target" if trouble == "no folder" else "target")
    if trouble == "no ledger":
        (at_work.state / LEDGER_FILE).unlink()
    if trouble == "empty ledger":
        os.truncate(at_work.state / LEDGER_FILE, 0)
    done = at_work.run("backup", str(target))
    assert done.returncode == 75
    assert ("No such file" if trouble == "no folder" else "there is no ledger") in done.stderr
    assert not target.exists()
    assert (trouble == "no ledger") is not (at_work.state / LEDGER_FILE).exists()


def test_a_damaged_ledger_is_78(at_work: Merchant) -> None:
    """Then there is no backup, the older one stays, and the words are those of the start."""
    assert at_work.run("backup", "target").returncode == 0
    before = (at_work.home / "target").read_bytes()
    os.truncate(at_work.state / LEDGER_FILE, 5000)
    done = at_work.run("backup", "target")
    assert done.returncode == 78
    assert "is damaged" in done.stderr
    assert (at_work.home / "target").read_bytes() == before
