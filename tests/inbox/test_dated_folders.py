"""A processed folder for each month: made as needed, never through a link, and found again after a crash."""

import os
import shutil
import stat
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from invoicedrop.errors import FolderUnavailable
from invoicedrop.inbox.filing import Filing
from invoicedrop.inbox.identity import Identity, digest, identity_of
from invoicedrop.system.dated_folder import DatedFolder, problem_with
from manual_clock import ManualClock

ROOT = Path(__file__).parents[2]


def moment(*when: int) -> float:
    """Return a local time, in seconds since the epoch."""
    return datetime(*when).timestamp()  # type: ignore[arg-type]  # noqa: DTZ001 - local


class Inbox:
    """The folders of an inbox, on a clock that is set."""

    def __init__(self, home: Path, pattern: str = "processed/{year}/{month}", **more: int) -> None:
        self.home = home
        self.drop = home / "drop"
        self.drop.mkdir(exist_ok=True)
        self.clock = ManualClock()
        self.clock.now = moment(2026, 11, 30, 23, 59, 50)
        self.pattern = home / pattern
        self.filing = Filing(self.drop, self.pattern, home / "failed", clock=self.clock, **more)

    def dropped(self, name: str, content: bytes = b"ours") -> tuple[str, Identity, str]:
        """Drop a file; return what filing it needs."""
        path = self.drop / name
        path.write_bytes(content)
        return name, identity_of(path.lstat()), digest(path)

    def file(self, name: str, content: bytes = b"ours") -> str:
        """Drop and file an invoice; return where to."""
        return str(self.filing.processed(*self.dropped(name, content)).relative_to(self.home))


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    """Folders at the end of November 2026."""
    made = Inbox(tmp_path)
    made.filing.prepare()
    return made


def test_a_month_turns(inbox: Inbox) -> None:
    """Each invoice goes to the month of its filing; a name of another month is no obstacle, and is not touched."""
    assert inbox.file("8.pdf", b"one") == "processed/2026/11/8.pdf"
    assert inbox.file("8.pdf", b"two").startswith("processed/2026/11/8_2026")
    inbox.clock.now += 20
    assert inbox.file("8.pdf", b"three") == "processed/2026/12/8.pdf"
    inbox.clock.now += 31 * 86_400
    assert inbox.file("8.pdf", b"four") == "processed/2027/01/8.pdf"
    kept = sorted(path.read_bytes() for path in inbox.home.glob("processed/*/*/*.pdf"))
    assert kept == [b"four", b"one", b"three", b"two"]


def test_what_was_cleared_is_made_again(inbox: Inbox) -> None:
    """A month's, or a year's, folder that somebody removed while the service runs is no trouble."""
    inbox.file("8.pdf")
    shutil.rmtree(inbox.home / "processed/2026")
    assert inbox.file("9.pdf") == "processed/2026/11/9.pdf"


def test_made_folders_get_their_rights(tmp_path: Path) -> None:
    """`dir_mode` is for each folder that is made."""
    inbox = Inbox(tmp_path, dir_mode=0o2770)
    inbox.filing.prepare()
    inbox.clock.now += 20
    inbox.file("8.pdf")
    for place in ("processed", "processed/2026", "processed/2026/11", "processed/2026/12"):
        assert stat.S_IMODE((tmp_path / place).stat().st_mode) & 0o777 == 0o770, place


@pytest.mark.parametrize("left", ["linked", "copied"])
def test_a_move_that_a_crash_broke_off_is_finished_in_its_month(inbox: Inbox, left: str) -> None:
    """What lies in last month's folder already is not put into this one's as well."""
    arguments = inbox.dropped("8.pdf")
    half_done = inbox.home / "processed/2026/11/8.pdf"
    if left == "linked":
        os.link(inbox.drop / "8.pdf", half_done)
    else:
        half_done.write_bytes(b"ours")
    since, inbox.clock.now = inbox.clock.now, inbox.clock.now + 20
    later = Inbox(inbox.home)
    later.clock.now = inbox.clock.now
    later.filing.prepare()
    assert later.filing.processed(*arguments, resumed=True, since=since) == half_done
    assert later.filing.lies_in(inbox.pattern, "8.pdf", arguments[2], since=since) == half_done
    assert list(inbox.drop.iterdir()) == []
    assert list(inbox.home.rglob("8*.pdf")) == [half_done]


def test_what_was_moved_just_before_a_crash_is_found_in_its_month(inbox: Inbox) -> None:
    """The entry is completed with where the file lies; nothing is looked for before it was accepted."""
    arguments = inbox.dropped("8.pdf")
    accepted = inbox.clock.now
    filed = inbox.filing.processed(*arguments)
    inbox.clock.now += 40 * 86_400
    assert inbox.filing.lies_in(inbox.pattern, "8.pdf", arguments[2], since=accepted) == filed
    assert inbox.filing.lies_in(inbox.pattern, "8.pdf", arguments[2], since=inbox.clock.now) is None
    assert inbox.filing.lies_in(inbox.pattern, "9.pdf", arguments[2], since=accepted) is None


@pytest.mark.parametrize("place", ["processed/2026", "processed/2026/12"])
def test_a_link_below_the_fixed_part_is_not_followed(inbox: Inbox, place: str) -> None:
    """Whoever may write there cannot have invoices put elsewhere: the file stays, and the link is named."""
    elsewhere = inbox.home / "elsewhere"
    elsewhere.mkdir()
    inbox.clock.now += 20
    link = inbox.home / place
    if link.exists():
        os.renames(link, inbox.home / "aside")
        (inbox.home / "processed").mkdir(exist_ok=True)
    link.symlink_to(elsewhere)
    arguments = inbox.dropped("8.pdf")
    for attempt in (lambda: inbox.filing.processed(*arguments), inbox.filing.prepare):
        with pytest.raises(FolderUnavailable, match=f"{place} is a link"):
            attempt()
    assert list(elsewhere.iterdir()) == []
    assert (inbox.drop / "8.pdf").read_bytes() == b"ours"


def test_a_file_in_the_place_of_a_month_is_told(inbox: Inbox) -> None:
    """It is nobody's fault but that folder's."""
    inbox.clock.now += 20
    (inbox.home / "processed/2026/12").write_text("no folder")
    with pytest.raises(FolderUnavailable, match="is not a folder"):
        inbox.filing.processed(*inbox.dropped("8.pdf"))


# The names


def test_the_months_from_one_moment_to_another() -> None:
    """Across years, in either order, the newest first, each once; a clock of any year ends somewhere."""
    folder = DatedFolder.of(Path("/srv/{year}-{month}"))
    assert folder.at(moment(2026, 3, 5)) == Path("/srv/2026-03")
    found = folder.names_between(moment(2025, 11, 15), moment(2026, 2, 15))
    assert found == [("2026-02",), ("2026-01",), ("2025-12",), ("2025-11",)]
    assert folder.names_between(moment(2026, 2, 15), moment(2025, 11, 15)) == found
    assert folder.names_between(moment(2026, 1, 31, 23), moment(2026, 1, 31, 23)) == [("2026-02",), ("2026-01",)]
    assert DatedFolder.of(Path("/srv/{year}")).names_between(moment(2025, 2, 3), moment(2026, 9, 9)) == [
        ("2026",),
        ("2025",),
    ]
    assert len(folder.names_between(-1e18, 1e18)) == 240
    assert folder.names_between(-1e18, -1e18)[-1] == ("0001-01",)


def test_which_folder_it_may_be() -> None:
    """Only folders of digits where the names stand."""
    folder = DatedFolder.of(Path("/srv/p{year}/m{month}x"))
    assert folder.may_be(Path("/srv/p2026/m01x"))
    for other in ("/srv/p2026", "/srv/p2026/m01x/y", "/srv/p26/m01x", "/other/p2026/m01x", "/srv/p2026/m1x"):
        assert not folder.may_be(Path(other))
    assert DatedFolder.of(Path("/srv/p")).may_be(Path("/srv/p"))


@pytest.mark.parametrize(
    "wrong", ["/srv/{day}", "/srv/{Year}", "/srv/{year", "/srv/}{", "/srv/{year}/{}", "/a/{year}/.."]
)
def test_other_braces_are_refused(wrong: str) -> None:
    """A name that is not known is no folder's name, but a mistake."""
    assert problem_with(Path(wrong)) is not None


def test_the_readme_line_clears_what_is_old(tmp_path: Path) -> None:
    """The line for systemd-tmpfiles removes invoices and empty months, and leaves the folder itself."""
    (line,) = [
        line.strip()
        for line in (ROOT / "config" / "README.md").read_text().splitlines()
        if line.startswith("    e /srv")
    ]
    processed = tmp_path / "processed"
    for month in ("2025/11", "2026/12"):
        (processed / month).mkdir(parents=True)
        (processed / month / "8.pdf").touch()
    configuration = tmp_path / "invoices.conf"
    configuration.write_text(line.replace("/srv/invoices/processed", str(processed)).replace("400d", "0"))
    try:
        done = subprocess.run(
            ["systemd-tmpfiles", "--clean", str(configuration)], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("systemd-tmpfiles is not there")
    assert (done.returncode, done.stderr) == (0, "")
    assert processed.is_dir()
    assert not any(processed.rglob("*.pdf"))
