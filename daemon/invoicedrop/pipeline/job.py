"""What a delivery needs, and how it ended."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, Protocol

from invoicedrop.channable.order_book import OrderBook
from invoicedrop.channable.project import Project
from invoicedrop.errors import Stopping
from invoicedrop.inbox.filing import Filing
from invoicedrop.inbox.identity import Identity
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.lease import Lease
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.ledger.step import StepKind
from invoicedrop.pdf.check.verdict import PdfFacts
from invoicedrop.pipeline.deferrals import Deferrals
from invoicedrop.pipeline.held_up import HeldUp
from invoicedrop.pipeline.order_locks import KeyedLock
from invoicedrop.printable import storable
from invoicedrop.settings.inbox import Inbox
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

    `is_stopped` tells whether a person has stopped the inbox meanwhile, `held_up` what keeps all of its invoices.
    `started` is when this process began to work, in seconds since the epoch.
    `failures` counts, by reason, what failed since; `checks` is how long the checks of PDFs took. `lease` is the right
    to work on them; what `ledger` writes of them is written under it.
    """

    inbox: Inbox
    project: Project
    filing: Filing
    ledger: Ledger
    validator: PdfCheck
    orders: KeyedLock
    order_book: OrderBook
    timing: Timing = DEFAULT_TIMING
    is_stopped: Callable[[], bool] = lambda: False
    held_up: HeldUp = field(default_factory=lambda: HeldUp(least=DEFAULT_TIMING.told_wait))
    started: float = field(default_factory=time.time)
    lease: Lease = field(default_factory=Lease)
    failures: Tally = field(default_factory=Tally)
    checks: Durations = field(default_factory=lambda: Durations(CHECK_BOUNDS))
    deferrals: Deferrals = field(init=False)

    def __post_init__(self) -> None:
        """Remember nothing of any file yet."""
        self.deferrals = Deferrals(self.timing)

    def under(self, lease: Lease) -> "DeliveryContext":
        """Return the same under another lease."""
        context = replace(self, ledger=self.ledger.under(lease), lease=lease)
        context.deferrals = self.deferrals
        return context

    def require_not_stopped(self) -> None:
        """Check that nobody has stopped the inbox since the file was handed out.

        Raises:
            Stopping: a person has.

        """
        if self.is_stopped():
            raise Stopping("its inbox was paused")

    def new_entry(self, file: SettledFile, reference: str, sha256: str, size: int, *, items: str = "") -> Entry:
        """Begin what is known of an invoice; nothing is written yet."""
        now = time.time()
        entry = Entry(
            account=self.inbox.account,
            project_id=self.inbox.project_id,
            reference=reference,
            sha256=sha256,
            inbox=self.inbox.name,
            file=storable(file.name),
            size=size,
            first_seen=now,
            items=items,
        )
        return entry.after(StepKind.FOUND, now - file.quiet, file.name)
