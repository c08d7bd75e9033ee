import errno
import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from grp import getgrgid
from pathlib import Path
from typing import Any

import pytest

from invoicedrop.commands.check import command, folders, left_alone, trials
from invoicedrop.commands.check.finding import Finding, Level
from invoicedrop.inbox.events import Events
from invoicedrop.inbox.ownership import OWNER_FILE
from invoicedrop.settings.inbox import Inbox
from invoicedrop.settings.settings import Settings
from invoicedrop.system import permissions
from invoicedrop.system.disk import TEMPORARY
from invoicedrop.system.file_systems import Nature, file_system_of
from merchant import Merchant

_NOBODY = 65534
_STRANGER = 12_345
as_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can make other users' folders and act as another user"
)


def _findings(settings: Settings) -> dict[str, Finding]:
    return {finding.subject: finding for finding in command.collect(settings)}


def _about(subject: str, findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.subject == subject]


def _inbox(drop: Path, **more: Any) -> Inbox:
    return Inbox(company_id=1, project_id=2, drop_dir=drop, **more)


# Folders


def test_a_missing_drop_folder_is_a_problem_and_nothing_is_made_in_its_place(merchant: Merchant) -> None:
    """A missing drop folder (not mounted, perhaps) is reported once, and neither it nor the others are made."""
    merchant.drop.rmdir()
    findings = _findings(merchant.settings())
    assert findings["drop_dir"].level is Level.PROBLEM
    assert "does not exist" in findings["drop_dir"].text
    assert "processed_dir" not in findings
    assert not merchant.drop.exists()


def test_a_file_in_place_of_a_folder_is_a_problem(merchant: Merchant) -> None:
    """A file where the failed folder should be is reported as such."""
    merchant.failed.write_text("")
    finding = _findings(merchant.settings())["failed_dir"]
    assert (finding.level, finding.text) == (Level.PROBLEM, f"{merchant.failed} is not a folder")


@pytest.fixture
def elsewhere(merchant: Merchant) -> Iterator[Path]:
    """A folder in memory, which is another file system than the drop folder's."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == merchant.drop.stat().st_dev:
        pytest.skip("there is no second file system here")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def test_a_copy_across_file_systems_is_distinguished_from_a_rename(merchant: Merchant, elsewhere: Path) -> None:
    """Where a finished invoice has to be copied, the check says how to avoid it; the other folder stays a rename."""
    findings = _findings(merchant.settings(processed_dir=str(elsewhere / "processed")))
    assert findings["drop to processed"].level is Level.WARNING
    assert "copied" in findings["drop to processed"].text
    assert "below one mount" in findings["drop to processed"].remedy
    assert findings["drop to failed"].level is Level.OK
    assert list(elsewhere.iterdir()) == []


def test_a_state_folder_in_memory_is_a_warning(merchant: Merchant, elsewhere: Path) -> None:
    """What was sent must be remembered across a reboot: a tmpfs, existing or still to be made, does not do that."""
    for state_dir in (elsewhere, elsewhere / "new"):
        finding = _findings(merchant.settings(state_dir=str(state_dir)))["state_dir kind"]
        assert finding.level is Level.WARNING
        assert "forgotten at a reboot" in finding.text


_CHECK = """
import dataclasses, json, sys
from pathlib import Path
from invoicedrop.commands.check.folders import of_inbox
from invoicedrop.settings.inbox import Inbox
findings = of_inbox(Inbox(company_id=1, project_id=2, drop_dir=Path(sys.argv[1])))
print(json.dumps([dataclasses.asdict(finding) for finding in findings]))
"""


def _in_own_mounts(script: str, *folders: Path) -> list[Finding]:
    """Run shell lines and then the folder check (drop folder: $1) in a mount namespace of their own."""
    unshare = shutil.which("unshare")
    if os.geteuid() != 0 or unshare is None:
        pytest.skip("mounts need root and the command unshare")
    own = [unshare, "--mount", "--propagation", "private"]
    possible = subprocess.run([*own, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    if possible.returncode:
        pytest.skip("this container allows no mounts")
    line = f'set -e; {script}; exec "$0" -c "$CHECK" "$1"'
    command = [*own, "sh", "-c", line, sys.executable, *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "CHECK": _CHECK})
    return [Finding(**values) for values in json.loads(done.stdout)]


def test_a_bind_mount_of_the_same_device_is_not_taken_for_a_rename(tmp_path: Path) -> None:
    """Two mounts of one disk have the same st_dev, yet no rename crosses them: only a real move shows it."""
    other = tmp_path / "other"
    (tmp_path / "drop" / "processed").mkdir(parents=True)
    other.mkdir()
    findings = _in_own_mounts('mount --bind "$2" "$1/processed"', tmp_path / "drop", other)
    (finding,) = _about("drop to processed", findings)
    assert (finding.level, "copied" in finding.text) == ("warning", True)


def test_a_read_only_folder_names_the_systemd_setting(tmp_path: Path) -> None:
    """A folder that is mounted read-only (as by systemd's ProtectSystem) is distinguished from one without rights."""
    folder = tmp_path / "drop"
    folder.mkdir()
    (finding,) = _in_own_mounts('mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"', folder)
    assert finding.text == f"{folder} is read-only here"
    assert f"ReadWritePaths={folder}" in finding.remedy


def test_too_little_room_is_a_problem(tmp_path: Path) -> None:
    """A disk with less room than the largest invoice is a problem; one that is almost out of inodes is noticed too."""
    findings = _in_own_mounts('mount -t tmpfs -o size=1m,nr_inodes=50 none "$1"', tmp_path)
    (room,) = _about("drop_dir room", findings)
    assert room.level == "problem"
    assert "1 MiB free" in room.text
    assert "files more" in room.text


# Rights, seen by another user


@contextmanager
def _running_as_nobody() -> Iterator[None]:
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(_NOBODY)
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def _as_nobody(folder: Path, prepare: Callable[[Path], None], *, drop: str = "drop") -> list[Finding]:
    """Make a drop folder, `prepare` it, and check it as the user nobody."""
    (folder / drop).mkdir(parents=True)
    prepare(folder)
    inbox = _inbox(folder / drop)
    with _running_as_nobody():
        return folders.of_inbox(inbox)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can reach (pytest's own are root's alone)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def _nobody() -> tuple[str, str]:
    return pwd.getpwuid(_NOBODY).pw_name, getgrgid(_NOBODY).gr_name


@as_root
@pytest.mark.parametrize(
    ("uid", "gid", "mode", "remedy"),
    [
        (0, 0, 0o755, "chown {user}:{group} {drop}"),
        (_NOBODY, 0, 0o500, "chmod u+rwx {drop}"),
        (_STRANGER, _NOBODY, 0o750, "chmod g+rwx {drop}"),
        (_STRANGER, _STRANGER, 0o755, "chown :{group} {drop} && chmod g+rwx {drop}"),
    ],
)
def test_a_missing_right_is_one_sentence_with_its_command(
    public: Path, uid: int, gid: int, mode: int, remedy: str
) -> None:
    """Whoever owns the folder, the problem names owner, mode and us, and the command takes no right from anybody."""
    drop = public / "drop"

    def prepare(_folder: Path) -> None:
        os.chown(drop, uid, gid)
        drop.chmod(mode)

    (finding,) = _as_nobody(public, prepare)
    user, group = _nobody()
    assert finding.level == "problem"
    owner = f"{permissions.user_name(uid)}:{permissions.group_name(gid)} ({stat.filemode(stat.S_IFDIR | mode)})"
    assert f"{drop} belongs to {owner}; we run as {user} (group {group}) and may not write in it" in finding.text
    assert finding.remedy == remedy.format(user=user, group=group, drop=drop)


@as_root
def test_the_command_for_a_missing_right_fixes_it(public: Path) -> None:
    """After the command that the check prints has run, unchanged, the same check finds nothing."""
    (finding,) = _as_nobody(public, lambda _: None)
    subprocess.run(finding.remedy, shell=True, check=True)
    shutil.move(public / "drop", public / "fixed")

    def use_fixed(folder: Path) -> None:
        (folder / "drop").rmdir()
        shutil.move(folder / "fixed", folder / "drop")

    assert {finding.level for finding in _as_nobody(public, use_fixed)} == {"ok"}


@as_root
def test_a_parent_folder_that_refuses_is_the_one_that_is_named(public: Path) -> None:
    """Where a parent folder cannot be passed through, that parent is named and not the drop folder."""
    (finding,) = _as_nobody(public, lambda folder: (folder / "home").chmod(0o700), drop="home/drop")
    assert finding.text.startswith(f"{public / 'home'}, on the way to {public / 'home' / 'drop'}, belongs to root:")
    assert finding.remedy == f"setfacl -m u:nobody:x {public / 'home'}  # of the package acl"


@as_root
def test_processed_that_cannot_be_made_or_written_is_its_own_problem(public: Path) -> None:
    """A failed folder that belongs to another user is a problem of its own, while the drop folder is right."""

    def prepare(folder: Path) -> None:
        os.chown(folder / "drop", _NOBODY, _NOBODY)
        (folder / "drop" / "failed").mkdir()

    findings = {finding.subject: finding for finding in _as_nobody(public, prepare)}
    assert (findings["drop_dir"].level, findings["processed_dir"].level) == ("ok", "ok")
    assert findings["failed_dir"].level == "problem"
    assert findings["failed_dir"].remedy == f"chown {':'.join(_nobody())} {public / 'drop' / 'failed'}"
    assert sorted(path.name for path in (public / "drop").iterdir()) == ["failed"]


@as_root
def test_the_sticky_bit_is_a_problem_where_others_drop(public: Path) -> None:
    """In a folder like /tmp our own trial passes, yet other users' invoices could not be moved away."""
    findings = {
        finding.subject: finding for finding in _as_nobody(public, lambda folder: (folder / "drop").chmod(0o1777))
    }
    assert findings["drop_dir"].level == "ok"
    assert findings["drop_dir sticky"].level == "problem"
    assert findings["drop_dir sticky"].remedy == f"chmod -t {public / 'drop'}"


@as_root
def test_waiting_files_that_we_may_not_read_are_a_problem(public: Path) -> None:
    """Invoices that only their owner may read are counted, with the command for the first."""

    def prepare(folder: Path) -> None:
        drop = folder / "drop"
        os.chown(drop, _NOBODY, _NOBODY)
        for name in ("7.pdf", "8.pdf", "notes.txt"):
            (drop / name).touch()
            os.chown(drop / name, _STRANGER, _NOBODY)
            (drop / name).chmod(0o600)

    findings = {finding.subject: finding for finding in _as_nobody(public, prepare)}
    assert findings["waiting files"].level == "problem"
    assert "(2 such files wait)" in findings["waiting files"].text
    assert findings["waiting files"].remedy.startswith(f"chmod g+r {public / 'drop'}/")


def test_rights_that_look_right_but_are_refused_point_elsewhere(tmp_path: Path) -> None:
    """Where the mode allows what the system refused, the file server or a security module is blamed."""
    refusal = permissions.explained(tmp_path, PermissionError(errno.EACCES, "Permission denied"))
    assert "look right" in refusal.problem
    assert "SELinux" in refusal.remedy


# Events and file systems


def test_missing_events_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no event comes for a file of our own, the check stops waiting, and says that scans find files."""
    monkeypatch.setattr(Events, "on_event", lambda _self, _event: None)
    (finding,) = _about("events", folders.of_inbox(_inbox(tmp_path), event_deadline=0.05))
    assert finding.level is Level.NOTE
    assert "files are found by a look at the whole folder every 5 s" in finding.text
    assert list(tmp_path.iterdir()) == []


def test_trial_files_have_names_that_the_watcher_ignores(tmp_path: Path) -> None:
    """Every name that the check makes in a folder is one that a daemon's watcher ignores as its own."""
    seen: set[str] = set()
    woken = threading.Event()
    events = Events(woken.set)
    assert events.watch(tmp_path) is None
    try:
        assert trials.use(tmp_path) is None
        while len(seen) < 2 and woken.wait(10):
            woken.clear()
            seen |= events.take()[0].keys()
    finally:
        events.close()
    assert len(seen) == 2
    assert all(name.startswith(TEMPORARY) for name in seen)


def test_trial_files_that_a_starting_daemon_removes_are_made_again(tmp_path: Path) -> None:
    """A daemon that starts removes leftovers; a trial that loses its file to it is repeated, and no finding."""
    lost: list[bool] = []

    def trial() -> None:
        if not lost:
            lost.append(True)
            (tmp_path / "gone").unlink()

    trials.retry(trial)
    assert lost
    with pytest.raises(FileNotFoundError):
        trials.retry((tmp_path / "gone").unlink)


_MOUNTS = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 27 0:40 / /mnt/share rw,relatime - autofs systemd-1 rw
31 30 0:41 / /mnt/share rw,relatime - cifs //server/share rw
32 27 0:42 / /mnt/with\040blank rw - nfs4 server:/export rw
33 27 0:43 / /mnt/sharp rw - fuse.sshfs user@host: rw
34 27 0:44 / /mnt/own rw - fuse.mine mine rw
35 27 0:45 / /data rw shared:2 master:1 - overlay overlay rw
36 27 0:46 / /run rw - tmpfs tmpfs rw
37 27 0:47 / /host rw - 9p host rw
38 27 0:48 / /odd rw - oddfs odd rw
"""


@pytest.mark.parametrize(
    ("path", "kind", "nature", "shared"),
    [
        ("/srv/drop", "ext4", Nature.LOCAL, False),
        ("/mnt/share/invoices", "cifs", Nature.NETWORK, True),
        ("/mnt/shared", "ext4", Nature.LOCAL, False),
        ("/mnt/with blank/x", "nfs4", Nature.NETWORK, True),
        ("/mnt/sharp", "fuse.sshfs", Nature.NETWORK, True),
        ("/mnt/own", "fuse.mine", Nature.USER_SPACE, True),
        ("/data/drop", "overlay", Nature.CONTAINER, False),
        ("/run/x", "tmpfs", Nature.MEMORY, False),
        ("/host", "9p", Nature.HOST, True),
        ("/odd", "oddfs", Nature.UNKNOWN, True),
    ],
)
def test_kinds_of_file_systems(path: str, kind: str, nature: Nature, *, shared: bool) -> None:
    """The mount that holds a path decides: the deepest, or the last of several at one place; names may have blanks."""
    file_system = file_system_of(Path(path), _MOUNTS)
    assert (file_system.kind, file_system.nature, file_system.shared) == (kind, nature, shared)


def test_a_network_share_is_named_with_what_it_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a share our own events prove nothing for other machines' files: the check says how those are found."""
    share = f"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / {tmp_path} rw - smb3 //server/share rw\n"
    monkeypatch.setattr(folders, "file_system_of", lambda path: file_system_of(path, share))
    (finding,) = _about("events", folders.of_inbox(_inbox(tmp_path)))
    assert finding.level is Level.NOTE
    assert finding.text.startswith("smb3, a network share: of what other machines write no event comes")
    (finding,) = _about("state_dir kind", folders.of_state(tmp_path))
    assert finding.level is Level.WARNING


@pytest.mark.parametrize(
    "name", [".invoicedrop-0123456789abcdef.tmp", ".invoicedrop-aside-0123456789abcdef", OWNER_FILE]
)
@pytest.mark.parametrize("where", ["drop", "processed", "failed"])
def test_a_link_that_bears_a_name_of_ours_is_named(tmp_path: Path, where: str, name: str) -> None:
    """A link in the place of a temporary file or folder of ours is a warning with its path; our own files are none."""
    inbox = _inbox(tmp_path / "drop")
    folder: Path = getattr(inbox, f"{where}_dir")
    folder.mkdir(parents=True)
    (folder / ".invoicedrop-fedcba9876543210.tmp").touch()
    (folder / ".invoicedrop-aside-fedcba9876543210").mkdir()
    (folder / name).symlink_to("/etc")
    (finding,) = _about("planted", folders.of_inbox(inbox))
    assert finding.level == "warning"
    assert f"{folder / name} has a name of ours and is a link" in finding.text


@as_root
@pytest.mark.parametrize("where", ["processed", "failed"])
def test_a_folder_that_is_a_strangers_link_is_a_problem_and_not_followed(tmp_path: Path, where: str) -> None:
    """A link that somebody has put in the place of one of our folders is named, and nothing is tried there."""
    inbox = _inbox(tmp_path / "drop")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    before = elsewhere.stat().st_mtime_ns
    inbox.drop_dir.mkdir()
    link: Path = getattr(inbox, f"{where}_dir")
    link.symlink_to(elsewhere)
    os.lchown(link, _STRANGER, _STRANGER)
    (finding,) = _about(f"{where}_dir", folders.of_inbox(inbox))
    assert finding.level == "problem"
    assert f"{link} is a link to {elsewhere}, made by somebody who does not own the folder around it" in finding.text
    assert elsewhere.stat().st_mtime_ns == before


def test_what_may_be_meant_as_an_invoice_is_a_warning(merchant: Merchant) -> None:
    """What is left alone and looks like an invoice is named, with what keeps it from being one; the rest is not."""
    settings = merchant.settings()
    (inbox,) = settings.inboxes
    assert left_alone.of_inbox(inbox, settings.folders) == []
    merchant.processed.mkdir()
    (merchant.processed / "1.pdf").touch()
    (merchant.drop / "notes.txt").touch()
    assert left_alone.of_inbox(inbox, settings.folders) == []
    for number in range(7):
        (merchant.drop / f"835{number}").touch()
    (finding,) = left_alone.of_inbox(inbox, settings.folders)
    assert finding.level is Level.WARNING
    assert "named by an order, but without the ending .pdf" in finding.text
    assert "and 2 more" in finding.text
    assert finding.remedy
