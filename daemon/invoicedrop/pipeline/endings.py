"""How a delivery ends: in processed/, in failed/, or with the file left where it is, for later."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from structlog.typing import FilteringBoundLogger as Log

from invoicedrop.errors import Changed, Deferred, LedgerUnavailable, Rejected
from invoicedrop.inbox.snapshot import Snapshot
from invoicedrop.invoice import State
from invoicedrop.languages.catalogue import phrase
from invoicedrop.ledger.entry import Entry
from invoicedrop.pipeline.job import DeliveryContext, Outcome, SettledFile
from invoicedrop.reasons import Reason
from invoicedrop.timing import backoff


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of one delivery. `age` tells how long ago a moment was, in seconds.

    `resumed`: an earlier life may have moved the file already.
    """

    context: DeliveryContext
    file: SettledFile
    snapshot: Snapshot
    entry: Entry
    age: Callable[[float], float]
    log: Log
    started: float
    resumed: bool

    def processed(self, *, duplicate: bool) -> Outcome:
        """Move a sent invoice to the processed folder: the last step."""
        entry = self.entry
        with self._moving():
            filed_as = self.context.filing.processed(
                self.file.name,
                self.snapshot.identity,
                self.snapshot.sha256,
                resumed=self.resumed,
                since=entry.uploaded_at,
            )
        self._require_still_ours(filed_as)
        if entry.state is not State.PROCESSED:
            # Another copy that was filed at the same time may have written it down already.
            with suppress(Changed):
                self.context.ledger.processed(entry, filed_as)
        else:
            self.context.ledger.came_again(entry, self.file.name)
        if duplicate:
            self.log.info("invoice.duplicate", attachment_id=entry.attachment_id, filed_as=filed_as.name)
            return Outcome.DUPLICATE
        self.log.info(
            "invoice.processed",
            attempts=entry.attempts,
            bytes=self.snapshot.size,
            pages=entry.pages,
            attachment_id=entry.attachment_id,
            filed_as=filed_as.name,
            milliseconds=round((time.monotonic() - self.started) * 1000),
        )
        return Outcome.PROCESSED

    def failed(self, rejection: Rejected) -> Outcome:
        """Move a bad invoice to the failed folder, unless its order may still come."""
        grace = self.context.inbox.order_grace - self.age(self.entry.first_seen)
        if rejection.reason is Reason.ORDER_NOT_FOUND and grace > 0:
            raise self.waits(min(self.context.timing.order_retry, grace), rejection.detail, rejection.reason)
        ledger, entry = self.context.ledger, self.entry
        if not self.resumed:
            entry = ledger.rejected(entry, rejection.reason, rejection.detail)
        with self._moving():
            filed_as = self.context.filing.failed(
                self.file.name,
                self.snapshot.identity,
                self.snapshot.sha256,
                rejection.reason,
                rejection.detail,
                resumed=self.resumed,
            )
        self._require_still_ours(filed_as)
        ledger.failed(entry, filed_as, mtime_ns=self.snapshot.identity.mtime_ns)
        self.log.warning(
            "invoice.failed", reason=str(rejection.reason), detail=rejection.detail, filed_as=filed_as.name
        )
        self.context.failures.add(rejection.reason)
        return Outcome.FAILED

    def put_off(self, detail: str, delay: float | None = None) -> Outcome:
        """Put off an invoice with trouble of its own, or give it up when others pass and its time is over.

        Each further delay is twice the one before, unless one is given.
        """
        entry = self.entry
        # An outage before, and a wait for the shipment, were no trouble of its own.
        began = entry.doubt_since or entry.trouble_since
        overdue = began is not None and self.age(began) > self.context.inbox.give_up_after
        # Others pass if one did about since it was last put off: few would while this one is being tried.
        if overdue and self.context.ledger.others_pass(entry, since=time.time() - 2 * entry.delay):
            return self.failed(
                Rejected(
                    Reason.GAVE_UP, phrase("{count} tries; the last one: {detail}", count=entry.attempts, detail=detail)
                )
            )
        delay = self._next_delay() if delay is None else delay
        self.context.ledger.troubled(entry, delay, detail)
        raise self.context.deferrals.note(self.file.name, self.log, delay, detail)

    def wait_for_order(self, detail: str) -> Outcome:
        """Put off an invoice that conflicts with its order's state (a twin still being handled), or give it up.

        Only time in which it could be tried counts, not by how much this try came late after an outage or a stop.
        """
        since, due = self.entry.conflict_since, self.entry.next_try
        if since is not None and due is not None and due <= time.time():
            since += self.age(due)
        if since is not None and self.age(since) >= self.context.timing.conflict_patience:
            return self.failed(Rejected(Reason.REFUSED_BY_API, detail))
        delay = self._next_delay()
        self.context.ledger.conflicted(self.entry, delay, detail, since=since)
        raise self.context.deferrals.note(
            self.file.name, self.log, delay, phrase("the order is not ready for this invoice: {detail}", detail=detail)
        )

    def waits(self, delay: float, detail: str, reason: Reason | None = None) -> Deferred:
        """Write down that the invoice waits, and return what to raise. `reason`: what it would fail for."""
        self.context.ledger.deferred(replace(self.entry, trouble_since=None), delay, detail)
        return self.context.deferrals.note(self.file.name, self.log, delay, detail, reason)

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """Move a file within the block, while the inbox is ours."""
        self.context.lease.require()
        with self.context.deferrals.noted(self.file.name, self.log):
            yield

    def _require_still_ours(self, filed_as: Path) -> None:
        """Take a move back that was made too late: by a process that was stopped right before it.

        Whoever owns the inbox now may have gone on with the file since, or a person has: back in the drop folder, it is
        taken again, and its entry says what becomes of it.
        """
        try:
            self.context.lease.require()
        except LedgerUnavailable:
            self.context.filing.take_back(filed_as)
            raise

    def _next_delay(self) -> float:
        return backoff(self.entry.delay, self.context.timing.first_retry, self.context.timing.longest_retry)
