"""Where a finished invoice goes: moved without ever overwriting, with a reason beside each failure.

The move is the last step of an invoice's way, so everything here must be repeatable: after a crash at any point the
same call finishes what was begun. What is moved is what was read: a file that changed under its name stays where it is.
"""

import errno
import os
import time
from contextlib import suppress
from pathlib import Path

from invoicedrop.errors import Changed, Deferred, FolderUnavailable
from invoicedrop.inbox.filed_names import REASON_SUFFIX, named_like, reason_of, reason_path, targets
from invoicedrop.inbox.identity import Identity, identity_of
from invoicedrop.inbox.snapshot import digest
from invoicedrop.reasons import Reason, reason_text
from invoicedrop.system import disk, permissions
from invoicedrop.timing import DEFAULT_TIMING, Timing


class Filing:
    """The three folders of an inbox.

    `file_mode` are the rights that moved invoices and reasons get, `dir_mode` those of folders made here; without
    them, what is moved keeps its own and what is made follows the umask.
    """

    def __init__(
        self,
        drop_dir: Path,
        processed_dir: Path,
        failed_dir: Path,
        *,
        file_mode: int | None = None,
        dir_mode: int | None = None,
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        self.drop_dir = drop_dir
        self.processed_dir = processed_dir
        self.failed_dir = failed_dir
        self._file_mode = file_mode
        self._dir_mode = dir_mode
        self._timing = timing
        self._on_their_way: set[Path] = set()

    def clean_up(self) -> None:
        """Clear what a crash left: to be called before anything is filed.

        Raises:
            FolderUnavailable: a folder cannot be used now.

        """
        try:
            for folder in (self.processed_dir, self.failed_dir, self.drop_dir):
                disk.clear_unfinished(folder)
            for place in disk.asides(self.drop_dir):
                for aside in place.iterdir():
                    _put_back(aside, self.drop_dir)
                place.rmdir()
        except OSError as error:
            raise FolderUnavailable(f"{error.filename}: {error.strerror or error}") from error

    def prepare(self) -> float:
        """Make the processed and failed folders, see that all three can be written.

        Returns by how many seconds the drop folder's clock (a file server's, perhaps) is ahead of ours.

        Raises:
            FolderUnavailable: one of them cannot be used now.

        """
        try:
            there = self.drop_dir.is_dir()
        except OSError as error:
            refusal = permissions.explained(self.drop_dir, error)
            raise FolderUnavailable(
                f"{self.drop_dir} cannot be reached ({error.strerror}): {refusal.sentence}"
            ) from error
        if not there:
            # Made anew, it would hide that a share is not mounted.
            raise FolderUnavailable(f"{self.drop_dir} is not there: is its share mounted?")
        ahead = 0.0
        for folder in (self.processed_dir, self.failed_dir, self.drop_dir):
            try:
                if folder != self.drop_dir:
                    disk.make_folder(folder, parents=self.drop_dir not in folder.parents, mode=self._dir_mode)
                trial = disk.write_new(folder, b"may be removed")
                ahead = trial.stat().st_ctime - time.time()
                disk.remove(trial)
            except OSError as error:
                refusal = permissions.explained(folder, error)
                raise FolderUnavailable(f"{folder} cannot be written ({error.strerror}): {refusal.sentence}") from error
        return ahead

    def processed(self, name: str, identity: Identity, sha256: str, *, resumed: bool = False) -> Path:
        """Move a good invoice out of the drop folder; return where it lies now.

        `resumed` says that this may have been begun before a crash.

        Raises:
            Changed: the file under this name is not the one with this `sha256`.
            FolderUnavailable: a folder cannot be used now.
            Deferred: this one file cannot be moved now.

        """
        return self._move(name, self.processed_dir, identity, sha256, resumed=resumed)

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
        """Move a bad invoice to the failed folder, its reason beside it; return where it lies now.

        Without `sha256` (a file that is never read) the file is known by its `identity` alone. Raises as `processed`.
        """
        text = reason_text(name, reason, detail, sha256)
        return self._move(name, self.failed_dir, identity, sha256, resumed=resumed, reason=text)

    def forget_reason(self, filed_as: Path) -> None:
        """Remove the reason of an invoice that has left the failed folder; one that cannot go now goes later."""
        with suppress(OSError):
            if not os.path.lexists(filed_as):
                disk.remove(reason_path(filed_as))

    def sweep_reasons(self) -> None:
        """Remove every reason whose invoice is no longer beside it."""
        try:
            for reason in self.failed_dir.glob(f"*{REASON_SUFFIX}"):
                invoice = reason_of(reason)
                if invoice is not None and reason not in self._on_their_way:
                    self.forget_reason(invoice)
        except OSError as error:
            raise FolderUnavailable(f"{self.failed_dir}: {error.strerror or error}") from error

    def lies_in(self, folder: Path, name: str, sha256: str) -> Path | None:
        """Find the file that a crash kept us from recording: `name`, or `name` made unique, with this content."""
        try:
            return next((one for one in named_like(folder, name) if digest(one) == sha256), None)
        except OSError as error:
            raise FolderUnavailable(f"{folder}: {error.strerror or error}") from error

    def _move(
        self,
        name: str,
        folder: Path,
        identity: Identity,
        sha256: str | None,
        *,
        resumed: bool,
        reason: str | None = None,
    ) -> Path:
        source = self.drop_dir / name
        try:
            if not _is_the_file(source, identity, sha256):
                raise Changed("the file is not the one that was read")
            target = self._find_finished(source, folder, sha256, resumed=resumed)
            if target is not None:
                if reason is not None and not reason_path(target).exists():
                    self._write_reason(reason_path(target), reason)
                disk.give_mode(target, self._file_mode)
                disk.withdraw(source, lambda aside: _is_the_file(aside, identity, sha256))
                self._sync(folder)
                return target
            for target in targets(folder, name):
                if os.path.lexists(target):
                    continue
                try:
                    self._move_with_reason(source, target, identity, sha256, reason)
                except FileExistsError:
                    continue
                self._sync(folder)
                return target
        except OSError as error:
            self._explain(source, folder, error)
        raise AssertionError("there is always another name")

    def _sync(self, folder: Path) -> None:
        disk.sync_folder(folder)
        disk.sync_folder(self.drop_dir)

    def _find_finished(self, source: Path, folder: Path, sha256: str | None, *, resumed: bool) -> Path | None:
        """Find what a crash left of this very move: the file under its new name too, or a whole copy of it."""
        # Without a crash nothing was left half done under another name: no need to go through a folder of thousands.
        if not resumed and not os.path.lexists(folder / source.name):
            return None
        for one in named_like(folder, source.name):
            if resumed and disk.is_placeholder(one):
                disk.remove(one)
            elif _is_our_copy(one, source) or (resumed and sha256 is not None and digest(one) == sha256):
                return one
        return None

    def _move_with_reason(
        self, source: Path, target: Path, identity: Identity, sha256: str | None, reason: str | None
    ) -> None:
        """Move a file, its reason first, so that nobody ever finds a failed invoice without one."""
        beside = reason_path(target)
        self._on_their_way.add(beside)
        try:
            if reason is not None:
                self._write_reason(beside, reason)
            self._move_and_look(source, target, identity, sha256)
        except BaseException as error:
            # Where the move was half done, the invoice stands there already, and its reason with it.
            if reason is not None and (isinstance(error, FileExistsError) or not os.path.lexists(target)):
                disk.remove(beside)
            raise
        finally:
            self._on_their_way.discard(beside)

    def _write_reason(self, beside: Path, reason: str) -> None:
        temporary = disk.write_new(beside.parent, reason.encode())
        disk.give_mode(temporary, self._file_mode)
        try:
            disk.replace(temporary, beside)
        except OSError:
            disk.remove(temporary)
            raise

    def _move_and_look(self, source: Path, target: Path, identity: Identity, sha256: str | None) -> None:
        """Move a file; if it was exchanged at the last moment, put it back to be treated as new."""
        if not _move_or_copy(source, target, sha256) and not _is_the_file(target, identity, sha256):
            _put_back(target, self.drop_dir)
            raise Changed("the file was exchanged while it was being moved")
        disk.give_mode(target, self._file_mode)

    def _explain(self, source: Path, folder: Path, error: OSError) -> None:
        """Say whose trouble it is that a file cannot be moved: everybody's, its own, or nobody's (it is gone)."""
        if error.errno == errno.ENOENT and not os.path.lexists(source) and source.parent.is_dir():
            raise Changed("the file is gone") from error
        detail = f"{source.name} cannot be moved from {source.parent} to {folder}: {error.strerror or error}"
        # A file that has left already is never tried again: only the recovery of a whole folder completes its entry.
        if error.errno in {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR} and os.path.lexists(source):
            self.prepare()
            refusal = permissions.sticky(self.drop_dir)
            if refusal is not None:
                detail = f"{detail}; {refusal.sentence}"
            # A missing folder has just been made; for any other trouble there is no telling when it ends.
            raise Deferred(1.0 if error.errno == errno.ENOENT else self._timing.file_retry, detail) from error
        raise FolderUnavailable(detail) from error


def _is_the_file(path: Path, identity: Identity, sha256: str | None) -> bool:
    """Say whether the file at `path` is the one that was read: the same file untouched, or the same bytes."""
    try:
        found = identity_of(path.lstat())
    except FileNotFoundError:
        return False
    return found == identity or (sha256 is not None and digest(path) == sha256)


def _is_our_copy(target: Path, source: Path) -> bool:
    """Say whether the target is this very file, or a copy of it, that a crash kept us from removing the source of.

    Our copies keep the source's times; a duplicate that comes later has times of its own.
    """
    there, here = target.lstat(), source.lstat()
    if os.path.samestat(there, here):
        return True
    alike = (there.st_size, there.st_mtime_ns) == (here.st_size, here.st_mtime_ns)
    return alike and here.st_size > 0 and digest(target) == digest(source)


def _put_back(path: Path, drop_dir: Path) -> None:
    """Move a file that is not ours to file back into the drop folder."""
    for back in targets(drop_dir, path.name):
        try:
            _move_or_copy(path, back, None)
        except FileExistsError:
            continue
        return


def _move_or_copy(source: Path, target: Path, sha256: str | None) -> bool:
    """Move a file without overwriting; say whether it took a copy, which is then verified already."""
    try:
        disk.move(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target, sha256)
        return True
    return False


def _copy(source: Path, target: Path, sha256: str | None) -> None:
    """Move across file systems: the source goes only when its whole copy is on disk and verified."""
    before = identity_of(source.lstat())
    temporary = disk.copy_new(source, target.parent)
    try:
        same = digest(temporary) == (sha256 or digest(source))
        if same:
            disk.move(temporary, target)
    finally:
        disk.remove(temporary)
    if not same:
        raise Changed("the file changed while it was copied")
    disk.sync_folder(target.parent)
    disk.withdraw(source, lambda aside: identity_of(aside.lstat()) == before)
