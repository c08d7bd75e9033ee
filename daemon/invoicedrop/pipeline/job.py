"""What a delivery needs, and how it ended."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from invoicedrop.channable.order_book import OrderBook
from invoicedrop.channable.project import Project
from invoicedrop.inbox.filing import Filing
from invoicedrop.inbox.identity import Identity
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.pdf.check.verdict import PdfFacts
from invoicedrop.pipeline.deferrals import Deferrals
from invoicedrop.pipeline.order_locks import KeyedLock
from invoicedrop.printable import storable
from invoicedrop.settings.models import Inbox
from invoicedrop.tally import Durations, Tally
from invoicedrop.timing import DEFAULT_TIMING, Timing

CHECK_BOUNDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
"""Seconds; those between which the times of checks are told apart."""


class Outcome(Enum):
    """How an invoice's way ended."""

    PROCESSED = "processed"
    DUPLICATE = "duplicate"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SettledFile:
    """A file in the drop folder that no longer changes; `quiet` is the seconds for which we have seen that."""

    name: str
    identity: Identity
    quiet: float


class PdfCheck(Protocol):
    """What checks PDFs: `Validator`, or what a test puts in its place."""

    def warm_up(self) -> None:
        """Get ready for the first check."""

    def check(self, fd: int, size: int, *, max_pages: int = ..., expect: Sequence[str] = ...) -> PdfFacts:
        """Check the PDF behind `fd`; see `Validator.check`."""

    def close(self) -> None:
        """End every check."""


@dataclass(slots=True)
class DeliveryContext:
    """What the invoices of one inbox need on their way.

    `started` is when this process began to work, in seconds since the epoch. `failures` counts, by reason, what failed
    since; `checks` is how long the checks of PDFs took.
    """

    inbox: Inbox
    project: Project
    filing: Filing
    ledger: Ledger
    validator: PdfCheck
    orders: KeyedLock
    order_book: OrderBook
    timing: Timing = DEFAULT_TIMING
    started: float = field(default_factory=time.time)
    failures: Tally = field(default_factory=Tally)
    checks: Durations = field(default_factory=lambda: Durations(CHECK_BOUNDS))
    deferrals: Deferrals = field(init=False)

    def __post_init__(self) -> None:
        """Remember nothing of any file yet."""
        self.deferrals = Deferrals(self.timing)

    def new_entry(self, file: SettledFile, reference: str, sha256: str, size: int, *, items: str = "") -> Entry:
        """Begin what is known of an invoice; nothing is written yet."""
        return Entry(
            account=self.inbox.account,
            project_id=self.inbox.project_id,
            reference=reference,
            sha256=sha256,
            inbox=self.inbox.name,
            file=storable(file.name),
            size=size,
            first_seen=time.time(),
            items=items,
        )
