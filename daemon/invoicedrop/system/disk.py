"""Files and folders of our own: written whole, on disk when a call returns, and never through somebody's link."""

import errno
import io
import math
import os
import re
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from invoicedrop.system.presence import is_folder

TEMPORARY: Final = ".invoicedrop-"
"""Prefix of the names of unfinished files and folders of ours."""
_UNFINISHED: Final = re.compile(rf"{re.escape(TEMPORARY)}[0-9a-f]{{16}}\.tmp")
"""The names of unfinished files: what a crash left of them may be removed."""
_GONE: Final = {errno.ENOENT, errno.ENOTDIR}
_NOT_A_FILE: Final = {errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV}
"""What opening a link (O_NOFOLLOW), a folder, a socket or a device answers; a broken disk may answer so as well."""


def open_regular(path: Path) -> int | None:
    """Open the regular file at `path` for reading; return None if there is none (any more).

    No link is followed, and no FIFO waited for.

    Raises:
        OSError: it cannot be opened now.

    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _GONE or (error.errno in _NOT_A_FILE and not _is_regular(path)):
            return None
        raise
    regular = False
    try:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    finally:
        if not regular:
            os.close(descriptor)
    return descriptor if regular else None


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def replace(source: Path, target: Path) -> None:
    """Rename over a file of our own; for any other name there is `Mover.move`."""
    source.replace(target)


def remove(path: Path) -> None:
    """Remove a name; it is no error if it is gone."""
    with suppress(FileNotFoundError):
        path.unlink()


def unfinished_name() -> str:
    """Return a name for an unfinished file, which nobody can foresee."""
    return f"{TEMPORARY}{secrets.token_hex(8)}.tmp"


def is_unfinished(name: str) -> bool:
    """Whether a file of this name is an unfinished one of ours, as far as the name says."""
    return _UNFINISHED.fullmatch(name) is not None


def write_new(folder: Path, content: bytes) -> Path:
    """Write a temporary file of ours into `folder`, on disk when this returns."""
    return _fill_new(folder, io.BytesIO(content))


def copy_new(source: Path, folder: Path) -> Path:
    """Copy `source`, with its times, into a temporary file of ours in `folder`, on disk when this returns."""
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        return _fill_new(folder, stream, times_of=stream.fileno())


def _fill_new(folder: Path, content: BinaryIO, *, times_of: int | None = None) -> Path:
    path = folder / unfinished_name()
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            shutil.copyfileobj(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
            if times_of is not None:
                status = os.fstat(times_of)
                # Not by its name, which may be somebody's link by now.
                os.utime(stream.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
    except BaseException:
        remove(path)
        raise
    return path


def clear_unfinished(folder: Path, owner: int, *, before: float = math.inf) -> None:
    """Remove the unfinished files that a crash left in `folder`: regular files of this user (uid), and nothing else.

    Only those that were last written `before` that moment (seconds since the epoch). One that cannot be removed stays:
    it is in nobody's way.

    Raises:
        OSError: the folder cannot be read.

    """
    for name in os.listdir(folder):  # noqa: PTH208 - names
        if is_unfinished(name):
            path = folder / name
            with suppress(OSError):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and status.st_uid == owner and status.st_mtime < before:
                    remove(path)


def sync_folder(folder: Path) -> None:
    """Make changes of a folder's names survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems have no such call: there it is up to the server.
        if error.errno not in {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF}:
            raise
    finally:
        os.close(descriptor)


def make_folder(folder: Path, *, parents: bool, mode: int | None = None) -> None:
    """Make a folder where it is missing, with its parents if wanted; `mode` is for the folder itself, if it is made."""
    if is_folder(folder):
        return
    if mode is None:
        folder.mkdir(parents=parents, exist_ok=True)
        return
    # By the umask, since a chmod would take away the setgid bit by which a share's folder passes its group on. It is
    # the whole process's: what another thread makes in that moment gets no more rights than the folder.
    umask = os.umask(~mode & 0o777)
    try:
        folder.mkdir(parents=parents, exist_ok=True)
    finally:
        os.umask(umask)
    if mode & ~stat.S_IMODE(folder.stat().st_mode):
        # setgid or sticky, not inherited. (The systemd unit forbids this one; there the drop folder has the bit.)
        give_mode(folder, mode)


def give_mode(path: Path, mode: int | None) -> None:
    """Give a file or folder these rights if we may: a moved file keeps its owner, who may be somebody else.

    A file whose rights cannot be changed is left as it is: that never holds up an invoice.
    """
    if mode is not None:
        with suppress(OSError):
            # Not by its name: others may write in a shared folder, and could put a link to a file of ours there.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.fchmod(descriptor, mode)
            finally:
                os.close(descriptor)
