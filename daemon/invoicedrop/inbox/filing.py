"""Where a finished invoice goes: moved without ever overwriting.

The move is the last step of an invoice's way, so everything here must be repeatable: after a crash at any point the
same call finishes what was begun. What is moved is what was read: a file that changed under its name stays where it is.
"""

import errno
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from invoicedrop.errors import Changed, Deferred, FileUnavailable, FolderUnavailable
from invoicedrop.inbox.filed_names import named_like, reason_path, targets
from invoicedrop.inbox.held_folders import HeldFolders
from invoicedrop.inbox.identity import Identity, digest
from invoicedrop.inbox.moving import Original, OriginalMover, is_our_copy
from invoicedrop.inbox.reason_files import ReasonFiles
from invoicedrop.inbox.target_folder import TargetFolder
from invoicedrop.languages.catalogue import Language, phrase
from invoicedrop.reasons import Reason, reason_text
from invoicedrop.system import disk, file_errors, permissions
from invoicedrop.system.dated_folder import DatedFolder
from invoicedrop.system.mover import DEFAULT_MOVER, Mover, held_aside, is_aside, is_placeholder
from invoicedrop.system.presence import is_folder, is_there
from invoicedrop.timing import DEFAULT_TIMING, Timing


class Filing:
    """The three folders of an inbox; `processed_dir` may have `{year}` and `{month}` in it.

    `file_mode` are the rights that moved invoices and reasons get, `dir_mode` those of folders made here; without
    them, what is moved keeps its own and what is made follows the umask. `require_mounted` raises FolderUnavailable
    where a folder has lost its mount. `clock` returns seconds since the epoch. `language` is that of the reasons.
    """

    def __init__(
        self,
        drop_dir: Path,
        processed_dir: Path,
        failed_dir: Path,
        *,
        file_mode: int | None = None,
        dir_mode: int | None = None,
        require_mounted: Callable[[], None] = lambda: None,
        timing: Timing = DEFAULT_TIMING,
        mover: Mover = DEFAULT_MOVER,
        clock: Callable[[], float] = time.time,
        language: Language = "en",
    ) -> None:
        self.drop_dir = drop_dir
        self.processed_dir = processed_dir
        self.failed_dir = failed_dir
        self._require_mounted = require_mounted
        self._timing = timing
        self._clock = clock
        self._language: Language = language
        self._moves = OriginalMover(mover, file_mode=file_mode, clock=clock)
        self._folders = HeldFolders()

        def target(folder: DatedFolder, *, make_parents: bool | None) -> TargetFolder:
            return TargetFolder(folder, self._folders, make_parents=make_parents, dir_mode=dir_mode, clock=clock)

        dated = DatedFolder.of(processed_dir)
        self._processed = target(dated, make_parents=drop_dir not in dated.fixed.parents)
        self._failed = target(DatedFolder(failed_dir), make_parents=drop_dir not in failed_dir.parents)
        # Made anew, it would hide that a share is not mounted.
        self._drop = target(DatedFolder(drop_dir), make_parents=None)
        self._reasons = ReasonFiles(failed_dir, self._folders.held, file_mode=file_mode)

    def clean_up(self) -> bool:
        """Clear what a crash left, before anything is filed; return whether nothing is left of it.

        Names like ours are believed only if they are what we make: what somebody else made stays as it is.

        Raises:
            FolderUnavailable: a folder cannot be used now.

        """
        for target in (self._processed, self._failed, self._drop):
            for folder in target.lately():
                try:
                    with target.held(folder) as path:
                        if path is not None:
                            disk.clear_unfinished(path, self._folders.owner_in(path))
                except OSError as error:
                    raise FolderUnavailable(f"{folder}: {error.strerror or error}") from error
        try:
            with self._folders.held(self.drop_dir) as drop:
                names = [name for name in os.listdir(drop) if is_aside(name)]  # noqa: PTH208 - names
                return [self._empty_aside(drop, name) for name in names].count(False) == 0
        except OSError as error:
            raise FolderUnavailable(f"{self.drop_dir}: {error.strerror or error}") from error

    def prepare(self) -> None:
        """Make the processed and failed folders, and check that all three can be written.

        Raises:
            FolderUnavailable: one of them cannot be used now.

        """
        # Before a folder is made, or accepted, in the place of one that was on the mount.
        self._require_mounted()
        try:
            present = is_folder(self.drop_dir)
        except OSError as error:
            refusal = permissions.explained(self.drop_dir, error)
            raise FolderUnavailable(
                f"{self.drop_dir} cannot be reached ({error.strerror}): {refusal.sentence}"
            ) from error
        if not present:
            raise FolderUnavailable(f"{self.drop_dir} is not there: is its share mounted?")
        for target in (self._processed, self._failed, self._drop):
            folder = target.now
            try:
                target.prepare()
            except OSError as error:
                refusal = permissions.explained(folder, error)
                raise FolderUnavailable(f"{folder} cannot be written ({error.strerror}): {refusal.sentence}") from error
        self._require_mounted()

    def processed(
        self, name: str, identity: Identity, sha256: str, *, resumed: bool = False, since: float | None = None
    ) -> Path:
        """Move a good invoice out of the drop folder; return its path now.

        `resumed`: a crash may have left this move half done, at `since` (seconds since the epoch) or later: in another
        month's folder, perhaps.

        Raises:
            Changed: the file under this name is not the one with this `sha256`.
            FolderUnavailable: a folder cannot be used now.
            FileUnavailable: this one file cannot be moved now.
            Deferred: the folder that it goes to has been made anew.

        """
        original = Original(identity, sha256)
        return self._file(name, self._processed, original, resumed=resumed, since=since)

    def failed(
        self,
        name: str,
        identity: Identity,
        sha256: str | None,
        reason: Reason,
        detail: str,
        *,
        resumed: bool = False,
    ) -> Path:
        """Move a bad invoice to the failed folder, its reason beside it; return its path now.

        Without `sha256` (a file that is never read) the file is known by its `identity` alone. Raises as `processed`.
        """
        text = reason_text(name, reason, detail, sha256, at=self._clock(), language=self._language)
        return self._file(name, self._failed, Original(identity, sha256), resumed=resumed, reason=text)

    def take_back(self, filed_as: Path) -> None:
        """Move a file that was just filed back into the drop folder; if that fails, it stays where it is."""
        with (
            suppress(OSError, FolderUnavailable),
            self._folders.held(filed_as.parent) as folder,
            self._folders.held(self.drop_dir) as drop,
        ):
            self._moves.put_back(folder / filed_as.name, drop)
        self._reasons.forget(filed_as)

    def forget_reason(self, filed_as: Path) -> None:
        """Remove the reason of an invoice that has left the failed folder; if that fails, a sweep does it later."""
        self._reasons.forget(filed_as)

    def sweep_reasons(self, seconds: float = math.inf) -> bool:
        """Remove every reason whose invoice is no longer beside it; return whether some are left after `seconds`.

        Raises:
            FolderUnavailable: the failed folder cannot be read now.

        """
        return self._reasons.sweep(seconds)

    def lies_in(self, folder: Path, name: str, sha256: str, *, since: float | None = None) -> Path | None:
        """Find the file that a crash kept us from recording: `name`, or `name` made unique, with this content.

        `folder` is one of the three; where it is one for each month, those `since` then are looked through.

        Raises:
            FolderUnavailable: the folder cannot be read now.
            FileUnavailable: a file that may be it cannot be read now.

        """
        target = {self.processed_dir: self._processed, self.failed_dir: self._failed}.get(folder, self._drop)
        for path in target.since(since):
            try:
                with target.held(path) as held:
                    found = None if held is None else self._like_in(held, name, sha256, path)
            except OSError as error:
                raise FolderUnavailable(f"{path}: {error.strerror or error}") from error
            if found is not None:
                return path / found.name
        return None

    def _like_in(self, folder: Path, name: str, sha256: str, shown: Path) -> Path | None:
        paths = named_like(folder, name)
        try:
            return next((path for path in paths if digest(path) == sha256), None)
        except OSError as error:
            if file_errors.is_everybodys(error):
                raise
            detail = f"{name} in {shown} cannot be read: {file_errors.in_words(error)}"
            raise FileUnavailable(self._timing.file_retry, detail) from error

    def _file(
        self,
        name: str,
        target: TargetFolder,
        original: Original,
        *,
        resumed: bool,
        reason: str | None = None,
        since: float | None = None,
    ) -> Path:
        now, *earlier = target.since(since)
        try:
            with self._folders.held(self.drop_dir) as drop:
                source = drop / name
                if not original.is_at(source):
                    raise Changed("the file is not the one that was read")
                for path in earlier if resumed else ():
                    with target.held(path) as held:
                        done = held and self._finished(source, held, original, reason, resumed=True)
                        if done is not None:
                            return path / done.name
                with target.made(now) as held:
                    return now / self._file_held(source, held, original, resumed=resumed, reason=reason).name
        except OSError as error:
            raise self._trouble(self.drop_dir / name, now, error) from error

    def _file_held(self, source: Path, folder: Path, original: Original, *, resumed: bool, reason: str | None) -> Path:
        """Move a file between two folders that are held."""
        filed_as = self._finished(source, folder, original, reason, resumed=resumed)
        if filed_as is not None:
            return filed_as
        for target in targets(folder, source.name, self._clock()):
            if is_there(target):
                continue
            try:
                self._move(source, target, original, reason)
            except FileExistsError:
                continue
            self._sync(source, target)
            return target
        raise AssertionError("there is always another name")

    def _find_half_done(self, source: Path, folder: Path, sha256: str | None, *, resumed: bool) -> Path | None:
        """Find what a crash left of this very move: the file under its new name too, or a whole copy of it."""
        # Without a crash nothing was left half done under another name: no need to go through a folder of thousands.
        if not resumed and not is_there(folder / source.name):
            return None
        for path in named_like(folder, source.name):
            if resumed and is_placeholder(path, self._folders.owner_in(folder)):
                disk.remove(path)
            elif is_our_copy(path, source) or (resumed and sha256 is not None and digest(path) == sha256):
                return path
        return None

    def _finished(
        self, source: Path, folder: Path, original: Original, reason: str | None, *, resumed: bool
    ) -> Path | None:
        """Finish a move into this folder that a crash left half done, and return where to; None if there is none."""
        filed_as = self._find_half_done(source, folder, original.sha256, resumed=resumed)
        if filed_as is None:
            return None
        if reason is not None and not is_there(reason_path(filed_as)):
            self._reasons.write(filed_as, reason)
        self._moves.finish(source, filed_as, original)
        self._sync(source, filed_as)
        return filed_as

    def _move(self, source: Path, target: Path, original: Original, reason: str | None) -> None:
        if reason is None:
            self._moves.move(source, target, original)
        else:
            with self._reasons.written_before(target, reason):
                self._moves.move(source, target, original)

    def _empty_aside(self, drop: Path, name: str) -> bool:
        """Put back what a crash left aside; return whether nothing of ours is left. Its trouble is its own."""
        try:
            with held_aside(drop / name, self._folders.owner_in(drop)) as aside:
                if aside is None:
                    return True
                for path in aside.iterdir():
                    self._moves.put_back(path, drop)
            (drop / name).rmdir()
        except NotADirectoryError:
            return True
        except OSError:
            return False
        return True

    def _sync(self, source: Path, target: Path) -> None:
        disk.sync_folder(target.parent)
        disk.sync_folder(source.parent)

    def _trouble(self, source: Path, folder: Path, error: OSError) -> Changed | Deferred | FolderUnavailable:
        """Return what it means that a file cannot be moved: it is gone, or it is its own trouble, or everybody's.

        Raises:
            FolderUnavailable: a trial shows that a folder cannot be used.

        """
        what = f"{source.name} cannot be moved from {source.parent} to {folder}"
        # The same for all files: none is named.
        for_all = f"files cannot be moved from {source.parent} to {folder}: {error.strerror or error}"
        if file_errors.is_everybodys(error):
            why = f"; {permissions.explained(folder, error).sentence}" if error.errno == errno.ENOSPC else ""
            return FolderUnavailable(f"{for_all}{why}")
        try:
            if not is_there(source):
                if error.errno == errno.ENOENT and is_folder(source.parent):
                    return Changed("the file is gone")
                # A file that has left is never tried again: only the recovery of a whole folder completes its entry.
                return FolderUnavailable(for_all)
        except OSError as unseen:
            # Whether it has left, nobody knows: it is looked at again.
            error = unseen
        self.prepare()
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            # A missing folder has just been made.
            return Deferred(1.0, f"{what}: {error.strerror or error}")
        refusal = permissions.sticky(self.drop_dir) if isinstance(error, PermissionError) else None
        words = f"{error.strerror}; {refusal.sentence}" if refusal is not None else file_errors.in_words(error)
        detail = phrase(
            "{file} cannot be moved from {source} to {target}: {why}",
            file=source.name,
            source=source.parent,
            target=folder,
            why=words,
        )
        return FileUnavailable(self._timing.file_retry, detail)
