"""The real command, with somebody at work who may write into the drop folder."""

import ctypes
import os
from pathlib import Path

import pytest

from invoicedrop.sandbox.paper import invoice_pdf
from merchant import Merchant, running
from quick_service import QUICK, program
from waiting import wait_until

COUNT = 30
_LIBC = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def _exchange(one: Path, other: Path) -> None:
    """Exchange two names in one step: in between, the daemon would make the folder anew."""
    done = _LIBC.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    assert done == 0, os.strerror(ctypes.get_errno())


def names(folder: Path) -> set[str]:
    """Return the PDFs in a folder."""
    return {path.name for path in folder.glob("*.pdf")}


@pytest.mark.parametrize("name", [".invoicedrop-aside-x", ".invoicedrop-aside-0123456789abcdef"])
def test_a_planted_link_brings_no_file_into_the_drop_folder(merchant: Merchant, name: str) -> None:
    """A link to a folder with secrets, named like a folder of ours: they stay there, and the invoices go."""
    secrets = merchant.home / "secrets"
    secrets.mkdir()
    (secrets / "api_token").write_text("secret")
    (secrets / "9.pdf").write_bytes(invoice_pdf("9"))
    (merchant.drop / name).symlink_to(secrets)
    (merchant.drop / ".invoicedrop-0123456789abcdef.tmp").mkdir()
    merchant.drop_pdf("8.pdf")
    with running(merchant, "run", "--once", program=program(QUICK, checked=False)) as daemon:
        assert daemon.wait() == 0
    assert {path.name for path in secrets.iterdir()} == {"api_token", "9.pdf"}
    assert names(merchant.processed) == {"8.pdf"}
    assert len(merchant.sandbox.uploads()) == 1


@pytest.mark.parametrize("which", ["processed", "failed"])
def test_a_folder_exchanged_for_a_link_while_we_work_gets_nothing(merchant: Merchant, which: str) -> None:
    """Exchanged in the midst of thirty files, the inbox waits and says so; put back, each goes once, none elsewhere."""
    elsewhere = merchant.home / "elsewhere"
    elsewhere.mkdir()
    content = None if which == "processed" else b"%PDF-1.7 nothing but this\n%%EOF"
    folder: Path = getattr(merchant, which)
    moved = folder.with_name("moved")
    with running(merchant, "run", program=program(QUICK, checked=which == "failed"), upload_workers="1") as daemon:
        daemon.wait_for("inbox.watching")
        for number in range(1, COUNT + 1):
            merchant.drop_pdf(f"{number}.pdf", content)
        wait_until(lambda: len(names(folder)) >= 3, what="some that are filed")
        moved.symlink_to(elsewhere)
        _exchange(folder, moved)
        daemon.wait_for("inbox.unavailable")
        assert list(elsewhere.iterdir()) == []
        assert str(folder) in str(daemon.events("inbox.unavailable")[0]["detail"])
        _exchange(folder, moved)
        moved.unlink()
        wait_until(lambda: len(names(folder)) == COUNT, what="all that are filed")
        assert daemon.stop() == 0
    assert list(elsewhere.iterdir()) == []
    assert names(merchant.drop) == set()
    assert len(merchant.sandbox.uploads()) == (COUNT if which == "processed" else 0)
