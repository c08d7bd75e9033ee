"""The reasons beside failed invoices: each is there before its invoice, and goes after it has left."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from invoicedrop.errors import FolderUnavailable
from invoicedrop.inbox.filed_names import REASON_SUFFIX, reason_of, reason_path
from invoicedrop.system import disk


class ReasonFiles:
    """The reasons in one failed folder. `file_mode` are the rights that they get; without, those of the umask."""

    def __init__(self, failed_dir: Path, *, file_mode: int | None) -> None:
        self._failed_dir = failed_dir
        self._file_mode = file_mode
        self._expected: set[Path] = set()

    def write(self, filed_as: Path, text: str) -> None:
        """Write the reason of the invoice at `filed_as`, in one step."""
        temporary = disk.write_new(filed_as.parent, text.encode())
        disk.give_mode(temporary, self._file_mode)
        try:
            disk.replace(temporary, reason_path(filed_as))
        except OSError:
            disk.remove(temporary)
            raise

    @contextmanager
    def written_before(self, target: Path, text: str) -> Iterator[None]:
        """Write a reason, while the block moves its invoice to `target`; remove it again if the move fails.

        So nobody ever finds a failed invoice without its reason.
        """
        path = reason_path(target)
        self._expected.add(path)
        try:
            self.write(target, text)
            yield
        except BaseException as error:
            # Where the move was half done, the invoice is there already and keeps its reason.
            if isinstance(error, FileExistsError) or not os.path.lexists(target):
                disk.remove(path)
            raise
        finally:
            self._expected.discard(path)

    def forget(self, filed_as: Path) -> None:
        """Remove the reason of an invoice that has left the failed folder; if that fails, a sweep does it later."""
        with suppress(OSError):
            if not os.path.lexists(filed_as):
                disk.remove(reason_path(filed_as))

    def sweep(self) -> None:
        """Remove every reason whose invoice is no longer beside it.

        Raises:
            FolderUnavailable: the failed folder cannot be read now.

        """
        try:
            for path in self._failed_dir.glob(f"*{REASON_SUFFIX}"):
                invoice = reason_of(path)
                if invoice is not None and path not in self._expected:
                    self.forget(invoice)
        except OSError as error:
            raise FolderUnavailable(f"{self._failed_dir}: {error.strerror or error}") from error
