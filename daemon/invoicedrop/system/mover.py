"""Moves within a file system that never overwrite.

`os.rename` overwrites silently, so it is never used on a name that may be somebody else's. The ways that do not
overwrite, best first, each used where the file system lacks the one before:

1. `renameat2(RENAME_NOREPLACE)`: one atomic step (https://man7.org/linux/man-pages/man2/rename.2.html).
2. `link`, then the old name is withdrawn (NFS): for a moment both names lead to the same file.
3. An empty file of the new name, created exclusively, and `rename` over that (no hard links: some FUSE).

None of them crosses file systems (EXDEV, between bind mounts as well): there `inbox/filing` copies.
"""

import ctypes
import errno
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, cast

from invoicedrop.system.disk import TEMPORARY, remove, replace
from invoicedrop.system.held_folder import held

_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1
_UNSUPPORTED: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EMLINK})
_ASIDE_PREFIX: Final = f"{TEMPORARY}aside-"
_ASIDE: Final = re.compile(rf"{re.escape(_ASIDE_PREFIX)}[0-9a-f]{{16}}")
"""The names of the folders in which a file is put aside; what a crash left in them must go back."""
_PLACEHOLDER_MODE: Final = 0o200


def _find_renameat2() -> Callable[..., int] | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
        function.restype = ctypes.c_int
    return cast("Callable[..., int] | None", function)


_renameat2: Final = _find_renameat2()


def renameat2(source: Path, target: Path) -> None:
    """Rename a file in one step, unless there is something of the new name: the system call that `os` lacks.

    Raises:
        FileExistsError: there is something of the new name already.
        OSError: as the system says; ENOSYS where the C library lacks the call.

    """
    if _renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if _renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(source), None, str(target))


class Mover:
    """Moves files within a file system, in the best way that it supports; `rename` is the first way."""

    def __init__(self, rename: Callable[[Path, Path], None] = renameat2) -> None:
        self._rename = rename

    def move(self, source: Path, target: Path) -> None:
        """Move a file, never overwriting.

        Raises:
            FileExistsError: there is something of the new name already.
            OSError: with EXDEV across file systems; anything else as the system says.

        """
        for way in (self._rename, self._link):
            try:
                way(source, target)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
            else:
                return
        _move_onto_placeholder(source, target)

    def withdraw(self, path: Path, is_ours: Callable[[Path], bool]) -> None:
        """Remove a name whose file has another one now, unless a new file has taken it meanwhile: that goes back.

        To look before removing would leave a gap; so the file is first put aside, where nobody else reaches it.
        """
        folder = path.parent / f"{_ASIDE_PREFIX}{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        try:
            # Held, and no link: whoever may write beside it can exchange the folder, too.
            with held(folder, follow=False) as inside:
                aside = inside / path.name
                replace(path, aside)
                if is_ours(aside):
                    remove(aside)
                else:
                    with suppress(FileExistsError):
                        self.move(aside, path)
        except FileNotFoundError:
            # Somebody else has removed it.
            pass
        finally:
            # A file that cannot go back, its name being taken again, waits there for `asides`.
            with suppress(OSError):
                folder.rmdir()

    def _link(self, source: Path, target: Path) -> None:
        os.link(source, target, follow_symlinks=False)
        linked = target.lstat()
        self.withdraw(source, lambda aside: os.path.samestat(aside.lstat(), linked))


DEFAULT_MOVER: Final = Mover()


def _move_onto_placeholder(source: Path, target: Path) -> None:
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, _PLACEHOLDER_MODE))
    try:
        replace(source, target)
    except OSError:
        remove(target)
        raise


def is_placeholder(path: Path, owner: int) -> bool:
    """Whether this is what a crash left of a move of this user's (uid): empty, and of a mode that no real file has."""
    status = path.lstat()
    ours = stat.S_ISREG(status.st_mode) and status.st_uid == owner
    return ours and status.st_size == 0 and stat.S_IMODE(status.st_mode) == _PLACEHOLDER_MODE


def is_aside(name: str) -> bool:
    """Whether a folder of this name is one in which we put a file aside, as far as the name says."""
    return _ASIDE.fullmatch(name) is not None


@contextmanager
def held_aside(folder: Path, owner: int) -> Iterator[Path | None]:
    """Hold a folder in which a crash left a file aside while the block runs; None if it is not this user's (uid).

    Raises:
        OSError: it cannot be opened, or is no folder but a link.

    """
    with held(folder, follow=False) as inside:
        yield inside if inside.stat().st_uid == owner else None
