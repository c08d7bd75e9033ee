"""What a delivery needs, and how it ended."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from structlog.typing import FilteringBoundLogger as Log

from invoicedrop.channable.project import Project
from invoicedrop.errors import Deferred
from invoicedrop.inbox.filing import Filing
from invoicedrop.inbox.identity import Identity
from invoicedrop.ledger.ledger import Entry, Ledger
from invoicedrop.pdf.validator import Validator
from invoicedrop.pipeline.order_locks import KeyedLock
from invoicedrop.printable import storable
from invoicedrop.settings.models import Inbox


class Outcome(Enum):
    """How an invoice's way ended."""

    PROCESSED = "processed"
    DUPLICATE = "duplicate"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SettledFile:
    """A file in the drop folder that holds still; `quiet` is for how many seconds we have seen that."""

    name: str
    identity: Identity
    quiet: float


@dataclass(slots=True)
class DeliveryContext:
    """What the invoices of one inbox need on their way.

    `clock_ahead` is by how many seconds the drop folder's clock is ahead of ours.
    """

    inbox: Inbox
    project: Project
    filing: Filing
    ledger: Ledger
    validator: Validator
    orders: KeyedLock
    clock_ahead: float = 0.0

    def new_entry(self, settled: SettledFile, reference: str, sha256: str, size: int) -> Entry:
        """Begin what is known of an invoice; nothing is written yet."""
        return Entry(
            account=self.inbox.account,
            project_id=self.inbox.project_id,
            reference=reference,
            sha256=sha256,
            inbox=self.inbox.name,
            file=storable(settled.name),
            size=size,
            first_seen=time.time(),
        )


@contextmanager
def deferral_logged(log: Log) -> Iterator[None]:
    """Tell in the log of a file that cannot be read, or moved, now."""
    try:
        yield
    except Deferred as trouble:
        log.warning("invoice.deferred", seconds=round(trouble.delay, 1), detail=trouble.detail)
        raise
