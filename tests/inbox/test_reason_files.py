"""The sweep of reasons: which have lost their invoice, and what it costs to find out."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fuse_folder import mounted
from invoicedrop.inbox.filed_names import orphaned_reasons, reason_path
from invoicedrop.inbox.held_folders import HeldFolders
from invoicedrop.inbox.reason_files import ReasonFiles

_LONGEST = "{:05}_" + "é" * 120 + ".pdf"
"""250 bytes."""
_SLOW = 0.005
"""Seconds that a look takes on a slow share."""


@contextmanager
def _slow_looks() -> Iterator[list[object]]:
    """Let each look at one name take 5 ms, as on a slow share; lend what was looked at."""
    looks: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("stat", "lstat"):
            patch.setattr(os, name, _slowed(getattr(os, name), looks))
        yield looks


def _slowed(call: Callable[..., Any], looks: list[object]) -> Callable[..., Any]:
    def look(path: object, *rest: Any, **more: Any) -> Any:
        looks.append(path)
        time.sleep(_SLOW)
        return call(path, *rest, **more)

    return look


@pytest.mark.parametrize("name", ["{}.pdf", _LONGEST])
def test_a_sweep_of_thousands_of_failures_is_one_listing(home: Path, name: str) -> None:
    """With 20,000 failures and their reasons, names of the longest included, no turn takes more than 0.3 s."""
    for number in range(20_000):
        invoice = home / name.format(number)
        for path in (invoice, reason_path(invoice)):
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    reasons = ReasonFiles(home, HeldFolders().held, file_mode=None)
    with _slow_looks() as looks:
        begun = time.thread_time()
        left = reasons.sweep(0.1)
        took = time.thread_time() - begun
    assert not left
    assert took < 0.3
    # The folder itself, as it is held: no single name.
    assert len(looks) <= 1


@pytest.mark.parametrize("name", ["{}.pdf", _LONGEST])
def test_thousands_of_orphans_are_removed_a_slice_at_a_time(home: Path, name: str) -> None:
    """Reasons whose invoices have all left go little by little, each turn looking no longer than it may."""
    for number in range(200):
        reason_path(home / name.format(number)).touch()
    (home / "kept.pdf").touch()
    reason_path(home / "kept.pdf").touch()
    reasons = ReasonFiles(home, HeldFolders().held, file_mode=None)
    turns: list[int] = []
    left = True
    with _slow_looks() as looks:
        while left:
            looks.clear()
            left = reasons.sweep(0.1)
            turns.append(len(looks))
    # By looks, not by the clock: a busy machine takes longer for each. One more for the last name, and the folder.
    assert max(turns) <= 0.1 / _SLOW + 3
    assert len(turns) > 1
    assert sorted(path.name for path in home.iterdir()) == ["kept.pdf", "kept.pdf.reason.txt"]


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_reason_stays_where_its_invoice_cannot_be_looked_at(tmp_path: Path, code: int) -> None:
    """Neither a sweep nor a retry removes the reason of an invoice that answers an error: it is not gone."""
    (tmp_path / "real").mkdir()
    (tmp_path / "failed").mkdir()
    with mounted(tmp_path / "real", tmp_path / "failed") as mirror:
        (mirror.real / "1.pdf").touch()
        (mirror.real / "1.pdf.reason.txt").touch()
        mirror.trouble["1.pdf"] = {"*": code}
        reasons = ReasonFiles(tmp_path / "failed", HeldFolders().held, file_mode=None)
        reasons.forget(tmp_path / "failed" / "1.pdf")
        assert not reasons.sweep()
        assert (mirror.real / "1.pdf.reason.txt").exists()


def test_only_reasons_of_ours_without_their_invoice_are_orphans() -> None:
    """A file of another kind whose name ends alike, and a reason beside its invoice in any spelling, are none."""
    long = "x" * 251 + ".pdf"
    cut = reason_path(Path(long)).name
    names = {"1.PDF", "1.PDF.reason.txt", "2.pdf.reason.txt", "3.txt.reason.txt", ".reason.txt", long, cut}
    assert orphaned_reasons(names) == [("2.pdf.reason.txt", "2.pdf")]
    assert {reason for reason, _ in orphaned_reasons(names - {long})} == {"2.pdf.reason.txt", cut}
