"""Looks at the orders of accepted invoices: whether each shows its invoice, and no trouble.

Channable's 202 says that it took the file; what the marketplace makes of it appears later, in the order's events. So
the order is read again, at the times of `Timing.confirm_after`. Nothing is moved by what is found: the events' words
are documented nowhere, and a person decides what they mean.

**Each look reads the order itself, no page of orders.** Events come only with the single order, and nowhere is it
written that an event changes the order's `modified`: an order that looks the same on a page may have been refused
meanwhile, which a bookkeeper has to know within hours. Five reads for an invoice are within a quarter of the rate up to
17,000 invoices a day; beyond that, looks come later.

**Which events count.** There is no base line of events, so the API's own times decide: an event older than our
attachment (by `created` of both) is not about it. Where that is missing or later than our receipt, the receipt's time
counts, by the server's clock; where the order does not show our attachment, the time when its file was first seen. An
event without a time counts: to look at an order in vain costs less than an invoice that was refused without a word.

**Not listed.** A list may lag, and one answer may be wrong, so until the last look nothing follows from it; then the
order is looked at some more, until as many looks as there are times have been taken, and only then is it trouble. Where
a later invoice of ours is listed, it may have replaced this one (Amazon keeps the latest): that is no trouble.

**An order that cannot be read** (404, 500, an odd answer) says nothing of its invoice: the look is taken later, ever
more seldom. Only where a day after the last look's time the order has never been seen with its invoice, and Channable
has taken others meanwhile (so that it is no outage), a person is told just that.

Ages are as `ages` counts them: a clock that is set makes no look the last one. The ledger is written before the log: a
death in between costs the line, and `status` has it all the same.
"""

import random
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from structlog.typing import FilteringBoundLogger as Log

from invoicedrop.channable.models import Event
from invoicedrop.channable.project import AttachedOrder, Project
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.logs import get_logger
from invoicedrop.pipeline.ages import age
from invoicedrop.printable import storable
from invoicedrop.timing import Timing

_CLOCK_MARGIN: Final = timedelta(seconds=5)
"""By how much two clocks of the server, or ours and its Date header, may differ."""
_LATENESS: Final = 0.1
"""By how much of its time a look is put off at random, so that a backlog's do not come due at one moment."""
_EVENTS_KEPT: Final = 5
_WORDS_KEPT: Final = 300
"""Characters of one event."""


def first_look(confirm: str, timing: Timing) -> float | None:
    """Return how long after it was accepted an invoice's order is first looked at; None if `confirm` is "off"."""
    return _about(timing.confirm_after[0]) if confirm == "on" else None


def _about(seconds: float) -> float:
    return seconds * random.uniform(1.0, 1.0 + _LATENESS)  # noqa: S311 - jitter, no secret


class Confirmation:
    """The looks at one project's orders. Used by one thread."""

    def __init__(self, project: Project, ledger: Ledger, timing: Timing) -> None:
        self._project = project
        self._ledger = ledger
        self._timing = timing
        self._times: Sequence[float] = timing.confirm_after
        self._started = time.time()
        self._started_monotonic = time.monotonic()

    def look(self, entry: Entry) -> None:
        """Read the order of an accepted invoice, and write down and log what it shows.

        Raises what `Project.order` does, LedgerUnavailable, and Changed where somebody else wrote the entry.
        """
        assert entry.order_id is not None
        attached = self._project.order(entry.order_id)
        listed = any(attachment.id == entry.attachment_id for attachment in attached.order.attachments)
        elapsed = self._elapsed(entry)
        is_last = elapsed >= self._times[-1]
        settled = listed or (is_last and self._is_replaced(entry, attached))
        troubles = self._troubles(entry, attached)
        question = _in_words(troubles) if troubles else None
        detail = f"events: {_counted(troubles)}"
        if not settled and is_last and entry.confirm_looks >= len(self._times):
            settled = True
            question = question or "the order does not show this invoice"
            detail = detail if troubles else "the order does not show the invoice"
        # After the last time there is only what was not settled by then.
        wait = next((moment - elapsed for moment in self._times if moment > elapsed), self._times[0])
        before = entry
        entry = self._ledger.looked_at(
            entry,
            None if is_last and settled else _about(wait),
            confirmed=listed and question is None and entry.question is None,
            question=question,
        )
        if question is not None and question != before.question:
            self._log_of(entry).warning("invoice.questioned", detail=detail)
        elif entry.confirmed_at is not None and before.confirmed_at is None:
            self._log_of(entry).info("invoice.confirmed")

    def not_read(self, entry: Entry) -> None:
        """Put a look off: the order could not be read."""
        elapsed = self._elapsed(entry)
        in_time = elapsed < self._times[-1] + self._timing.confirm_give_up
        last_look = (entry.uploaded_at or 0.0) + self._times[-1]
        if in_time or not self._ledger.others_pass(entry, since=last_look):
            overdue = elapsed - max((moment for moment in self._times if moment <= elapsed), default=0.0)
            delay = min(max(self._timing.confirm_retry, overdue), self._timing.longest_confirm_retry)
            self._ledger.look_put_off(entry, _about(delay))
        elif entry.confirmed_at is not None or entry.question is not None:
            self._ledger.look_put_off(entry, None)
        else:
            question = "the order could not be read: whether it has this invoice is not known"
            entry = self._ledger.looked_at(entry, None, question=question)
            self._log_of(entry).warning("invoice.questioned", detail="the order could not be read")

    def _elapsed(self, entry: Entry) -> float:
        """Return the seconds since the invoice was accepted."""
        watched = time.monotonic() - self._started_monotonic
        return age(entry.uploaded_at or 0.0, now=time.time(), started=self._started, watched=watched)

    def _is_replaced(self, entry: Entry, attached: AttachedOrder) -> bool:
        """Whether the order shows an invoice that we sent later."""
        later = self._ledger.sent_later(entry)
        return any(attachment.id in later for attachment in attached.order.attachments)

    def _troubles(self, entry: Entry, attached: AttachedOrder) -> list[Event]:
        """Return the order's events that report trouble and may be about this invoice, in the API's order."""
        accepted = datetime.fromtimestamp(entry.uploaded_at or 0.0, UTC) + attached.clock_ahead
        since = datetime.fromtimestamp(entry.first_seen, UTC) + attached.clock_ahead
        for attachment in attached.order.attachments:
            if attachment.id == entry.attachment_id:
                since = min(attachment.created or accepted, accepted)
        return [
            event
            for event in attached.events
            if event.is_trouble and (event.created is None or event.created >= since - _CLOCK_MARGIN)
        ]

    def _log_of(self, entry: Entry) -> Log:
        return get_logger().bind(
            inbox=entry.inbox,
            file=entry.file,
            order_id=entry.order_id,
            sha256=entry.sha256,
            attachment_id=entry.attachment_id,
            looks=entry.confirm_looks,
        )


def _in_words(troubles: Sequence[Event]) -> str:
    """Return what the last of these events say, for a person."""
    last = troubles[-_EVENTS_KEPT:]
    return storable("; ".join(f"{event.status}: {(event.message or 'no words')[:_WORDS_KEPT]}" for event in last))


def _counted(troubles: Sequence[Event]) -> str:
    counts = Counter((event.status or "").lower() for event in troubles)
    return ", ".join(f"{number} of level {status}" for status, number in sorted(counts.items()))
