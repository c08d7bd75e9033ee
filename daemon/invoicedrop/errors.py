"""Every error that this program raises on purpose, grouped by what a caller does, not by what went wrong underneath.

    InvoicedropError
      Rejected             this invoice can never pass            -> failed/
      Deferred             this invoice, later                    -> stays in the drop folder, own backoff
      OutcomeUnknown       the POST may have arrived              -> ask the API, then one of the others
      Conflict             the order is not ready for it          -> stays, own backoff, for an hour
      Unanswered           a question to the API got no answer    -> stays, own backoff
        Refused              because it was refused, or a box spoke
      Paused               nobody can upload now                  -> the whole project waits, one probe at a time
        FolderUnavailable    because of a folder of the inbox
        CheckUnavailable     because no PDF can be checked
        LedgerUnavailable    because of the ledger
          LedgerDamaged        which does not heal by waiting     -> at the start: exit 78
        NoThreads            because of threads
      Changed              the file, or what the ledger says of it, is not what was read -> stays, treated as new
      Stopping             the service is being stopped           -> stays, for the next start
      ConfigError          the program cannot start               -> exit 78, all problems at once
        NotSetUp             `setup` wrote nothing
        NotInstalled         an extra is missing
        NotSeen              this user may not see it             -> exit 75
      BackupFailed         the copy cannot be written now         -> exit 75
      InstanceRunning      the state or a drop folder is in use   -> exit 75

Foreign errors (httpx, OSError, sqlite3) are translated into these at one boundary each. A mistake in this program (such
as `invoice.IllegalMoveError`) is none of them.
"""

import errno
from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

from invoicedrop.reasons import Reason


class InvoicedropError(Exception):
    """Base of every error that this program raises on purpose."""


class Rejected(InvoicedropError):  # noqa: N818 - these names say what happens to the invoice
    """This invoice can never pass: it goes to the failed folder with `reason`; `detail` is technical."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Deferred(InvoicedropError):  # noqa: N818
    """This invoice must wait `delay` seconds; it stays in the drop folder."""

    def __init__(self, delay: float, detail: str) -> None:
        super().__init__(detail)
        self.delay = delay
        self.detail = detail


class FileUnavailable(Deferred):
    """This one file cannot be looked at, read or moved now, although others can; each try doubles the delay."""


class OutcomeUnknown(InvoicedropError):  # noqa: N818
    """The upload may or may not have been stored: the API has to be asked before anything is sent again.

    `is_whole` is whether all of it may have left: what did not cannot have been stored.
    """

    def __init__(self, detail: str, *, is_whole: bool = True) -> None:
        super().__init__(detail)
        self.detail = detail
        self.is_whole = is_whole


class Unanswered(InvoicedropError):  # noqa: N818
    """A question to the API (which changes nothing there) got no usable answer; this may be one order's trouble."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Conflict(InvoicedropError):  # noqa: N818
    """The order's state is against it now, which may pass by itself (a twin still being handled): it was not taken."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Refused(Unanswered):
    """A question about one resource was refused, or a box answered it: the resource, or all, is in trouble."""


class PauseCause(StrEnum):
    """What keeps everybody from uploading."""

    OUTAGE = "outage"
    """The API cannot be reached, is out of service, or something else answers at its address."""
    TOKEN = "token"  # noqa: S105 - a cause, no secret
    """The API token cannot be read, is refused, or may not use the project."""
    RATE_LIMIT = "rate limit"
    """The company's rate limit is used up: no outage, over in seconds."""
    PROJECT = "project"
    """The API knows none of several orders: `project_id` may be wrong."""
    FOLDER = "folder"
    DISK = "disk"
    """A disk is full, or a quota is used up."""
    LEDGER = "ledger"
    CHECK = "check"
    THREADS = "threads"


class Paused(InvoicedropError):  # noqa: N818
    """Nobody can upload now; nothing was taken and nothing moves. `detail` says why, in words for a person."""

    def __init__(self, detail: str, cause: PauseCause) -> None:
        super().__init__(detail)
        self.detail = detail
        self._cause = cause

    @property
    def cause(self) -> PauseCause:
        """What keeps everybody from uploading; a full disk, where the error that it was raised from says so."""
        return PauseCause.DISK if _is_full_disk(self.__cause__) else self._cause


def _is_full_disk(error: BaseException | None) -> bool:
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return getattr(error, "sqlite_errorname", None) == "SQLITE_FULL"


class FolderUnavailable(Paused):
    """A folder of the inbox cannot be used now (missing, full, read-only, no rights)."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, PauseCause.FOLDER)


class CheckUnavailable(Paused):
    """No process that checks PDFs can be started (no memory, no descriptors), or none works."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, PauseCause.CHECK)


class LedgerUnavailable(Paused):
    """The ledger cannot be read or written now (disk full, read-only, locked, damaged)."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, PauseCause.LEDGER)


class LedgerDamaged(LedgerUnavailable):
    """The ledger's file is damaged, or is no ledger: somebody has to put another one in its place, or to remove it."""


class NoThreads(Paused):
    """The system gives this process no more threads."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, PauseCause.THREADS)


class Changed(InvoicedropError):  # noqa: N818
    """The file under this name, or its entry in the ledger, is not the one that was read: it stays, treated as new."""


class Stopping(InvoicedropError):  # noqa: N818
    """The service is being stopped: the invoice stays where it is for the next start."""


class ConfigError(InvoicedropError):
    """The program cannot start: `problems` holds one sentence for each thing to correct."""

    heading: ClassVar[str] = "invoicedrop cannot start"
    """What a command prints above the problems."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class NotSetUp(ConfigError):  # noqa: N818
    """The set-up wrote nothing."""

    heading = "invoicedrop setup has written nothing"


class NotInstalled(ConfigError):  # noqa: N818
    """A part of the program is missing that only some installations need: `library`, of the extra of that name."""

    heading = "this needs something that is not installed"

    def __init__(self, library: str, extra: str, wanted_by: str = "") -> None:
        needed = f"{wanted_by} needs {library}, which" if wanted_by else library
        sentence = (
            f"{needed} comes with the extra {extra!r}: pip install 'invoicedrop[{extra}]'; in a checkout pip install "
            f"-e '.[{extra}]'; with the systemd unit sudo systemd/install --with {extra}"
        )
        super().__init__([sentence])


class NotSeen(ConfigError):  # noqa: N818
    """This user may not see what was asked for: no fault of the settings."""

    heading = "this user may not see that"


class BackupFailed(InvoicedropError):  # noqa: N818
    """No backup could be written now; an older one of the same name is as it was."""


class InstanceRunning(InvoicedropError):  # noqa: N818
    """Another instance holds the state folder, or a drop folder."""
