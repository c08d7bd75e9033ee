"""What an invoice is: its order, its file name, its states, and every way it can go wrong.

    InvoicedropError
      Rejected         this invoice can never pass            -> failed/
      Deferred         this invoice, later                    -> stays in the drop folder, own backoff
      OutcomeUnknown   the POST may have arrived              -> ask the API, then one of the others
      Unanswered       a question to the API got no answer    -> stays, own backoff
      Paused           nobody can upload now                  -> the whole project waits, one probe at a time
      Changed          the file is not what was read any more -> stays, treated as new
      Stopping         the service is being stopped           -> stays, for the next start
      ConfigError      cannot start                           -> exit 78, all problems at once
      InstanceRunning  the state folder is in use             -> exit 75

The groups follow what a caller does, not what went wrong underneath: foreign errors (httpx, OSError,
SQLAlchemy) are translated into these at one boundary each.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final, Literal, NamedTuple

from invoicedrop.reasons import Reason

OrderIdKind = Literal["channable", "marketplace"]


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


class Paused(InvoicedropError):  # noqa: N818
    """Nobody can upload now; nothing was taken and nothing moves. `detail` says why, in words for a person."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class FolderUnavailable(Paused):
    """A folder of the inbox cannot be used now (missing, full, read-only, no rights)."""


class CheckUnavailable(Paused):
    """No process that checks PDFs can be started (no memory, no descriptors), or none works."""


class LedgerUnavailable(Paused):
    """The ledger cannot be written now (disk full, read-only, locked)."""


class Changed(InvoicedropError):  # noqa: N818
    """The file under this name is not the one that was read: it stays and is treated as new."""


class Stopping(InvoicedropError):  # noqa: N818
    """The service is being stopped: the invoice stays where it is for the next start."""


class ConfigError(InvoicedropError):
    """The program cannot start: `problems` holds one sentence for each thing to mend."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class InstanceRunning(InvoicedropError):  # noqa: N818
    """Another instance holds the state folder."""


class State(StrEnum):
    """How far an invoice has come; the ledger's states.

    received -> uploading -> uploaded -> processed, or from any of the first two -> rejected -> failed.
    """

    RECEIVED = "received"
    UPLOADING = "uploading"
    UPLOADED = "uploaded"
    PROCESSED = "processed"
    REJECTED = "rejected"
    FAILED = "failed"


class OrderName(NamedTuple):
    """What a file name says: the order (digits, or a marketplace's number) and the order items, if any."""

    order: str
    item_ids: tuple[int, ...] = ()


class Ignored(NamedTuple):
    """A name that is left alone in the drop folder, and why (one log line)."""

    why: str


_CHANNABLE_NAME: Final = re.compile(r"(?P<order>[0-9]{1,18})(?P<rest>[_ ].*)?\.pdf", re.IGNORECASE | re.DOTALL)
_MARKETPLACE_NAME: Final = re.compile(
    r"(?P<order>[A-Za-z0-9][A-Za-z0-9.:#/+-]{0,99})(?P<rest>[_ ].*)?\.pdf", re.IGNORECASE | re.DOTALL
)
_ITEMS: Final = re.compile(r"_items((?:-[0-9]{1,18})+)(?:[_ ].*)?", re.IGNORECASE | re.DOTALL)
_ITEMS_MEANT: Final = re.compile(r"_items-", re.IGNORECASE)
_TEMPORARY: Final = ("*.tmp", "*.part", "*.partial", "*.filepart", "*.crdownload", "~$*", "thumbs.db", "desktop.ini")
_EXAMPLES: Final = {
    "channable": "8355.pdf, 8355_2.pdf or 8355_items-11-12.pdf (8355 is the Channable order id)",
    "marketplace": "302-1234567-1234567.pdf or 302-1234567-1234567_2.pdf (the marketplace's order number)",
}


def ignored(name: str) -> Ignored | None:
    """Say why a name in the drop folder is none of our business; None if it is an invoice's."""
    folded = name.casefold()
    if folded.startswith("."):
        return Ignored("hidden file")
    if any(fnmatchcase(folded, pattern) for pattern in _TEMPORARY):
        return Ignored("temporary file")
    if not folded.endswith(".pdf"):
        return Ignored("not a .pdf file")
    return None


def parse_name(name: str, kind: OrderIdKind) -> OrderName:
    """Read the order from a file name, by the grammar `<order>[_items-<id>...][_or space<anything>].pdf`.

    Raises:
        Rejected: the name does not say which order (or which order items) the invoice is for.

    """
    pattern = _CHANNABLE_NAME if kind == "channable" else _MARKETPLACE_NAME
    match = pattern.fullmatch(name)
    if match is None:
        raise Rejected(Reason.NAME_WITHOUT_ORDER, f"a right name looks like {_EXAMPLES[kind]}")
    order, rest = match["order"], match["rest"] or ""
    if kind == "channable":
        order = str(int(order))
        if order == "0":
            raise Rejected(Reason.NAME_WITHOUT_ORDER, f"0 is no order id; a right name looks like {_EXAMPLES[kind]}")
    items = _ITEMS.fullmatch(rest)
    if items is not None:
        return OrderName(order, tuple(int(item) for item in items[1][1:].split("-")))
    if _ITEMS_MEANT.match(rest):
        # Sending to every item of the order is not what this name asks for.
        raise Rejected(
            Reason.NAME_WITHOUT_ORDER,
            "what follows _items- must be order item ids joined by hyphens, for example 8355_items-11-12.pdf",
        )
    return OrderName(order)


class Identity(NamedTuple):
    """What tells one state of a file from another without reading it."""

    device: int
    inode: int
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """The API's word that it took an invoice: its attachment id, and the message of a warning, if any."""

    attachment_id: int
    message: str | None = None
