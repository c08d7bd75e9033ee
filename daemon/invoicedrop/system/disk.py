"""The file-system calls that change something, each in one place: nothing is overwritten, what is done stays done.

`os.rename` overwrites silently, so it is never used on a name that may be somebody's. The ways that do not overwrite,
best first, each used where the file system lacks the one before:

1. `renameat2(RENAME_NOREPLACE)`: one atomic step (https://man7.org/linux/man-pages/man2/rename.2.html).
2. `link`, then the old name is withdrawn (NFS): for a moment both names exist, for the same file.
3. An empty file of the new name, made exclusively, and `rename` over that (no hard links: some FUSE).
4. Across file systems (bind mounts included: an equal st_dev proves nothing): a verified, synced copy.
"""

import ctypes
import errno
import io
import os
import secrets
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, cast

_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1
_UNSUPPORTED: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EMLINK})
TEMPORARY: Final = ".invoicedrop-"
"""Names of unfinished files of ours begin so; whatever is left of them after a crash may be removed."""
ASIDE: Final = ".invoicedrop-aside-"
"""Folders begin so in which a file is put aside; whatever is left in them after a crash must go back."""
_UNFINISHED: Final = ".tmp"
_PLACEHOLDER_MODE: Final = 0o200


def _find_renameat2() -> Callable[..., int] | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
        function.restype = ctypes.c_int
    return cast("Callable[..., int] | None", function)


_renameat2 = _find_renameat2()


def move(source: Path, target: Path) -> None:
    """Move a file within a file system, never overwriting.

    Raises:
        FileExistsError: there is something of the new name already.
        OSError: with EXDEV across file systems, see `copy`; anything else as the system says.

    """
    for way in (_move_atomically, _move_by_link, _move_onto_placeholder):
        try:
            way(source, target)
        except OSError as error:
            if error.errno not in _UNSUPPORTED or way is _move_onto_placeholder:
                raise
        else:
            return


def _move_atomically(source: Path, target: Path) -> None:
    if _renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if _renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(source), None, str(target))


def _move_by_link(source: Path, target: Path) -> None:
    os.link(source, target, follow_symlinks=False)
    ours = target.lstat()
    withdraw(source, lambda aside: os.path.samestat(aside.lstat(), ours))


def _move_onto_placeholder(source: Path, target: Path) -> None:
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, _PLACEHOLDER_MODE))
    try:
        replace(source, target)
    except OSError:
        remove(target)
        raise


def is_placeholder(path: Path) -> bool:
    """Say whether this is what a crash left of a move: empty, and of a mode that no real file has."""
    found = path.lstat()
    return stat.S_ISREG(found.st_mode) and found.st_size == 0 and stat.S_IMODE(found.st_mode) == _PLACEHOLDER_MODE


def withdraw(path: Path, is_ours: Callable[[Path], bool]) -> None:
    """Remove a name that has another one now, unless a new file has taken it meanwhile: that goes back.

    A look before the removal would leave a gap; so the file is first put aside, where nobody else reaches it.
    """
    folder = path.parent / f"{ASIDE}{secrets.token_hex(8)}"
    folder.mkdir(mode=0o700)
    aside = folder / path.name
    try:
        replace(path, aside)
        if is_ours(aside):
            remove(aside)
        else:
            with suppress(FileExistsError):
                move(aside, path)
    except FileNotFoundError:
        # Somebody else has removed it.
        pass
    finally:
        # A file that could not go back, its name being taken again, waits there for `asides`.
        with suppress(OSError):
            folder.rmdir()


def asides(folder: Path) -> list[Path]:
    """Return the folders in `folder` in which a crash left a file aside, or nothing."""
    return list(folder.glob(f"{ASIDE}*"))


def replace(source: Path, target: Path) -> None:
    """Rename over a file of our own."""
    os.replace(source, target)  # noqa: PTH105 - Path.replace cannot be told apart from ours in a trace


def remove(path: Path) -> None:
    """Remove a name; it is no error if it is gone."""
    with suppress(FileNotFoundError):
        path.unlink()


def write_new(folder: Path, content: bytes) -> Path:
    """Write a temporary file of ours into `folder`, on disk when this returns."""
    return _fill_new(folder, io.BytesIO(content))


def copy_new(source: Path, folder: Path) -> Path:
    """Copy `source`, with its times, into a temporary file of ours in `folder`, on disk when this returns."""
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        copy = _fill_new(folder, stream)
        found = os.fstat(stream.fileno())
    os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
    return copy


def _fill_new(folder: Path, content: BinaryIO) -> Path:
    path = folder / f"{TEMPORARY}{secrets.token_hex(8)}{_UNFINISHED}"
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            shutil.copyfileobj(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        remove(path)
        raise
    return path


def clear_unfinished(folder: Path) -> None:
    """Remove the unfinished files that a crash left in `folder`."""
    for left in folder.glob(f"{TEMPORARY}*{_UNFINISHED}"):
        remove(left)


def sync_folder(folder: Path) -> None:
    """Make what happened to a folder's names survive power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems have no such thing: there the server keeps its promise or does not.
        if error.errno not in {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF}:
            raise
    finally:
        os.close(descriptor)


def make_folder(folder: Path, *, parents: bool, mode: int | None = None) -> None:
    """Make a folder, and its parents if wanted, where it is missing; `mode` is for the folder itself, if it is made."""
    if folder.is_dir():
        return
    if mode is None:
        folder.mkdir(parents=parents, exist_ok=True)
        return
    # By the umask, for a chmod would take away the setgid bit by which a share's folder hands its group down. It is the
    # whole process's: what another thread makes in that moment gets no more rights than the folder.
    before = os.umask(~mode & 0o777)
    try:
        folder.mkdir(parents=parents, exist_ok=True)
    finally:
        os.umask(before)
    if mode & ~stat.S_IMODE(folder.stat().st_mode):
        # setgid or sticky, not inherited. (The systemd unit forbids this one; there the drop folder has the bit.)
        give_mode(folder, mode)


def give_mode(path: Path, mode: int | None) -> None:
    """Give a file or folder these rights, where we may: a file keeps its owner when it is moved, who need not be us.

    Rights that could not be given never hold an invoice up.
    """
    if mode is not None:
        with suppress(OSError):
            # Not by its name: others may write in a shared folder, and could put a link to a file of ours there.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.fchmod(descriptor, mode)
            finally:
                os.close(descriptor)
