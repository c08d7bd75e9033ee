"""Every error, grouped by what a caller does."""

from collections.abc import Sequence
from enum import StrEnum

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
    """The upload may or may not have been stored: the API has to be asked before anything is sent again."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Unanswered(InvoicedropError):  # noqa: N818
    """A question to the API (which changes nothing there) got no usable answer; this may be one order's trouble."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class PauseCause(StrEnum):
    """What keeps everybody from uploading."""

    OUTAGE = "outage"
    """The API cannot be reached, is out of service, or something else answers at its address."""
    TOKEN = "token"  # noqa: S105 - a cause, no secret
    """The API token cannot be read, is refused, or may not use the project."""
    RATE_LIMIT = "rate limit"
    """The company's rate limit is used up: no outage, over in seconds."""
    FOLDER = "folder"
    LEDGER = "ledger"
    CHECK = "check"


class Paused(InvoicedropError):  # noqa: N818
    """Nobody can upload now; nothing was taken and nothing moves. `detail` says why, in words for a person."""

    def __init__(self, detail: str, cause: PauseCause) -> None:
        super().__init__(detail)
        self.detail = detail
        self.cause = cause


class FolderUnavailable(Paused):
    """A folder of the inbox cannot be used now (missing, full, read-only, no rights)."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, PauseCause.FOLDER)


class CheckUnavailable(Paused):
    """No process that checks PDFs can be started (no memory, no descriptors), or none works."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, PauseCause.CHECK)


class LedgerUnavailable(Paused):
    """The ledger cannot be written now (disk full, read-only, locked)."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, PauseCause.LEDGER)


class Changed(InvoicedropError):  # noqa: N818
    """The file under this name is not the one that was read: it stays and is treated as new."""


class Stopping(InvoicedropError):  # noqa: N818
    """The service is being stopped: the invoice stays where it is for the next start."""


class NoThreads(InvoicedropError):  # noqa: N818
    """The system gives this process no more threads: it cannot start now."""


class ConfigError(InvoicedropError):
    """The program cannot start: `problems` holds one sentence for each thing to mend."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class InstanceRunning(InvoicedropError):  # noqa: N818
    """Another instance holds the state folder."""
