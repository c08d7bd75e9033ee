"""One name's trouble is its own: on a FUSE file system that answers for one name what shares and bad disks answer.

`MIRROR` (tests/fuse_folder.py) is mounted at the drop folder; the daemon, `status` and `check` are the real ones.
"""

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fuse_folder import FuseFolder, mounted
from invoicedrop.sandbox.paper import invoice_pdf
from merchant import Daemon, Merchant, running
from quick_service import QUICK, UNCHECKED, program
from waiting import wait_until

_CODES = ["EBUSY", "EAGAIN", "ETXTBSY", "ESTALE", "EUCLEAN", "EIO", "EACCES", "EPERM", "ENXIO", "ETIMEDOUT", "ENOTCONN"]
_OPERATIONS = ["open", "read", "getattr", "rename"]
_PAIRS = [
    # Each error at one operation, each operation with several errors, in every run; all of them behind the marker.
    pytest.param(
        operation, code, marks=() if index % len(_OPERATIONS) == _OPERATIONS.index(operation) else pytest.mark.soak
    )
    for index, code in enumerate(_CODES)
    for operation in _OPERATIONS
]
_QUICK = replace(QUICK, longest_retry=0.3, reason_sweep=0.1)


@pytest.fixture
def mirror(merchant: Merchant, tmp_path: Path) -> Iterator[FuseFolder]:
    """A drop folder that answers what a test wants."""
    real = tmp_path / "real"
    real.mkdir()
    with mounted(real, merchant.drop) as folder:
        yield folder


def _put(mirror: FuseFolder, *names: str) -> None:
    for name in names:
        (mirror.real / name).write_bytes(invoice_pdf(name))


def _status(merchant: Merchant) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(merchant.run("status", "--json").stdout)
    return told


def _lines_of(daemon: Daemon, name: str) -> list[dict[str, object]]:
    return [line for line in daemon.events("invoice.deferred") if line["file"] == name]


def _waits(merchant: Merchant) -> str:
    return "; ".join(str(file["why"]) for file in _status(merchant)["waiting"]["files"])


@pytest.mark.parametrize(("operation", "code"), _PAIRS)
def test_an_error_on_one_name_stops_nobody_else(
    merchant: Merchant, mirror: FuseFolder, operation: str, code: str
) -> None:
    """Whatever one name answers to whatever is done with it, the others go, it is named, and goes when that is over."""
    number: int = getattr(errno, code)
    # Where a rename is not permitted, a link is tried.
    mirror.trouble["1.pdf"] = dict.fromkeys((operation, "link") if operation == "rename" else (operation,), number)
    _put(mirror, "1.pdf", "2.pdf", "3.pdf")
    with running(merchant, program=program(_QUICK, checked=False)) as daemon:
        daemon.wait_for("invoice.processed", 2)
        wait_until(lambda: _lines_of(daemon, "1.pdf"), what="a word about it")
        told = str(_lines_of(daemon, "1.pdf")[0]["detail"])
        assert "1.pdf" in told
        assert os.strerror(number) in told
        assert daemon.events("inbox.unavailable") == []
        (waiting,) = _status(merchant)["waiting"]["files"]
        assert waiting["file"] == "1.pdf"
        if operation != "rename":
            # The daemon's report follows its log by a beat.
            wait_until(lambda: os.strerror(number) in _waits(merchant), what=f"{code} in the status")
        checked = merchant.run("check")
        assert "Traceback" not in checked.stderr
        if operation != "rename":
            assert "'1.pdf' cannot be read" in " ".join(checked.stdout.split())
        else:
            # No check may try that: the service says so, whose report follows its log by a beat.
            wait_until(lambda: "'1.pdf' could not go" in merchant.run("check").stdout, what="a word of the service's")
        mirror.trouble.clear()
        daemon.wait_for("invoice.processed", 3)
        assert daemon.stop() == 0
    assert sorted(path.name for path in (mirror.real / "processed").iterdir()) == ["1.pdf", "2.pdf", "3.pdf"]
    assert len(merchant.sandbox.uploads()) == 3


@pytest.mark.parametrize(
    ("name", "code"),
    [("notes.txt", "EIO"), (".hidden", "EACCES"), ("8355.pdf.part", "ESTALE"), ("1.pdf", "EIO"), ("1.pdf", "ESTALE")],
)
def test_an_entry_that_cannot_be_looked_at_stops_nothing(
    merchant: Merchant, mirror: FuseFolder, name: str, code: str
) -> None:
    """Whatever the entry is, daemon, `status` and `check` go on, and name it if it is an invoice."""
    _put(mirror, name, "2.pdf")
    mirror.trouble[name] = {"*": getattr(errno, code)}
    with running(merchant, program=program(_QUICK, checked=False)) as daemon:
        daemon.wait_for("invoice.processed")
        assert daemon.events("inbox.unavailable") == []
        overview = _status(merchant)
        checked = merchant.run("check")
        assert "Traceback" not in checked.stderr
        assert overview["inboxes"][0]["trouble"] is None
        assert [file["file"] for file in overview["waiting"]["files"]] == (["1.pdf"] if name == "1.pdf" else [])
        assert ("'1.pdf' cannot be read" in " ".join(checked.stdout.split())) is (name == "1.pdf")
        assert daemon.stop() == 0
    assert merchant.run("run", "--once", program=UNCHECKED).returncode == (75 if name == "1.pdf" else 0)


@pytest.mark.long
def test_several_names_that_fail_in_a_row_are_told_and_the_next_good_one_goes(
    merchant: Merchant, mirror: FuseFolder
) -> None:
    """Three files that cannot be opened are the inbox's trouble until another file passes, which is soon."""
    bad = ["1.pdf", "2.pdf", "3.pdf", "4.pdf"]
    mirror.trouble.update({name: {"open": errno.EBUSY} for name in bad})
    _put(mirror, *bad)
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("inbox.unavailable")
        told = str(daemon.events("inbox.unavailable")[0]["detail"])
        assert "several files" in told
        assert "open in another program on the share; close it there" in told
        begun = time.monotonic()
        _put(mirror, "5.pdf")
        daemon.wait_for("invoice.processed")
        assert time.monotonic() - begun < 5
        mirror.trouble.clear()
        daemon.wait_for("invoice.processed", 5, seconds=60)
        assert daemon.stop() == 0


def test_a_lease_of_another_program_is_waited_for(merchant: Merchant) -> None:
    """A file on which a file server holds a lease answers EAGAIN: the other one goes, and it goes when it is free."""
    path = merchant.drop / "1.pdf"
    path.write_bytes(invoice_pdf("1"))
    descriptor = os.open(path, os.O_RDWR)
    # The kernel asks for it back by SIGIO, which this process does not answer.
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, 17)
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    try:
        with running(merchant, program=program(_QUICK, checked=False)) as daemon:
            merchant.drop_pdf("2.pdf")
            daemon.wait_for("invoice.processed")
            wait_until(lambda: _lines_of(daemon, "1.pdf"), what="a word about it")
            assert "open in another program" in str(_lines_of(daemon, "1.pdf")[0]["detail"])
            wait_until(lambda: "open in another program" in _waits(merchant), what="the cause in the status")
            assert "open in another program" in " ".join(merchant.run("check").stdout.split())
            assert daemon.events("inbox.unavailable") == []
            os.close(descriptor)
            descriptor = -1
            daemon.wait_for("invoice.processed", 2)
            assert daemon.stop() == 0
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _ticks(daemon: Daemon) -> int:
    fields = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.long
@pytest.mark.parametrize("trouble", ["one name", "several names", "the folder", "a full disk", "a rename", "a look"])
def test_waiting_takes_no_processor(merchant: Merchant, mirror: FuseFolder, trouble: str) -> None:
    """While names wait, or the whole inbox does, no turn of the loop finds a due time in the past."""
    many = ["1.pdf"] if trouble != "several names" else [f"{number}.pdf" for number in range(1, 6)]
    kind = {"a rename": "rename", "a full disk": "rename", "a look": "getattr"}.get(trouble, "open")
    code = errno.ENOSPC if trouble == "a full disk" else errno.EBUSY
    mirror.trouble.update({name: {kind: code} for name in many})
    _put(mirror, *many)
    timing = replace(QUICK, file_retry=30.0, first_probe=30.0, longest_probe=60.0)
    with running(merchant, program=program(timing, checked=False), scan_interval="1") as daemon:
        daemon.wait_for(*(("inbox.unavailable", 1) if trouble == "a full disk" else ("invoice.deferred", len(many))))
        if trouble == "the folder":
            mirror.trouble["drop"] = mirror.trouble["real"] = {"opendir": errno.EIO, "mkdir": errno.EIO}
            daemon.wait_for("inbox.unavailable")
        begun = time.monotonic()
        wait_until(lambda: time.monotonic() - begun > 2, what="the end of what the start costs")
        before = _ticks(daemon)
        begun = time.monotonic()
        wait_until(lambda: time.monotonic() - begun > 4, what="4 s")
        assert _ticks(daemon) - before <= 2, "hundredths of a second in 4 s"


def test_a_reason_stays_while_its_invoice_cannot_be_looked_at(merchant: Merchant, mirror: FuseFolder) -> None:
    """An invoice in failed that answers EIO is not gone: its reason stays, and goes when it has really left."""
    _put(mirror, "nonsense.pdf")
    reason = mirror.real / "failed" / "nonsense.pdf.reason.txt"
    with running(merchant, program=program(_QUICK, checked=False)) as daemon:
        daemon.wait_for("invoice.failed")
        mirror.trouble["nonsense.pdf"] = {"*": errno.EIO}
        begun = time.monotonic()
        wait_until(lambda: time.monotonic() - begun > 1, what="some sweeps")
        assert reason.exists()
        assert _status(merchant)["failed"]["total"] == 1
        assert [file["file"] for file in _status(merchant)["failed"]["files"]] == ["nonsense.pdf"]
        mirror.trouble.clear()
        (mirror.real / "failed" / "nonsense.pdf").unlink()
        wait_until(lambda: not reason.exists(), what="the sweep")
        assert daemon.stop() == 0


def test_inode_numbers_that_change_at_every_look_are_told_and_done_without(
    merchant: Merchant, mirror: FuseFolder
) -> None:
    """On a FUSE file system without stable inode numbers invoices go all the same, and the log says what it is."""
    mirror.unstable_inodes = True
    _put(mirror, "1.pdf", "nonsense.pdf")
    with running(merchant, program=program(_QUICK, checked=False)) as daemon:
        daemon.wait_for("invoice.processed")
        daemon.wait_for("invoice.failed")
        assert any("inode numbers" in str(line.get("detail")) for line in daemon.events("inbox.watching"))
        assert daemon.stop() == 0
    assert len(merchant.sandbox.uploads()) == 1


def test_files_that_cannot_be_read_fill_no_log(merchant: Merchant, mirror: FuseFolder) -> None:
    """Each of many unreadable files is told once, however often it is tried."""
    names = [f"{number}.pdf" for number in range(1, 31)]
    mirror.trouble.update({name: {"open": errno.EACCES} for name in names})
    _put(mirror, *names)
    timing = replace(QUICK, longest_retry=0.1, next_file=0.005)
    with running(merchant, program=program(timing, checked=False)) as daemon:
        wait_until(lambda: sum(name == "31.pdf" for _, name in mirror.seen) or _opened(mirror) > 200, what="many tries")
        assert all(len(_lines_of(daemon, name)) <= 1 for name in names)
        assert len(daemon.events("inbox.unavailable")) == 1
        assert daemon.stop() == 0


def _opened(mirror: FuseFolder) -> int:
    return sum(operation == "open" for operation, _ in mirror.seen)


def test_many_foreign_files_are_counted(merchant: Merchant) -> None:
    """Of foreign files the first hundred have a line each; the others are counted in one."""
    for number in range(500):
        (merchant.drop / f"notes {number}.txt").touch()
    with running(merchant, program=program(_QUICK, checked=False)) as daemon:
        daemon.wait_for("inbox.watching")
        merchant.drop_pdf("1.pdf")
        daemon.wait_for("invoice.processed")
        lines = daemon.events("file.ignored")
        assert len([line for line in lines if "file" in line]) == 100
        assert [line["count"] for line in lines if "file" not in line] == [500]
        assert daemon.stop() == 0
