"""What lies in a drop folder: which entries are invoices, and why the others are left alone."""

import stat
from pathlib import Path

import pytest

from invoicedrop.errors import Changed, FileUnavailable
from invoicedrop.inbox.listing import list_folder, look_up, require_present, why_left_alone


@pytest.mark.parametrize(
    "name",
    [
        ".8355.pdf",
        ".hidden",
        "~$8355.pdf",
        "8355.pdf.tmp",
        "8355.pdf.part",
        "8355.PDF.PARTIAL",
        "8355.pdf.filepart",
        "8355.pdf.crdownload",
        "Thumbs.db",
        "THUMBS.DB",
        "desktop.ini",
        "8355.txt",
        "8355.pdf.reason.txt",
        "8355",
        "8355pdf",
        "8355. pdf",
    ],
)
def test_names_of_others_are_left_alone(name: str) -> None:
    """Hidden and temporary files, and files of other kinds, are none of our business."""
    assert why_left_alone(name, stat.S_IFREG) is not None


@pytest.mark.parametrize(
    "name", ["8355.pdf", "8355.PDF", "8355 (1).pdf", "invoice.pdf", "a.tmp.pdf", "1.pdf ", "1.pdf."]
)
def test_every_pdf_is_our_business(name: str) -> None:
    """A PDF with a bad name is not ignored: it is rejected, so that somebody hears of it."""
    assert why_left_alone(name, stat.S_IFREG) is None


@pytest.mark.parametrize(
    ("name", "mode", "why"),
    [
        (".8355.pdf", stat.S_IFREG, "hidden file"),
        (".8355.pdf", stat.S_IFDIR, "a hidden file"),
        ("8355.pdf.part", stat.S_IFREG, "temporary file"),
        ("8355.txt", stat.S_IFREG, "not a .pdf file"),
        ("8355.pdf", stat.S_IFDIR, "a folder"),
        ("8355.txt", stat.S_IFLNK, "a symbolic link"),
        ("8355.pdf", stat.S_IFIFO, "a FIFO"),
        ("8355.pdf", stat.S_IFSOCK, "a socket"),
        ("8355.pdf", stat.S_IFBLK, "a device"),
        ("8355.pdf", stat.S_IFCHR, "a device"),
        ("8355.pdf", 0, "no regular file"),
    ],
)
def test_what_is_left_alone_has_a_reason(name: str, mode: int, why: str) -> None:
    """The log says what an entry is: the kind of its name, or what it is instead of a regular file."""
    assert why_left_alone(name, mode) == why


def test_a_listing_has_every_entry_with_its_status(tmp_path: Path) -> None:
    """Invoices and what is left alone come with their own status (links not followed), as a look at one name does."""
    (tmp_path / "1.pdf").write_bytes(b"%PDF")
    (tmp_path / "2.pdf").symlink_to("1.pdf")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "processed").mkdir()
    entries = {entry.name: entry for entry in list_folder(tmp_path)}
    assert {name: entry.left_alone for name, entry in entries.items()} == {
        "1.pdf": None,
        "2.pdf": "a symbolic link",
        "notes.txt": "not a .pdf file",
        "processed": "a folder",
    }
    for name, entry in entries.items():
        assert entry.status is not None
        assert entry.status.st_ino == (tmp_path / name).lstat().st_ino
        assert look_up(tmp_path, name) == entry


def test_an_entry_that_vanishes_is_left_out(tmp_path: Path) -> None:
    """A file that somebody takes away while the folder is listed is no error, and not listed."""
    for number in range(3):
        (tmp_path / f"{number}.pdf").write_bytes(b"%PDF")
    entries = list_folder(tmp_path)
    first = next(entries).name
    for path in tmp_path.iterdir():
        if path.name != first:
            path.unlink()
    assert list(entries) == []


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """A missing folder is not taken for an empty one."""
    with pytest.raises(FileNotFoundError):
        list(list_folder(tmp_path / "drop"))


def test_a_file_is_required_to_be_there(tmp_path: Path) -> None:
    """Whatever is there passes, what is gone has changed, and what cannot be seen is that file's own trouble."""
    (tmp_path / "1.pdf").symlink_to("nowhere")
    require_present(tmp_path / "1.pdf")
    with pytest.raises(Changed):
        require_present(tmp_path / "2.pdf")
    with pytest.raises(FileUnavailable):
        require_present(tmp_path / ("8" * 300 + ".pdf"))
