"""One invoice's delivery, from a file that was read to its end in processed/ or failed/.

    known? -> check -> order -> there already? -> ask first, if in doubt -> send -> receipt -> file

Every step is written so that it may be repeated after a crash; `daemon/README.md` has the table of what is found then.
The rate limit is waited for before `uploading` is written: an invoice that only waits for its turn is not in doubt.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from structlog.typing import FilteringBoundLogger as Log

from invoicedrop.channable.models import Order
from invoicedrop.errors import Conflict, Deferred, OutcomeUnknown, Paused, Rejected, Unanswered
from invoicedrop.inbox.names import OrderName
from invoicedrop.inbox.snapshot import Snapshot
from invoicedrop.invoice import Receipt, State
from invoicedrop.languages.catalogue import phrase
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.step import StepKind
from invoicedrop.pipeline.ages import age
from invoicedrop.pipeline.confirm import first_look
from invoicedrop.pipeline.endings import Ending
from invoicedrop.pipeline.job import DeliveryContext, Outcome, SettledFile
from invoicedrop.pipeline.order_check import attached_already, checked_order, found_by_number, status_words, with_order
from invoicedrop.pipeline.recall import continued, find_row, retried
from invoicedrop.pipeline.reconcile import look, look_times, next_look
from invoicedrop.pipeline.soft_refusals import (
    may_refuse,
    require_certain_name,
    require_invoice,
    require_known_bytes_nowhere_else,
    require_shipped,
    require_wanted,
)
from invoicedrop.pipeline.validation import require_number, validate, with_facts
from invoicedrop.reasons import Reason
from invoicedrop.system.local_time import DAY
from invoicedrop.timing import backoff


class Delivery:
    """One invoice on its way: `entry` is what is known of it now."""

    def __init__(
        self, context: DeliveryContext, file: SettledFile, name: OrderName, snapshot: Snapshot, log: Log
    ) -> None:
        self.inbox = context.inbox
        self.project = context.project
        self.filing = context.filing
        self.ledger = context.ledger
        self.context = context
        self.file = file
        self.name = name
        self.snapshot = snapshot
        self.log = log
        self.started = time.monotonic()
        self.resumed = False
        self.duplicate = False
        self.twin: str | None = None
        self.credit_note: str | None = None
        self.base_line: frozenset[int] | None = None
        self.decided = False
        self.rejection: Rejected | None = None
        entry = context.new_entry(file, name.reference, snapshot.sha256, snapshot.size, items=name.items)
        is_number = context.inbox.order_id_kind == "marketplace"
        self.entry = replace(entry, marketplace_number=name.order if is_number else None)

    def run(self) -> Outcome:
        """Take the invoice to its end.

        Raises:
            Deferred: it stays, for later.
            Paused: nobody can upload (or file) now; it stays.
            Changed: the file is not the one that was read; it stays and is new.
            Stopping: it stays for the next start.

        """
        self._recall()
        try:
            if not self.entry.sent:
                self._respect_delay()
                self._check(self._expected_numbers())
                require_certain_name(self.name, self.entry, self.twin)
                self._find_order()
                with self._alone_with_bytes_and_order():
                    self._adopt_duplicate()
                    if self.entry.doubt_since is None and not self.entry.sent:
                        self._look_at_order()
                    if not self.entry.sent:
                        receipt = self._ask_first()
                        found = None if receipt is None else "the order was found to have it"
                        self._record_receipt(receipt or self._send(), found)
        except Rejected as rejection:
            return self._ending().failed(rejection)
        except Conflict as conflict:
            return self._ending().wait_for_order(conflict.detail)
        except OutcomeUnknown as doubt:
            return self._ending().put_off(doubt.detail, self._look_times[0] if doubt.is_whole else None)
        except Unanswered as trouble:
            return self._ending().put_off(trouble.detail)
        return self._ending().processed(duplicate=self.duplicate)

    def _recall(self) -> None:
        """Take up what the ledger knows of this invoice."""
        row = find_row(self.entry, self.name, self.context)
        if row is None:
            self.log.info("invoice.found", bytes=self.snapshot.size)
            return
        if row.state is State.FAILED:
            # Somebody moved it back: that is how a retry is asked for, and how a soft reason is waived.
            filed_as, row = row.filed_as, self._retried(row)
            waived = {"waived": sorted(row.waived)} if row.waived else {}
            self.log.info("invoice.found", bytes=self.snapshot.size, again=True, **waived)
            if filed_as is not None:
                self.filing.forget_reason(Path(filed_as))
        # Only what is new was found: of what is known the ledger has every step.
        self.entry = replace(self.entry, steps=())
        self.resumed = row.state in {State.UPLOADED, State.REJECTED}
        self.duplicate = row.state is State.PROCESSED
        self._adopt(row)

    def _retried(self, row: Entry) -> Entry:
        retry = retried(row, self.snapshot.identity.mtime_ns, self.context)
        self.twin = retry.twin
        return retry.entry

    def _adopt(self, row: Entry) -> None:
        """Go on from the ledger's row; what failed before starts over."""
        self.entry = continued(self._retried(row) if row.state is State.FAILED else row, self.entry)

    def _respect_delay(self) -> None:
        """Raise Deferred while the delay after the last try is not over.

        A next try that is further away than its delay was written before the clock was set back: the delay starts over.
        """
        left = (self.entry.next_try or 0.0) - time.time()
        if left > self.entry.delay:
            left = self.entry.delay
            self.entry = self.ledger.delayed(self.entry, left)
        if left > 0:
            raise Deferred(left, self.entry.detail or "")

    def _expected_numbers(self) -> Sequence[str]:
        """Return the order's numbers of which one must occur in the invoice; none if that is not asked for.

        What may have been sent already has passed this check before: it must not end in the failed folder now.
        """
        if self.inbox.require_order_number == "off" or self._rejected_before or self.entry.doubt_since is not None:
            return ()
        if self.name.ambiguity is not None and may_refuse(self.entry, Reason.NAME_AMBIGUOUS):
            # Nobody knows yet which order's numbers these are.
            return ()
        self._find_order()
        order = self.context.order_book.order(self._order_id)
        return sorted({self.name.order, *order.numbers})

    def _check(self, numbers: Sequence[str]) -> None:
        """Have the PDF checked, unless it was rejected before a crash."""
        if self._rejected_before and self.entry.reason is not None:
            raise Rejected(self.entry.reason, self.entry.detail or "")
        try:
            facts = validate(self.file, self.snapshot, numbers, self.context, self.log)
        except Rejected as rejection:
            if self.entry.doubt_since is None:
                raise
            # It passed before, and may have arrived: the order is asked first, whatever the check says now.
            self.rejection = rejection
            return
        self.credit_note = facts.credit_note
        self.entry = with_facts(self.entry, facts)
        if self.entry.steps:
            # It was just found, or moved back: later tries check it anew, which is no news.
            waited = self.context.held_up.steps_since(self.entry.steps[-1].at)
            entry = replace(self.entry, steps=(*self.entry.steps, *waited))
            self.entry = entry.after(StepKind.CHECKED, time.time())
        require_number(facts, numbers, self.inbox)

    @property
    def _watched(self) -> float:
        """For how long this process has seen the file unchanged, in seconds by the monotonic clock."""
        return self.file.quiet + time.monotonic() - self.started

    def _age(self, since: float) -> float:
        return age(since, now=time.time(), started=self.context.started, watched=self._watched)

    def _find_order(self) -> None:
        """Find the Channable order that the name means."""
        if self.inbox.order_id_kind == "channable":
            self.entry = replace(self.entry, order_id=int(self.name.order))
        elif self.entry.order_id is None:
            order = self.context.order_book.put(found_by_number(self.name.order, self.project))
            self.entry = replace(self.entry, order_id=order.id)
        self.log = self.log.bind(order_id=self.entry.order_id)

    @contextmanager
    def _alone_with_bytes_and_order(self) -> Iterator[None]:
        """Keep others from sending these bytes to another order, or anything to this one, meanwhile."""
        account, project_id, order_id = self.entry.account, self.entry.project_id, self.entry.order_id
        pdf, order = ("bytes", account, self.entry.sha256), (account, project_id, order_id)
        # In this order everywhere: nobody who holds an order waits for bytes.
        with self.context.orders.hold(pdf), self.context.orders.hold(order), self.ledger.alone_with(pdf, order):
            yield

    def _adopt_duplicate(self) -> None:
        """Take over the receipt, or the doubt, of the same bytes sent to this order under another name."""
        row = find_row(self.entry, self.name, self.context)
        if row is not None:
            # Another copy may have been sent, or may be in doubt, since this one was read.
            self._adopt(row)
            self._respect_delay()
        if self.entry.sent:
            self.duplicate = True
            return
        copy = self.ledger.same_invoice(self.entry)
        if copy is not None and copy.attachment_id is not None:
            how = f"this very PDF was sent to the order as {copy.file}"
            self.entry = self.ledger.uploaded(self.entry, Receipt(copy.attachment_id), how=how)
            self.duplicate = True
        elif copy is not None:
            ours = self.entry
            # Each try of either begins the looks of both anew, and nothing else does.
            is_known = ours.doubt_since is not None and ours.attempts >= copy.attempts
            self.entry = ours.moved(
                State.UPLOADING,
                doubt_since=copy.doubt_since,
                base_line=copy.base_line,
                looks=ours.looks if is_known else 0,
                attempts=max(ours.attempts, copy.attempts),
            )

    def _look_at_order(self) -> None:
        """Know the order before anything is sent to it, and have a person decide what a program cannot know."""
        order = None
        if self.inbox.order_check == "on":
            order = checked_order(self._order_id, self.context.order_book, self.log)
            self.entry = with_order(self.entry, order)
            attachment_id = attached_already(self.entry, order, self.context)
            if attachment_id is not None:
                self.entry = self.ledger.uploaded(
                    self.entry,
                    Receipt(attachment_id),
                    confirm_after=first_look(self.inbox.confirm, self.context.timing),
                    how="the order had this very PDF already",
                )
                self.duplicate = True
                return
        require_known_bytes_nowhere_else(self.entry, self.ledger.at_another_order(self.entry), self.twin)
        require_invoice(self.entry, self.credit_note, self.twin)
        if order is not None:
            require_wanted(self.entry, order, self.twin)
            self._wait_for_shipment(order)
            self.base_line = frozenset(attachment.id for attachment in order.attachments)

    def _wait_for_shipment(self, order: Order) -> None:
        """Put the invoice off until its order is shipped, where that is asked for."""
        # One that is cancelled is never shipped: a person has decided to send its invoice all the same.
        if self.inbox.wait_for_shipment == "off" or order.is_shipped or order.is_cancelled:
            return
        left = self.inbox.shipment_grace - self._age(self.entry.first_seen)
        if left > 0 and may_refuse(self.entry, Reason.ORDER_NOT_SHIPPED):
            timing = self.context.timing
            delay = min(left, backoff(self.entry.delay, timing.order_retry, timing.longest_order_retry))
            raise self._ending().waits(
                delay,
                phrase(
                    "it waits until order {order} is shipped ({status} now)", order=order.id, status=status_words(order)
                ),
            )
        require_shipped(self.entry, order, self.inbox.shipment_grace / DAY, self.twin)

    def _ask_first(self) -> Receipt | None:
        """If an earlier try may have arrived, ask the API, several times, before anything is sent again."""
        if self.entry.doubt_since is None:
            return None
        if (quarantine := self.context.lease.quarantine) > 0:
            raise Deferred(quarantine, "another machine, from which this one took over, may still be sending it")
        looks = self.entry.looks + 1
        is_waived = Reason.OUTCOME_UNCLEAR in self.entry.waived
        decides = is_waived or next_look(looks, self._look_times) is None
        seen = look(self.entry, self.project, self.ledger, decides=decides)
        log = self.log.info if seen.cache is None else partial(self.log.warning, detail=seen.cache)
        if seen.receipt is not None:
            log("upload.reconciled", attachment_id=seen.receipt.attachment_id, found=True, by=seen.by)
            return seen.receipt
        unclear = seen.unclear or seen.unproven
        log("upload.reconciled", found=False, looks=looks, **({} if unclear is None else {"unclear": unclear}))
        if is_waived:
            # What a person has looked at stops nothing any more, nor counts for a later doubt.
            self.base_line, self.decided = seen.attachments, True
            return None
        wait = next_look(looks, self._look_times, unproven=seen.unproven is not None)
        if wait is not None:
            self.entry = self.ledger.looked_in_vain(self.entry, wait)
            raise Deferred(
                wait, unclear or phrase("whether Channable has the invoice is not known: its order is looked at")
            )
        if unclear is not None:
            raise Rejected(Reason.OUTCOME_UNCLEAR, unclear)
        return None

    @property
    def _look_times(self) -> Sequence[float]:
        return look_times(self.entry, self.inbox.resend_after, self.context.timing)

    def _send(self) -> Receipt:
        """Send it: intent on disk before the first byte leaves."""
        if self.rejection is not None:
            raise self.rejection
        before = self.entry

        def intend() -> None:
            self.context.lease.require()
            # It may have waited long for its turn.
            self.context.require_not_stopped()
            self.entry = self.ledger.uploading(before, self.base_line, anew=self.decided)
            self.log.info("upload.started", attempt=self.entry.attempts)

        try:
            return self.project.upload(
                self._order_id,
                self.snapshot,
                self.name.item_ids,
                before_sending=intend,
                may_leave=self.context.lease.require,
                own_connection=before.doubt_since is not None,
            )
        except OutcomeUnknown as doubt:
            self.log.warning("upload.unknown", detail=doubt.detail, sent_whole=doubt.is_whole)
            if not doubt.is_whole:
                self.entry = self.ledger.not_taken(self.entry, before, doubt.detail)
            raise
        except (Paused, Rejected, Conflict, Unanswered) as refusal:
            if self.entry is not before:
                self.entry = self.ledger.not_taken(self.entry, before, refusal.detail)
            raise

    @property
    def _rejected_before(self) -> bool:
        """Whether the verdict had been passed when the process died."""
        return self.entry.state is State.REJECTED

    @property
    def _order_id(self) -> int:
        assert self.entry.order_id is not None
        return self.entry.order_id

    def _record_receipt(self, receipt: Receipt, how: str | None) -> None:
        """Put the receipt on disk before the file moves."""
        # However it was learned: an upload has gone through.
        self.project.breaker.reset()
        self.entry = self.ledger.uploaded(
            self.entry, receipt, confirm_after=first_look(self.inbox.confirm, self.context.timing), how=how
        )
        slowness = self.project.client.slowness
        slow = {} if slowness is None else {"detail": slowness}
        self.log.info("upload.accepted", attachment_id=receipt.attachment_id, message=receipt.message, **slow)

    def _ending(self) -> Ending:
        return Ending(
            self.context, self.file, self.snapshot, self.entry, self._age, self.log, self.started, self.resumed
        )
