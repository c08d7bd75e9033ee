"""The reasons beside failed invoices: each is there before its invoice, and goes after it has left."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from invoicedrop.errors import FolderUnavailable
from invoicedrop.inbox.filed_names import REASON_SUFFIX, reason_of, reason_path
from invoicedrop.system import disk


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
        try:
            self.write(target, text)
            yield
        except BaseException as error:
            # Where the move was half done, the invoice is there already and keeps its reason.
            if isinstance(error, FileExistsError) or not os.path.lexists(target):
                with suppress(IsADirectoryError):
                    disk.remove(path)
            raise
        finally:
            self._expected.discard(path.name)

    def forget(self, filed_as: Path) -> None:
        """Remove the reason of an invoice that has left the failed folder; if that fails, a sweep does it later."""
        with suppress(OSError, FolderUnavailable), self._held(filed_as.parent) as folder:
            _forget(folder / filed_as.name)

    def sweep(self) -> None:
        """Remove every reason whose invoice is no longer beside it.

        Raises:
            FolderUnavailable: the failed folder cannot be read now.

        """
        try:
            with self._held(self._failed_dir) as folder:
                for path in folder.glob(f"*{REASON_SUFFIX}"):
                    invoice = reason_of(path)
                    if invoice is not None and path.name not in self._expected:
                        _forget(invoice)
        except OSError as error:
            raise FolderUnavailable(f"{self._failed_dir}: {error.strerror or error}") from error


def _forget(filed_as: Path) -> None:
    with suppress(OSError):
        if not os.path.lexists(filed_as):
            disk.remove(reason_path(filed_as))


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False
