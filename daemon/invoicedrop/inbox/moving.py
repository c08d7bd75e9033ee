"""A file that was read, moved to its folder: only while it is still the one that was read, and whole on both ways.

Within a file system it is renamed, across file systems copied; in both cases never over anything.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from invoicedrop.errors import Changed
from invoicedrop.inbox.filed_names import targets
from invoicedrop.inbox.identity import Identity, digest, identity_of
from invoicedrop.system import disk
from invoicedrop.system.mover import Mover


class Original(NamedTuple):
    """The file that was read; without `sha256` (a file that is never read) it is known by its identity alone."""

    identity: Identity
    sha256: str | None

    def is_at(self, path: Path) -> bool:
        """Whether the file at `path` is the one that was read: the same file untouched, or the same bytes."""
        try:
            identity = identity_of(path.lstat())
        except FileNotFoundError:
            return False
        return identity.is_like(self.identity) or (self.sha256 is not None and digest(path) == self.sha256)


class OriginalMover:
    """Moves what was read. `file_mode` are the rights that it gets; without, it keeps its own.

    `clock` returns seconds since the epoch.
    """

    def __init__(self, mover: Mover, *, file_mode: int | None, clock: Callable[[], float]) -> None:
        self._mover = mover
        self._file_mode = file_mode
        self._clock = clock

    def move(self, source: Path, target: Path, original: Original) -> None:
        """Move a file; if it was exchanged at the last moment, put it back to be treated as new.

        Raises:
            Changed: it was exchanged.
            FileExistsError: there is something of the new name already.
            OSError: it cannot be moved.

        """
        copied = self._move_or_copy(source, target, original.sha256)
        if not copied and not original.is_at(target):
            self.put_back(target, source.parent)
            raise Changed("the file was exchanged while it was being moved")
        disk.give_mode(target, self._file_mode)

    def finish(self, source: Path, target: Path, original: Original) -> None:
        """Finish a move that a crash left half done: the file is at `target`, and at `source` as well.

        Raises:
            OSError: it cannot be finished now.

        """
        disk.give_mode(target, self._file_mode)
        self._mover.withdraw(source, original.is_at)

    def put_back(self, path: Path, drop: Path) -> None:
        """Move a file that is not ours to file back into the drop folder.

        Raises:
            OSError: it cannot be moved.

        """
        for target in targets(drop, path.name, self._clock()):
            try:
                self._move_or_copy(path, target, None)
            except FileExistsError:
                continue
            return

    def _move_or_copy(self, source: Path, target: Path, sha256: str | None) -> bool:
        """Move a file without overwriting; return whether it took a copy, which is then verified already."""
        try:
            self._mover.move(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy(source, target, sha256)
            return True
        return False

    def _copy(self, source: Path, target: Path, sha256: str | None) -> None:
        """Move across file systems: the source goes only when its whole copy is on disk and verified."""
        identity = identity_of(source.lstat())
        temporary = disk.copy_new(source, target.parent)
        try:
            copied = digest(temporary)
            same = copied == (sha256 or digest(source))
            if same:
                self._mover.move(temporary, target)
        finally:
            disk.remove(temporary)
        if not same:
            raise Changed("the file changed while it was copied")
        disk.sync_folder(target.parent)
        self._mover.withdraw(source, Original(identity, copied).is_at)


def is_our_copy(target: Path, source: Path) -> bool:
    """Whether the target is this very file, or a copy of it, whose source a crash kept us from removing.

    Our copies keep the source's times; a duplicate that comes later has times of its own.
    """
    copy, original = target.lstat(), source.lstat()
    if os.path.samestat(copy, original):
        return True
    alike = (copy.st_size, copy.st_mtime_ns) == (original.st_size, original.st_mtime_ns)
    return alike and original.st_size > 0 and digest(target) == digest(source)
