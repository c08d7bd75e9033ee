"""Why the operating system does not let us use a folder, and the exact command that changes that.

Users and groups are named as the administrator knows them; one without a name (in a container, mostly) by its number.
"""

import errno
import grp
import os
import pwd
import shlex
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from invoicedrop.system.presence import is_there

_RIGHTS: Final = (("r", os.R_OK), ("w", os.W_OK), ("x", os.X_OK))
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED: Final = frozenset({errno.EACCES, errno.EPERM})


class Refusal(NamedTuple):
    """What is wrong with a folder, as a sentence, and the command (where there is none, the advice) that helps."""

    problem: str
    remedy: str
    by_rights: bool = False
    """Whether only the rights of the user that we run as are in the way: another user's may not be."""

    @property
    def sentence(self) -> str:
        """Both in one, for the log."""
        return f"{self.problem}; {self.remedy}"


def user_name(uid: int) -> str:
    """Return the user's name, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Return the group's name, or the number where it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def our_groups() -> list[int]:
    """Return the groups that we run with, the effective one first."""
    return list(dict.fromkeys((os.getegid(), *os.getgroups())))


def ourselves() -> str:
    """Return the user and groups that we run as: "invoicedrop (groups invoicedrop, staff)"."""
    groups = [group_name(gid) for gid in our_groups()]
    return f"{user_name(os.geteuid())} (group{'s'[: len(groups) - 1]} {', '.join(groups)})"


def missing_folder(folder: Path) -> Refusal:
    """Return how to get a folder that is not there: by mounting its share, or by making it, so that we may use it."""
    quoted = shlex.quote(str(folder))
    there = next((parent for parent in folder.parents if _is_seen(parent)), Path("/"))
    made = f"mkdir -p {quoted} && chown {_us()} {quoted}"
    if there != folder.parent:
        missing = folder.parents[list(folder.parents).index(there) - 1]
        return Refusal(
            f"{folder} does not exist, and neither does {missing}",
            f"if it is on a share or a disk, mount that; else correct the setting, or: {made}",
        )
    if _is_empty(there):
        # As the place is where a share is mounted.
        return Refusal(
            f"{folder} does not exist, and {there} is empty",
            f"if a share or a disk belongs at {there}, mount it; else: {made}",
        )
    return Refusal(f"{folder} does not exist", made)


def _is_seen(path: Path) -> bool:
    """Whether there is something at `path`, as far as we may see."""
    with suppress(OSError):
        return is_there(path)
    return False


def _is_empty(folder: Path) -> bool:
    with suppress(OSError), os.scandir(folder) as entries:
        return next(entries, None) is None
    return False


def explained(folder: Path, error: OSError) -> Refusal:
    """Return why using `folder` (reading, writing, renaming and deleting in it) failed with `error`, and what helps."""
    if error.errno in _REFUSED:
        # Looking at it may be refused as well.
        with suppress(OSError):
            return _refused(folder)
    if error.errno == errno.EROFS:
        return Refusal(
            f"{folder} is read-only here",
            f"mount it writable; under systemd, name it in ReadWritePaths={folder} (systemctl edit invoicedrop)",
        )
    if error.errno in _FULL:
        return _full(folder, error)
    if error.errno == errno.ENOENT:
        return missing_folder(folder)
    if error.errno in {errno.ENOTDIR, errno.EEXIST}:
        return Refusal(f"{folder} is not a folder", "name a folder in the setting, or remove what is in its place")
    return Refusal(f"{folder} cannot be used: {error.strerror or error}", "mend what it says, then check again")


def sticky(folder: Path) -> Refusal | None:
    """Return why we may not move other people's files out of `folder` (the sticky bit, as in /tmp); None if we may."""
    try:
        status = folder.stat()
    except OSError:
        return None
    if not status.st_mode & stat.S_ISVTX or os.geteuid() in {0, status.st_uid}:
        return None
    return Refusal(
        f"{folder} has the sticky bit: only the owner of a file may move it away, and we are {user_name(os.geteuid())}",
        f"chmod -t {shlex.quote(str(folder))}",
    )


def unreadable(file: Path) -> Refusal:
    """Return why we may not read a dropped file, and what to do about it.

    Raises:
        OSError: it cannot be looked at.

    """
    status = file.lstat()
    return Refusal(
        f"{file.name!r} belongs to {owned(status)}; {user_name(os.geteuid())} may not read it",
        f"{_remedy(file, status, 'r')} (and for the next ones: let whoever drops files give the group the right "
        "to read them, by umask 027 or, with Samba, create mask = 0660)",
    )


def of_another(path: Path, owner: int | None) -> str:
    """Return why a file of the service cannot be used by this user, and who can; `owner` is its user, if known."""
    name = "another user" if owner is None else user_name(owner)
    other = "" if owner is None else f", or as that user: sudo -u {name} invoicedrop ..."
    return (
        f"{path} belongs to {name} and we run as {ourselves()}: "
        f"ask as root where the systemd unit is at work, sudo invoicedrop ...{other}"
    )


def owned(status: os.stat_result) -> str:
    """Return owner, group and mode: "anna:staff (drwxr-x---)"."""
    return f"{user_name(status.st_uid)}:{group_name(status.st_gid)} ({stat.filemode(status.st_mode)})"


def _full(folder: Path, error: OSError) -> Refusal:
    """Tell a disk without room from one that can hold no more files (inodes), however much room it has."""
    with suppress(OSError):
        status = os.statvfs(folder)
        if error.errno == errno.ENOSPC and status.f_files and not status.f_favail:
            return Refusal(
                f"the file system of {folder} can hold no more files, though not for want of room: it is out of inodes "
                f"({error.strerror})",
                f"remove files there that nobody needs (df -i {shlex.quote(str(folder))} counts them)",
            )
    return Refusal(f"the disk of {folder} is full ({error.strerror})", "make room there")


def _us() -> str:
    return f"{user_name(os.geteuid())}:{group_name(os.getegid())}"


def _refused(folder: Path) -> Refusal:
    """Find which folder on the way refuses us, and which right we lack there."""
    ancestor = Path("/")
    for part in Path(os.path.realpath(folder)).parts:
        child = ancestor / part
        try:
            visible = is_there(child)
        except PermissionError:
            visible = False
        if not visible:
            if os.access(ancestor, os.X_OK, effective_ids=True):
                # It is to be made here, and that is what is refused.
                break
            status = ancestor.stat()
            return Refusal(
                f"{ancestor}, on the way to {folder}, belongs to {owned(status)}; we run as {ourselves()} "
                "and may not pass through it",
                _remedy(ancestor, status, "x"),
                by_rights=True,
            )
        ancestor = child
    lacking = "".join(letter for letter, mode in _RIGHTS if not os.access(ancestor, mode, effective_ids=True))
    status = ancestor.stat()
    if lacking:
        return Refusal(
            f"{ancestor} belongs to {owned(status)}; we run as {ourselves()} and may not {_verbs(lacking)}",
            _remedy(ancestor, status, "rwx"),
            by_rights=True,
        )
    return Refusal(
        f"{ancestor} refuses us although its rights ({owned(status)}; we run as {ourselves()}) look right",
        "see what else forbids it: the rights on the file server, SELinux or AppArmor, an immutable flag (lsattr -d)",
    )


def _verbs(rights: str) -> str:
    verbs = {"r": "list it", "w": "write in it", "x": "pass through it"}
    return " or ".join(verbs[letter] for letter in rights)


def _remedy(path: Path, status: os.stat_result, rights: str) -> str:
    """Return the command that gives us the rights and takes nothing from anybody else."""
    quoted = shlex.quote(str(path))
    if status.st_uid == os.geteuid():
        return f"chmod u+{rights} {quoted}"
    if status.st_gid in our_groups():
        return f"chmod g+{rights} {quoted}"
    if rights == "x":
        # For us alone: o+x would let everybody pass, and the folder is not ours to take.
        return f"setfacl -m u:{user_name(os.geteuid())}:x {quoted}  # of the package acl"
    if status.st_uid == 0:
        return f"chown {_us()} {quoted}"
    return f"chown :{group_name(os.getegid())} {quoted} && chmod g+{rights} {quoted}"
