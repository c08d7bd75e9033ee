"""What is left alone and looks as if somebody waited for it, in real folders."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from invoicedrop.inbox.left_alone import LeftAlone
from invoicedrop.inbox.listing import list_folder
from invoicedrop.invoice import OrderIdKind

NOW = 1_800_000_000.0
HOUR = 3600.0


def awaited(folder: Path, kind: OrderIdKind = "channable", *, max_looks: int = 200) -> dict[str, str]:
    """Return what is told of the entries of a folder."""
    judge = LeftAlone(folder, kind, own_paths={folder / "failed"}, now=NOW, max_looks=max_looks)
    told = {entry.name: judge.why_awaited(entry) for entry in list_folder(folder)}
    return {name: why for name, why in told.items() if why is not None}


def _file(content: bytes = b"", *, age: float = 0.0) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(content)
        os.utime(path, (NOW - age, NOW - age))

    return make


def _folder(*names: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.mkdir()
        for name in names:
            (path / name).touch()

    return make


def _link(path: Path) -> None:
    path.symlink_to("elsewhere")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


OLD_PART = _file(age=HOUR + 1)


@pytest.mark.parametrize(
    ("name", "make", "word"),
    [
        ("8355", _file(), "without the ending"),
        ("8355.docx", _file(), "without the ending"),
        ("8355_2.PDF_", _file(), "without the ending"),
        ("8355(1).bak", _file(), "without the ending"),
        ("8355.pdf.bak", _file(), "without the ending"),
        ("8355 Rechnung", _file(), "without the ending"),
        ("scan", _file(b"%PDF-1.7"), "a PDF inside"),
        ("Rechnung.dat", _file(b"junk\n%PDF-1.7"), "a PDF inside"),
        ("8355.pdf.filepart", OLD_PART, "temporary name"),
        ("Rechnung.tmp", OLD_PART, "temporary name"),
        (".8355.pdf", OLD_PART, "hidden file"),
        (".8355.pdf.Xa3bQ1", OLD_PART, "hidden file"),
        ("~$8355.pdf", OLD_PART, "named like an invoice"),
        ("8355.pdf", _folder(), "a folder"),
        ("202611", _folder(), "a folder"),
        ("November", _folder("8355.pdf"), "a folder with PDFs"),
        ("8355.pdf", _link, "a symbolic link"),
        ("8355", _link, "a symbolic link"),
        ("8355.pdf", os.mkfifo, "a FIFO"),
        ("8355.pdf", _socket, "a socket"),
    ],
)
def test_what_may_be_meant_as_an_invoice_is_told(
    tmp_path: Path, name: str, make: Callable[[Path], None], word: str
) -> None:
    """An order's name with another ending, a PDF inside, an old temporary name, a folder or link: each with its why."""
    make(tmp_path / name)
    told = awaited(tmp_path)
    assert list(told) == [name]
    assert word in told[name]


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("8355.pdf", _file(b"%PDF-1.7")),
        ("8355.pdf.reason.txt", _file()),
        ("notes.txt", _file(b"read me")),
        ("status.html", _file(b"<!doctype html>")),
        ("8355-2.txt", _file()),
        ("8355.pdf.filepart", _file(age=HOUR - 1)),
        ("8355.pdf.filepart", _file(age=-HOUR)),
        (".8355.pdf", _file()),
        (".DS_Store", OLD_PART),
        ("._8355.pdf", OLD_PART),
        ("~$Rechnung.docx", OLD_PART),
        ("Thumbs.db", OLD_PART),
        (".invoicedrop-12.tmp", OLD_PART),
        ("failed", _folder("8355.pdf")),
        ("archive", _folder("notes.txt")),
        ("#recycle", _folder("8355.pdf")),
        (".Trash-1000", _folder("8355.pdf")),
        ("elsewhere", _link),
        ("queue", os.mkfifo),
    ],
)
def test_what_is_nobodys_invoice_is_not_told(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    """Invoices themselves, our own files and folders, and what programs leave beside files are none of these."""
    make(tmp_path / name)
    assert awaited(tmp_path) == {}


def test_marketplace_numbers_are_names_too(tmp_path: Path) -> None:
    """With marketplace numbers a word with few digits is no order's name yet."""
    for name in ("302-1234567-1234567.txt", "302-1234567-1234567", "notes2.txt", "Brief"):
        (tmp_path / name).touch()
    assert set(awaited(tmp_path, "marketplace")) == {"302-1234567-1234567.txt", "302-1234567-1234567"}


def test_only_so_many_are_looked_into(tmp_path: Path) -> None:
    """Among many foreign files only some are opened; names are judged all the same."""
    for number in range(10):
        (tmp_path / f"scan{number}").write_bytes(b"%PDF-1.7")
        (tmp_path / f"{number + 1}.txt").touch()
    told = awaited(tmp_path, max_looks=3)
    assert sum(name.startswith("scan") for name in told) == 3
    assert sum(name.endswith(".txt") for name in told) == 10


def test_what_cannot_be_looked_into_is_passed_over(tmp_path: Path) -> None:
    """A file that goes, or becomes another, between the listing and the look is nothing to tell of."""
    (tmp_path / "scan").write_bytes(b"%PDF-1.7")
    (entry,) = list_folder(tmp_path)
    (tmp_path / "scan").unlink()
    (tmp_path / "scan").symlink_to("/dev/zero")
    assert LeftAlone(tmp_path, "channable", own_paths=(), now=NOW).why_awaited(entry) is None


def test_our_own_page_is_nothing_to_wonder_about(tmp_path: Path) -> None:
    """A status page is not told of, however it is called; another file of such a name is."""
    for name in ("8355.html", "8356.html"):
        (tmp_path / name).write_text("<!doctype html>")
    judge = LeftAlone(tmp_path, "channable", own_paths={tmp_path / "8355.html"}, now=NOW)
    assert {entry.name for entry in list_folder(tmp_path) if judge.why_awaited(entry)} == {"8356.html"}


def test_a_hundred_thousand_foreign_names_cost_little(tmp_path: Path) -> None:
    """Judging names costs a fraction of listing them."""
    for name in ("notes.txt", "2026-11-25 backup.log"):
        (tmp_path / name).touch()
    entries = list(list_folder(tmp_path))
    judge = LeftAlone(tmp_path, "channable", own_paths=(), now=NOW)
    began = time.process_time()
    for _ in range(50_000):
        for entry in entries:
            judge.why_awaited(entry)
    assert time.process_time() - began < 5
