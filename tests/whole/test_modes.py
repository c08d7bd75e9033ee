"""The rights that filed invoices, reasons and folders get: for whoever else shares the folders."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from invoicedrop.system.disk import give_mode
from merchant import Merchant


def _mode(path: Path) -> str:
    return f"{path.stat().st_mode & 0o7777:04o}"


def test_modes_are_given_whatever_the_umask(merchant: Merchant) -> None:
    """With file_mode and dir_mode set, invoices, reasons and the folders made for them have exactly these rights."""
    merchant.drop_pdf("8.pdf")
    merchant.drop_pdf("9.pdf", b"%PDF-1.4 no more than this")
    (merchant.drop / "8.pdf").chmod(0o600)
    before = os.umask(0o077)
    try:
        done = merchant.run("run", "--once", file_mode="0640", dir_mode="2770", incomplete_grace="0")
    finally:
        os.umask(before)
    assert done.returncode == 1, done.stderr
    assert [_mode(folder) for folder in (merchant.processed, merchant.failed)] == ["2770", "2770"]
    files = [merchant.processed / "8.pdf", merchant.failed / "9.pdf", merchant.failed / "9.pdf.reason.txt"]
    assert [_mode(file) for file in files] == ["0640"] * 3


def test_without_modes_nothing_is_changed(merchant: Merchant) -> None:
    """Without the settings an invoice keeps its rights, and what is made follows the umask; so do folders there."""
    merchant.drop_pdf("8.pdf")
    merchant.drop_pdf("9.pdf", b"%PDF-1.4 no more than this")
    (merchant.drop / "8.pdf").chmod(0o604)
    merchant.processed.mkdir(mode=0o701)
    before = os.umask(0o027)
    try:
        done = merchant.run("run", "--once", incomplete_grace="0")
    finally:
        os.umask(before)
    assert done.returncode == 1, done.stderr
    assert (_mode(merchant.processed), _mode(merchant.failed)) == ("0701", "0750")
    assert _mode(merchant.processed / "8.pdf") == "0604"
    assert _mode(merchant.failed / "9.pdf.reason.txt") == "0640"


_AS_SOMEBODY_ELSE = """
import os, sys
from invoicedrop.system.disk import give_mode
from pathlib import Path
os.setgroups([]); os.setgid(12345); os.setuid(12345)
give_mode(Path(sys.argv[1]), 0o666)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_rights_that_cannot_be_given_hold_nobody_up() -> None:
    """A file that belongs to somebody else keeps its rights, and that is no error."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        file = Path(folder) / "8.pdf"
        file.touch()
        file.chmod(0o644)
        subprocess.run([sys.executable, "-c", _AS_SOMEBODY_ELSE, str(file)], check=True, cwd="/")
        assert _mode(file) == "0644"


def test_rights_are_not_given_through_a_link(tmp_path: Path) -> None:
    """Somebody who puts a link in the place of an invoice does not get at the file behind it."""
    ours = tmp_path / "ledger"
    ours.touch(mode=0o600)
    (tmp_path / "8.pdf").symlink_to(ours)
    give_mode(tmp_path / "8.pdf", 0o666)
    assert _mode(ours) == "0600"


def test_folder_keeps_the_group_that_it_inherits(merchant: Merchant) -> None:
    """A setgid bit that the drop folder hands down stays, whatever dir_mode says beside it."""
    merchant.drop.chmod(0o2770)
    merchant.drop_pdf("8.pdf")
    merchant.run("run", "--once", dir_mode="0750")
    assert _mode(merchant.processed) == "2750"
