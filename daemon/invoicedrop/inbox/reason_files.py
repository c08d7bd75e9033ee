"""The reasons beside failed invoices: each is there before its invoice, and goes after it has left."""

import errno
import math
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from invoicedrop.errors import FolderUnavailable
from invoicedrop.inbox.filed_names import orphaned_reasons, reason_path
from invoicedrop.system import disk
from invoicedrop.system.presence import is_gone, is_there


class ReasonFiles:
    """The reasons in one failed folder. `file_mode` are the rights that they get; without, those of the umask.

    `held` opens a folder and yields the path that leads to it, as `Filing` does for the paths that it hands over.
    """

    def __init__(
        self, failed_dir: Path, held: Callable[[Path], AbstractContextManager[Path]], *, file_mode: int | None
    ) -> None:
        self._failed_dir = failed_dir
        self._held = held
        self._file_mode = file_mode
        self._expected: set[str] = set()
        self._written: set[str] = set()
        self._orphans: list[tuple[str, str]] = []

    def write(self, filed_as: Path, text: str) -> None:
        """Write the reason of the invoice at `filed_as`, in one step.

        Raises:
            FileExistsError: a folder stands in its place.

        """
        temporary = disk.write_new(filed_as.parent, text.encode())
        disk.give_mode(temporary, self._file_mode)
        try:
            disk.replace(temporary, reason_path(filed_as))
        except OSError as error:
            disk.remove(temporary)
            if _is_folder(reason_path(filed_as)):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(filed_as)) from error
            raise

    @contextmanager
    def written_before(self, target: Path, text: str) -> Iterator[None]:
        """Write a reason, while the block moves its invoice to `target`; remove it again if the move fails.

        So nobody ever finds a failed invoice without its reason.
        """
        path = reason_path(target)
        self._expected.add(path.name)
        self._written.add(path.name)
        try:
            self.write(target, text)
            yield
        except BaseException as error:
            # Half moved, or where nobody can look, it keeps its reason.
            if isinstance(error, FileExistsError) or is_gone(target):
                with suppress(IsADirectoryError):
                    disk.remove(path)
            raise
        finally:
            self._expected.discard(path.name)

    def forget(self, filed_as: Path) -> None:
        """Remove the reason of an invoice that has left the failed folder; if that fails, a sweep does it later."""
        with suppress(OSError, FolderUnavailable), self._held(filed_as.parent) as folder:
            _forget(folder / filed_as.name)

    def sweep(self, seconds: float = math.inf) -> bool:
        """Remove every reason whose invoice is no longer beside it; return whether some are left after `seconds`.

        One listing, compared in memory: on a slow share each look at a single name costs milliseconds.

        Raises:
            FolderUnavailable: the failed folder cannot be read now.

        """
        started = time.monotonic()
        if not self._orphans:
            # What is written from now on may be missing in the listing.
            self._written.clear()
            try:
                with self._held(self._failed_dir) as folder:
                    self._orphans = orphaned_reasons(os.listdir(folder))  # noqa: PTH208 - names
            except FileNotFoundError:
                return False
            except OSError as error:
                raise FolderUnavailable(f"{self._failed_dir}: {error.strerror or error}") from error
        if not self._orphans:
            return False
        with suppress(OSError, FolderUnavailable), self._held(self._failed_dir) as folder:
            while self._orphans and time.monotonic() - started < seconds:
                reason, invoice = self._orphans.pop()
                if reason not in self._expected and reason not in self._written:
                    _forget(folder / invoice)
        return bool(self._orphans)


def _forget(filed_as: Path) -> None:
    with suppress(OSError):
        if not is_there(filed_as):
            disk.remove(reason_path(filed_as))


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False
