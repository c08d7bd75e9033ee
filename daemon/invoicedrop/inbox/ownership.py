"""Whose a drop folder is: one daemon at a time works on it, whatever state folder it has.

Two signs say so:

- The kernel's lock on the folder itself (flock(2)). Every process of this machine sees it, in containers too, and it
  ends with its holder. Network file systems refuse it (NFS) or keep it to one machine (SMB).
- `.invoicedrop-owner.json` in the folder, rewritten at each beat. Every machine that shares the folder sees it. It is
  fresh by the folder's own clock: its time of change is compared with that of a file which we write there at the same
  moment, so that it does not matter whose clock is right.

Daemons that share a ledger (`shared`) have that decide which of them works on the folder: neither sign stops them, but
those of others do.

A lock that is held, or another one's file with a fresh beat, means that the folder is held. Everything else is taken
over. Anybody may write into the folder: nothing in the file is believed beyond that, and links are not followed. So
whoever may write into it can keep such a file fresh, and us out: on a share nothing else tells of a daemon elsewhere,
and a folder that is local here may be another machine's share. `status` and `check` name whose file it is.
"""

import errno
import fcntl
import json
import os
import secrets
import stat
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from invoicedrop.errors import FolderUnavailable, InstanceRunning
from invoicedrop.printable import printable
from invoicedrop.system import disk
from invoicedrop.system.boot import boot_id

OWNER_FILE: Final = f"{disk.TEMPORARY}owner.json"
"""In the drop folder (outside contract)."""
_MAX_BYTES: Final = 4096
_LONGEST_TEXT: Final = 200
_UNREADABLE: Final = "somebody unknown (the owner file cannot be read)"
_STARTING: Final = "which is just starting"
# No hard links here: FAT, some SMB servers, some FUSE.
_NO_LINKS: Final = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK, errno.EINVAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A daemon as an owner file names it: `boot` is its machine's start (`system/boot`), `life` its process alone."""

    ledger: str
    host: str
    pid: int
    started: str
    boot: str
    life: str
    beat: str = ""

    @classmethod
    def ourselves(cls, ledger: str) -> "Owner":
        """Return what this process is called, working with the ledger of this identity."""
        return cls(
            ledger=ledger,
            host=os.uname().nodename,
            pid=os.getpid(),
            started=_now(),
            boot=boot_id(),
            life=secrets.token_hex(8),
        )

    @property
    def is_this_process(self) -> bool:
        """Whether it is this very process, as far as one of another container can be told from it."""
        return (self.host, self.pid, self.boot) == (os.uname().nodename, os.getpid(), boot_id())

    def __str__(self) -> str:
        return printable(f"process {self.pid} on {self.host}, since {self.started}")


class _OwnerFile(NamedTuple):
    """An owner file that is there, and the uid whose file it is; `owner` is None if no daemon has written it.

    `changed` is in nanoseconds of the folder's clock.
    """

    owner: Owner | None
    changed: int
    uid: int


class Ownership:
    """The hold of this process, `ours`, on a drop folder. For one thread.

    The owner file is rewritten every `beat` seconds; one of `stale` seconds without a beat is believed no more.
    `shared`: this is called only while our ledger, which others share, says that the folder is ours.
    """

    def __init__(self, folder: Path, ours: Owner, *, beat: float, stale: float, shared: bool = False) -> None:
        self._shared = shared
        self._path = folder
        self._ours = ours
        self._beat = beat
        self._stale = stale
        self._folder = -1
        self._locked = False
        self._next_beat = 0.0

    def hold(self) -> str | None:
        """Hold the folder that is there now, and beat if it is time; return whom it was taken over from, if anybody.

        An owner file that cannot be written stops nobody whom the lock, or the lack of another one's file, lets pass.

        Raises:
            InstanceRunning: another daemon holds it; the sentence names that process.
            FolderUnavailable: another daemon's file is there, and whether its beat is fresh cannot be seen.
            OSError: the folder cannot be opened, or looked into.

        """
        self._open()
        present = _read(self._folder)
        owner = None if present is None else present.owner
        is_ours = owner is not None and owner.life == self._ours.life
        if is_ours and time.monotonic() < self._next_beat:
            return None
        try:
            self._write(present, is_ours=is_ours)
        except OSError as error:
            if owner is not None and not is_ours and not self._is_dead(owner):
                raise FolderUnavailable(
                    f"{self._path} may be in use by another invoicedrop ({owner}): it cannot be seen whether that one "
                    f"is still at work ({error.strerror or error})"
                ) from error
            return None
        if present is None or is_ours or (owner is not None and self._is_earlier_life(owner)):
            return None
        return _UNREADABLE if owner is None else str(owner)

    def release(self) -> None:
        """Give the folder up: the file goes if it is ours, and then the lock."""
        if self._folder < 0:
            return
        with suppress(OSError):
            present = _read(self._folder)
            if present is not None and present.owner is not None and present.owner.life == self._ours.life:
                os.unlink(OWNER_FILE, dir_fd=self._folder)
        self._close()

    # How

    def _open(self) -> None:
        """Open and lock the folder that has this name now: a share may have been mounted anew meanwhile."""
        if self._folder >= 0:
            if os.path.samestat(os.fstat(self._folder), self._path.stat()):
                # One with our ledger, that hangs, may have let go of it since.
                self._locked = self._locked or (self._shared and self._lock(self._folder))
                return
            self._close()
        folder = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._locked = self._lock(folder)
        except BaseException:
            os.close(folder)
            raise
        self._folder = folder
        self._next_beat = 0.0

    def _lock(self, folder: int) -> bool:
        """Lock the folder; return False if this file system has no locks for folders."""
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            present = _read(folder)
            owner = None if present is None else present.owner
            if owner is not None and self._has_our_ledger(owner):
                return False
            raise InstanceRunning(self._in_use(_STARTING if owner is None else owner)) from error
        except OSError:
            return False
        return True

    def _close(self) -> None:
        os.close(self._folder)
        self._folder = -1

    def _write(self, present: _OwnerFile | None, *, is_ours: bool) -> None:
        """Write the owner file, unless the one that is there forbids it."""
        folder = self._folder
        temporary = f"{disk.TEMPORARY}{secrets.token_hex(8)}.tmp"
        descriptor = os.open(
            temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=folder
        )
        try:
            with os.fdopen(descriptor, "wb") as stream:
                # Whatever the umask: who cannot read it takes it for nobody's.
                with suppress(OSError):
                    os.fchmod(descriptor, 0o644)
                stream.write(json.dumps(asdict(replace(self._ours, beat=_now()))).encode())
            if present is None:
                self._put_new(temporary)
            else:
                if present.owner is not None and not is_ours and not self._is_dead(present.owner):
                    self._require_stale(present.changed, temporary, present.owner)
                os.rename(temporary, OWNER_FILE, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
        self._next_beat = time.monotonic() + self._beat

    def _require_stale(self, changed: int, temporary: str, owner: Owner) -> None:
        """Raise InstanceRunning if that file was changed not long before ours; both times are the folder's server's."""
        now = os.stat(temporary, dir_fd=self._folder, follow_symlinks=False).st_mtime_ns
        if abs(now - changed) <= self._stale * 1e9:
            raise InstanceRunning(self._in_use(owner))

    def _put_new(self, temporary: str) -> None:
        """Give the file its name, unless another daemon was quicker."""
        folder = self._folder
        try:
            os.link(temporary, OWNER_FILE, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError as error:
            raise InstanceRunning(self._in_use(_STARTING)) from error
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.rename(temporary, OWNER_FILE, src_dir_fd=folder, dst_dir_fd=folder)
        else:
            os.unlink(temporary, dir_fd=folder)

    def _is_dead(self, owner: Owner) -> bool:
        """Whether that process has certainly ended, or works here no more, however fresh its beat."""
        if self._has_our_ledger(owner):
            return True
        if self._locked:
            return self._is_earlier_life(owner) or (owner.boot == self._ours.boot != "")
        # Without locks, only a process of this machine that we can see.
        return self._is_earlier_life(owner) and (owner.boot != self._ours.boot or not _runs(owner.pid))

    def _is_earlier_life(self, owner: Owner) -> bool:
        """Whether that process worked with our ledger, on this machine."""
        return (owner.ledger, owner.host) == (self._ours.ledger, self._ours.host) or self._has_our_ledger(owner)

    def _has_our_ledger(self, owner: Owner) -> bool:
        """Whether that process shares our ledger, which says that the folder is ours now."""
        return self._shared and owner.ledger == self._ours.ledger

    def _in_use(self, who: Owner | str) -> str:
        return f"{self._path} is in use by another invoicedrop ({who})"


class LastOwner(NamedTuple):
    """Whom the owner file in a folder names, whose file it is, and its last beat.

    The beat is in seconds since the epoch, by the folder's clock.
    """

    owner: Owner
    beat: float
    uid: int


def last_owner(folder: Path) -> LastOwner | None:
    """Return whom the owner file in `folder` names; None if there is none, or none that can be read."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            present = _read(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        return None
    if present is None or present.owner is None:
        return None
    return LastOwner(present.owner, present.changed / 1e9, present.uid)


def _read(folder: int) -> _OwnerFile | None:
    """Return the owner file in the folder; None if there is none."""
    try:
        status = os.stat(OWNER_FILE, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    unknown = _OwnerFile(None, status.st_mtime_ns, status.st_uid)
    if not stat.S_ISREG(status.st_mode):
        return unknown
    try:
        descriptor = os.open(OWNER_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO}:
            return unknown
        raise
    try:
        content = os.read(descriptor, _MAX_BYTES + 1)
        # Opening it has made a network file system ask its server.
        status = os.fstat(descriptor)
        return _OwnerFile(_parse(content), status.st_mtime_ns, status.st_uid)
    finally:
        os.close(descriptor)


def _parse(content: bytes) -> Owner | None:
    if len(content) > _MAX_BYTES:
        return None
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    known = {field.name: values.get(field.name) for field in fields(Owner)}
    pid = known.pop("pid")
    texts = {name: text for name, text in known.items() if isinstance(text, str) and len(text) <= _LONGEST_TEXT}
    if not isinstance(pid, int) or isinstance(pid, bool) or len(texts) != len(known):
        return None
    return Owner(pid=pid, **texts)


def _runs(pid: int) -> bool:
    """Whether there is another process of this number, as far as we can see."""
    if pid == os.getpid():
        # Our own number, in a container that was started again: the one that had it before has ended.
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
