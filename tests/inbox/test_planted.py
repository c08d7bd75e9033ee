"""What somebody plants who may write into the folders: names like ours, links to elsewhere, folders in the way."""

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from invoicedrop.errors import Deferred, FolderUnavailable
from invoicedrop.inbox.filed_names import reason_path
from invoicedrop.inbox.filing import Filing
from invoicedrop.inbox.identity import identity_of
from invoicedrop.reasons import Reason
from invoicedrop.system.mover import DEFAULT_MOVER, Mover
from ways import first_way, refusing, unheld

CONTENT = b"%PDF-1.7 an invoice %%EOF"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
TOKEN = "0123456789abcdef"
UNFINISHED = f".invoicedrop-{TOKEN}.tmp"
ASIDE = f".invoicedrop-aside-{TOKEN}"
STRANGER = 65_534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files to another user")


class Scene:
    """The three folders of an inbox, and a folder elsewhere that is none of its business."""

    def __init__(self, home: Path) -> None:
        self.elsewhere = home / "elsewhere"
        self.elsewhere.mkdir()
        (self.elsewhere / "api_token").write_text("secret")
        (self.elsewhere / "1.pdf.reason.txt").write_text("somebody's")
        self.before = self.outside()
        self.drop = home / "drop"
        self.drop.mkdir()
        self.processed_dir = self.drop / "processed"
        self.failed_dir = self.drop / "failed"
        self.use()
        self.filing.prepare()

    def use(self, mover: Mover = DEFAULT_MOVER, **folders: Path) -> None:
        """Start anew, with this mover and these folders."""
        where = {"processed_dir": self.processed_dir, "failed_dir": self.failed_dir} | folders
        self.filing = Filing(self.drop, **where, mover=mover)

    def outside(self) -> dict[str, bytes]:
        """Return what lies elsewhere."""
        return {path.name: path.read_bytes() for path in self.elsewhere.iterdir()}

    def file_one(self, name: str = "8355.pdf", *, good: bool = True, resumed: bool = False) -> Path:
        """Drop an invoice and file it."""
        path = self.drop / name
        path.write_bytes(CONTENT)
        identity = identity_of(path.lstat())
        if good:
            return self.filing.processed(name, identity, SHA256, resumed=resumed)
        return self.filing.failed(name, identity, SHA256, Reason.DAMAGED, "no root object", resumed=resumed)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """The folders."""
    return Scene(tmp_path)


def swap(folder: Path, target: Path) -> Path:
    """Put a link to `target` in the place of a folder; return where the folder is now."""
    moved = folder.with_name(f"{folder.name}.moved")
    folder.rename(moved)
    folder.symlink_to(target)
    return moved


# Names like ours


@pytest.mark.parametrize("name", [".invoicedrop-aside-x", ASIDE, UNFINISHED])
def test_a_planted_link_is_not_followed(scene: Scene, name: str) -> None:
    """A link named like one of our folders leads to nothing that is touched, and stays."""
    (scene.drop / name).symlink_to(scene.elsewhere)
    scene.filing.prepare()
    assert scene.filing.clean_up()
    assert scene.outside() == scene.before
    assert (scene.drop / name).is_symlink()
    assert {path.name for path in scene.drop.iterdir()} == {"processed", "failed", name}


@needs_root
@pytest.mark.parametrize("name", [ASIDE, f"{ASIDE}0", ".invoicedrop-aside-", f".invoicedrop-aside-{TOKEN.upper()}"])
def test_a_strangers_folder_is_not_emptied(scene: Scene, name: str) -> None:
    """A folder that another user has made is not ours, whatever it is called, and neither is another form of name."""
    planted = scene.drop / name
    planted.mkdir()
    (planted / "8355.pdf").write_bytes(CONTENT)
    if name == ASIDE:
        os.chown(planted, STRANGER, STRANGER)
    assert scene.filing.clean_up()
    assert (planted / "8355.pdf").read_bytes() == CONTENT
    assert not (scene.drop / "8355.pdf").exists()


def test_what_we_put_aside_before_a_crash_comes_back(scene: Scene) -> None:
    """A folder of ours with a file in it is emptied into the drop folder, whatever is planted beside it."""
    (scene.drop / f".invoicedrop-aside-{'0' * 16}").symlink_to(scene.elsewhere)
    (scene.drop / f".invoicedrop-aside-{'f' * 16}").write_bytes(b"no folder")
    (scene.drop / ASIDE).mkdir(mode=0o700)
    (scene.drop / ASIDE / "8355.pdf").write_bytes(CONTENT)
    assert scene.filing.clean_up()
    assert (scene.drop / "8355.pdf").read_bytes() == CONTENT
    assert not (scene.drop / ASIDE).exists()
    assert scene.outside() == scene.before


def test_a_file_that_cannot_come_back_yet_holds_up_nothing(scene: Scene) -> None:
    """Trouble with what was put aside stops neither the inbox nor the next one, and is tried again."""
    for number in range(2):
        aside = scene.drop / f".invoicedrop-aside-{number:016}"
        aside.mkdir(mode=0o700)
        (aside / f"{number}.pdf").write_bytes(CONTENT)

    def refuse_the_first(source: Path, target: Path) -> None:
        if source.name == "0.pdf":
            refusing(errno.EBUSY)()
        first_way("rename")(source, target)

    scene.use(Mover(refuse_the_first))
    assert not scene.filing.clean_up()
    assert (scene.drop / "1.pdf").exists()
    scene.use()
    assert scene.filing.clean_up()
    assert (scene.drop / "0.pdf").exists()


@pytest.mark.parametrize("where", ["drop", "processed_dir", "failed_dir"])
@pytest.mark.parametrize("kind", ["folder", "full folder", "link", "dangling link", "fifo"])
def test_what_is_no_file_of_ours_stops_nothing(scene: Scene, where: str, kind: str) -> None:
    """A folder, link or FIFO named like one of our unfinished files stays, and the invoices go."""
    path: Path = getattr(scene, where) / UNFINISHED
    match kind:
        case "link":
            path.symlink_to(scene.elsewhere / "api_token")
        case "dangling link":
            path.symlink_to("nowhere")
        case "fifo":
            os.mkfifo(path)
        case _:
            path.mkdir()
            if kind == "full folder":
                (path / "8355.pdf").write_bytes(CONTENT)
    scene.filing.prepare()
    assert scene.filing.clean_up()
    assert os.path.lexists(path)
    assert scene.file_one().read_bytes() == CONTENT
    assert scene.outside() == scene.before


@needs_root
def test_a_strangers_file_is_not_removed(scene: Scene) -> None:
    """A file that another user has made is not ours, whatever it is called: neither unfinished nor a placeholder."""
    unfinished, placeholder = scene.failed_dir / UNFINISHED, scene.failed_dir / "8355.pdf"
    for path in (unfinished, placeholder):
        path.touch(0o200)
        path.chmod(0o200)
        os.chown(path, STRANGER, STRANGER)
    assert scene.filing.clean_up()
    filed = scene.file_one(good=False, resumed=True)
    assert filed.read_bytes() == CONTENT
    assert unfinished.exists()
    assert placeholder.stat().st_uid == STRANGER


def test_where_a_share_owns_what_we_make_it_is_still_ours(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a share that gives every file another owner than us, what a crash left is known by that owner."""
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    scene.filing.prepare()
    (scene.drop / ASIDE).mkdir(mode=0o700)
    (scene.drop / ASIDE / "9.pdf").write_bytes(CONTENT)
    (scene.failed_dir / UNFINISHED).touch()
    placeholder = scene.failed_dir / "8355.pdf"
    placeholder.touch()
    placeholder.chmod(0o200)
    assert scene.filing.clean_up()
    assert (scene.drop / "9.pdf").exists()
    assert not (scene.failed_dir / UNFINISHED).exists()
    assert scene.file_one(good=False, resumed=True) == placeholder


def test_a_folder_exchanged_for_a_link_gets_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the folder in which a file is put aside becomes a link at once, no file goes where it leads."""
    mkdir = os.mkdir

    def exchanging(path: Path, mode: int = 0o777) -> None:
        mkdir(path, mode)
        if ".invoicedrop-aside-" in str(path):
            path.rmdir()
            path.symlink_to(scene.elsewhere)

    scene.use(Mover(first_way("link")))
    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", exchanging)
        with pytest.raises((Deferred, FolderUnavailable)):
            scene.file_one()
    assert scene.outside() == scene.before
    assert (scene.drop / "8355.pdf").read_bytes() == CONTENT
    for path in scene.drop.glob(".invoicedrop-aside-*"):
        path.unlink()
    assert scene.file_one(resumed=True).read_bytes() == CONTENT


# Where a reason should stand


@pytest.mark.parametrize("kind", ["folder", "full folder", "link", "link to a folder"])
def test_what_stands_in_the_place_of_a_reason_stops_nothing(scene: Scene, kind: str) -> None:
    """The invoice goes to failed with its reason, under another name if need be; nothing is written elsewhere."""
    path = scene.failed_dir / "8355.pdf.reason.txt"
    match kind:
        case "link":
            path.symlink_to(scene.elsewhere / "api_token")
        case "link to a folder":
            path.symlink_to(scene.elsewhere)
        case _:
            path.mkdir()
            if kind == "full folder":
                (path / "notes").touch()
    filed = scene.file_one(good=False)
    assert filed.read_bytes() == CONTENT
    assert "no root object" in reason_path(filed).read_text()
    assert not reason_path(filed).is_symlink()
    assert path.is_dir() == ("link" not in kind)
    assert scene.outside() == scene.before
    scene.filing.sweep_reasons()
    assert reason_path(filed).exists()
    assert not list(scene.failed_dir.glob(".invoicedrop-*"))


def test_a_folder_in_the_place_of_a_reason_after_a_crash_stops_nothing(scene: Scene) -> None:
    """Where the invoice is in failed already, it is recorded there, though its reason finds no place."""
    (scene.drop / "8355.pdf").write_bytes(CONTENT)
    os.link(scene.drop / "8355.pdf", scene.failed_dir / "8355.pdf")
    (scene.failed_dir / "8355.pdf.reason.txt").mkdir()
    identity = identity_of((scene.drop / "8355.pdf").lstat())
    filed = scene.filing.failed("8355.pdf", identity, SHA256, Reason.DAMAGED, "", resumed=True)
    assert filed == scene.failed_dir / "8355.pdf"
    assert not (scene.drop / "8355.pdf").exists()


# Folders exchanged for links


@pytest.mark.parametrize("good", [True, False], ids=["processed", "failed"])
def test_a_folder_that_becomes_a_link_gets_nothing(scene: Scene, *, good: bool) -> None:
    """Exchanged while we work, it makes the inbox wait, as often as it is looked at, until the folder is back."""
    scene.file_one("1.pdf", good=good)
    folder = scene.processed_dir if good else scene.failed_dir
    moved = swap(folder, scene.elsewhere)
    with pytest.raises(FolderUnavailable, match="another folder"):
        scene.file_one(good=good)
    for _ in range(2):
        with pytest.raises(FolderUnavailable, match=r"leads to .*elsewhere now"):
            scene.filing.prepare()
    with pytest.raises(FolderUnavailable):
        scene.file_one(good=good)
    assert scene.outside() == scene.before
    assert (scene.drop / "8355.pdf").read_bytes() == CONTENT
    folder.unlink()
    moved.rename(folder)
    scene.filing.prepare()
    assert scene.file_one(good=good).read_bytes() == CONTENT


@pytest.mark.parametrize("way", ["rename", "link", "placeholder", "copy"])
@pytest.mark.parametrize("good", [True, False], ids=["processed", "failed"])
def test_a_folder_that_becomes_a_link_in_the_last_moment_gets_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, way: str, *, good: bool
) -> None:
    """Exchanged between two steps of a move, the file and its reason go where the folder is, not the link."""
    folder = scene.processed_dir if good else scene.failed_dir
    moved: list[Path] = []

    class Exchanging(Mover):
        def move(self, source: Path, target: Path) -> None:
            if not moved:
                moved.append(swap(folder, scene.elsewhere))
            super().move(source, target)

    if way == "placeholder":
        monkeypatch.setattr(os, "link", refusing(errno.EOPNOTSUPP))
    scene.use(Exchanging(_moved_way(first_way(way), moved)))
    scene.file_one(good=good)
    assert scene.outside() == scene.before
    assert (moved[0] / "8355.pdf").read_bytes() == CONTENT
    assert (moved[0] / "8355.pdf.reason.txt").exists() is not good
    assert not (scene.drop / "8355.pdf").exists()


def _moved_way(way: Callable[[Path, Path], object], moved: list[Path]) -> Callable[[Path, Path], None]:
    def move(source: Path, target: Path) -> None:
        # To another disk: `ways` knows the folder by its name only.
        across = len({unheld(path).parent in moved for path in (source, target)}) > 1
        if across and way.__name__ == "<lambda>":
            refusing(errno.EXDEV)()
        way(source, target)

    return move


def test_nothing_is_removed_where_a_link_leads(scene: Scene) -> None:
    """Neither a sweep nor a forgotten reason reaches through a link in the place of the failed folder."""
    filed = scene.file_one("1.pdf", good=False)
    swap(scene.failed_dir, scene.elsewhere)
    scene.filing.forget_reason(filed)
    with pytest.raises(FolderUnavailable):
        scene.filing.sweep_reasons()
    with pytest.raises(FolderUnavailable):
        scene.filing.clean_up()
    with pytest.raises(FolderUnavailable):
        scene.filing.lies_in(scene.failed_dir, "1.pdf", SHA256)
    assert scene.outside() == scene.before


def test_a_folder_on_the_way_that_becomes_a_link_is_noticed(scene: Scene) -> None:
    """It need not be the last folder of the path that is exchanged."""
    inner = scene.drop / "archive" / "2026"
    inner.parent.mkdir()
    scene.use(processed_dir=inner)
    scene.filing.prepare()
    scene.file_one("1.pdf")
    swap(inner.parent, scene.elsewhere)
    with pytest.raises(FolderUnavailable):
        scene.filing.prepare()
    assert scene.outside() == scene.before
    (scene.elsewhere / "2026").mkdir()
    with pytest.raises(FolderUnavailable):
        scene.file_one()
    with pytest.raises(FolderUnavailable):
        scene.filing.prepare()
    assert list((scene.elsewhere / "2026").iterdir()) == []


def test_a_link_that_an_administrator_has_set_is_followed(scene: Scene) -> None:
    """A folder may be a link from the start; led elsewhere later, the inbox waits, and goes on after a new start."""
    first, second = scene.elsewhere, scene.elsewhere.with_name("second")
    second.mkdir()
    link = scene.drop.with_name("archive")
    link.symlink_to(first)
    scene.use(processed_dir=link)
    scene.filing.prepare()
    assert scene.file_one("1.pdf") == link / "1.pdf"
    assert (first / "1.pdf").exists()
    link.unlink()
    link.symlink_to(second)
    with pytest.raises(FolderUnavailable):
        scene.file_one()
    with pytest.raises(FolderUnavailable, match="start the service again"):
        scene.filing.prepare()
    assert list(second.iterdir()) == []
    scene.use(processed_dir=link)
    scene.filing.prepare()
    assert scene.file_one() == link / "8355.pdf"


@needs_root
@pytest.mark.parametrize("owner", [0, STRANGER])
def test_a_link_that_a_stranger_has_set_is_refused(scene: Scene, owner: int) -> None:
    """A link in the drop folder is believed if root or the owner of that folder made it, else never."""
    link = scene.drop / "sent"
    link.symlink_to(scene.elsewhere)
    os.lchown(link, owner, owner)
    scene.use(processed_dir=link)
    if owner == 0:
        scene.filing.prepare()
        return
    with pytest.raises(FolderUnavailable, match="is a link"):
        scene.filing.prepare()
    os.chown(scene.drop, owner, owner)
    scene.filing.prepare()


def test_a_folder_made_anew_in_its_place_is_used(scene: Scene) -> None:
    """Whoever removes the processed folder, or puts another one there, does not stop the inbox."""
    scene.file_one("1.pdf")
    scene.processed_dir.rename(scene.drop / "2025")
    scene.processed_dir.mkdir()
    assert scene.file_one().read_bytes() == CONTENT
