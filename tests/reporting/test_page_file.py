"""The page's file: whole, ours, and never in the place of anything else."""

import errno
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from invoicedrop.reporting.page.file import MARK, NotOurPage, clear_unfinished, require_ours, write_page
from invoicedrop.system import disk

OURS = f"<!doctype html>\n{MARK}\n<p>".encode()


def leftovers(folder: Path) -> list[str]:
    """Return the temporary files in a folder."""
    return [path.name for path in folder.iterdir() if path.name.startswith(disk.TEMPORARY)]


def test_a_page_is_written_and_replaced(tmp_path: Path) -> None:
    """The first page and each next one are there whole, with the rights asked for, and leave nothing beside."""
    page = tmp_path / "status.html"
    for number in range(3):
        write_page(page, OURS + bytes([number]), mode=0o640)
        assert page.read_bytes() == OURS + bytes([number])
        assert stat.S_IMODE(page.stat().st_mode) == 0o640
    assert leftovers(tmp_path) == []


def test_a_reader_never_sees_half_a_page(tmp_path: Path) -> None:
    """However often it is replaced, whoever opens the page gets a whole one."""
    page = tmp_path / "status.html"
    body = OURS + b"x" * 100_000
    write_page(page, body, mode=None)
    done = threading.Event()
    sizes: set[int] = set()

    def read() -> None:
        while not done.is_set():
            sizes.add(len(page.read_bytes()))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(30):
        write_page(page, body, mode=None)
    done.set()
    reader.join()
    assert sizes == {len(body)}


def a_page_of_somebody(path: Path) -> None:
    """Have a page there that a person has made."""
    path.write_text("<!doctype html><h1>our canteen</h1>")


def a_folder(path: Path) -> None:
    """Have a folder there."""
    path.mkdir()


def a_link(path: Path) -> None:
    """Have a link there, to a page of ours elsewhere."""
    target = path.parent / "elsewhere.html"
    target.write_bytes(OURS)
    path.symlink_to(target)


def a_dangling_link(path: Path) -> None:
    """Have a link there to a file that is not there yet, where the attacker wants one."""
    path.symlink_to(path.parent / "elsewhere.html")


def a_fifo(path: Path) -> None:
    """Have a FIFO there, which nobody writes into."""
    os.mkfifo(path)


def an_empty_file(path: Path) -> None:
    """Have an empty file there."""
    path.touch()


@pytest.mark.parametrize("put", [a_page_of_somebody, a_folder, a_link, a_dangling_link, a_fifo, an_empty_file])
def test_what_is_not_ours_stays(tmp_path: Path, put: Any) -> None:
    """What somebody else has put in the page's place stays, is not followed, and the words say what to do."""
    page = tmp_path / "status.html"
    put(page)
    before = page.lstat()
    elsewhere = sorted(path.name for path in tmp_path.iterdir())
    for attempt in (lambda: write_page(page, OURS + b"new", mode=None), lambda: require_ours(page)):
        with pytest.raises(NotOurPage, match="rename it, or set status_page"):
            attempt()
    assert page.lstat()[:7] == before[:7]
    assert sorted(path.name for path in tmp_path.iterdir()) == elsewhere
    assert all(b"new" not in path.read_bytes() for path in tmp_path.iterdir() if path.is_file())


def test_a_page_that_appears_meanwhile_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of a person's that is put there just before the first one of ours stays."""
    page = tmp_path / "status.html"
    real = disk.give_mode

    def meanwhile(path: Path, mode: int | None) -> None:
        page.write_text("our canteen")
        real(path, mode)

    monkeypatch.setattr(disk, "give_mode", meanwhile)
    with pytest.raises(FileExistsError):
        write_page(page, OURS, mode=None)
    assert page.read_text() == "our canteen"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("code", [errno.EBUSY, errno.ETXTBSY, errno.EACCES, errno.EIO])
def test_a_page_that_is_held_keeps_what_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """While a browser on a share holds the page, the old one stays whole, and nothing is left beside it."""
    page = tmp_path / "status.html"
    write_page(page, OURS, mode=None)

    def refuse(*_paths: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(disk, "replace", refuse)
    with pytest.raises(OSError, match=os.strerror(code)):
        write_page(page, OURS + b"new", mode=None)
    assert page.read_bytes() == OURS
    assert leftovers(tmp_path) == []


def test_what_a_crash_left_goes_and_what_is_being_written_stays(tmp_path: Path) -> None:
    """In a folder that no inbox clears, an old unfinished page goes; one being written, and others' files, stay."""
    old = disk.write_new(tmp_path, b"half a page")
    os.utime(old, (0, 0))
    new = disk.write_new(tmp_path, b"another page that is being written")
    (tmp_path / ".somebody.tmp").touch()
    clear_unfinished(tmp_path, now=time.time())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([new.name, ".somebody.tmp"])
