"""Which inboxes are stopped, as the ledger says: a person stops and starts them by commands, beside a running service.

The ledger is read again whenever the loop goes round, at most once a second, and before anything is handed out: so no
signal is needed, and whoever may write the ledger may pause. The loop goes round every few seconds, and for each file.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from invoicedrop.errors import LedgerUnavailable
from invoicedrop.languages.catalogue import phrase
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.ledger.stops import Stop, StopKind
from invoicedrop.service.inbox_log import InboxLog
from invoicedrop.settings.inbox import Inbox
from invoicedrop.system.local_time import local


class InboxStops:
    """The stops of all inboxes, as they were a moment ago. `look`: the least time between two looks. For one thread."""

    def __init__(self, ledger: Ledger, *, look: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._look = look
        self._clock = clock
        self._stops: Mapping[str, Stop] = {}
        self._next_look = 0.0

    def of(self, inbox: str) -> Stop | None:
        """Return why an inbox is stopped; None if it is not. What is known stays while the ledger cannot be read."""
        now = self._clock()
        if now >= self._next_look:
            self._next_look = now + self._look
            # Whoever needs the ledger for an invoice says that it cannot be read.
            with suppress(LedgerUnavailable):
                self._stops = stopped(self._ledger)
        return self._stops.get(inbox)

    def hold(self, inbox: str, files: int) -> None:
        """Hold an inbox at its first start, until a person lets it go on.

        Raises:
            LedgerUnavailable: that cannot be written down now.

        """
        stop = Stop(inbox, StopKind.HELD, time.time(), files=files)
        self._ledger.stops.put(stop)
        self._stops = {**self._stops, inbox: stop}


class InboxStop:
    """Whether one inbox is stopped; what changes is logged. For one thread, but for `words`."""

    def __init__(self, inbox: Inbox, stops: InboxStops, ledger: Ledger, log: InboxLog) -> None:
        self._inbox = inbox
        self._stops = stops
        self._ledger = ledger
        self._log = log
        self._stop: Stop | None = None
        self._is_first_start: bool | None = None

    @property
    def words(self) -> str | None:
        """Why the inbox is stopped, in words; None if it is not. May be asked in any thread."""
        return None if self._stop is None else in_words(self._stop, time.time())

    def look(self) -> None:
        """See whether somebody has stopped the inbox, or let it go on."""
        before, self._stop = self._stop, self._stops.of(self._inbox.name)
        if self._stop is None and before is not None:
            self._log.resumed(before)
        elif self._stop is not None and self._stop != before:
            self._log.stopped(self._stop, in_words(self._stop, time.time()))

    def begin(self) -> None:
        """Find out whether this is a first start, before anything is handed out: with the first invoice it is over.

        Raises:
            LedgerUnavailable: the ledger cannot be read now.

        """
        if self._is_first_start is None:
            inbox = self._inbox
            self._is_first_start = self._ledger.stops.is_first_start(inbox.name, inbox.account, inbox.project_id)

    def judge_first_start(self, waiting: int) -> None:
        """Hold what waits when the folder is first seen, if it is more than anybody may have meant.

        Raises:
            LedgerUnavailable: that cannot be written down now.

        """
        if self._is_first_start and 0 < self._inbox.hold_above < waiting:
            self._stops.hold(self._inbox.name, waiting)
            self.look()
        # What comes later was dropped at work.
        self._is_first_start = False


def stopped(ledger: Ledger) -> dict[str, Stop]:
    """Return the inboxes that are stopped now, by name.

    Raises:
        LedgerUnavailable: the ledger cannot be read now.

    """
    return {inbox: stop for inbox, stop in ledger.stops.all().items() if stop.kind is not StopKind.RESUMED}


def in_words(stop: Stop, now: float) -> str:
    """Return why an inbox is stopped, and since when; `now` is in seconds since the epoch."""
    since = local(stop.since)
    when = f"{since:%H:%M}" if since.date() == local(now).date() else f"{since:%Y-%m-%d %H:%M}"
    if stop.kind is StopKind.HELD:
        return phrase(
            "held since {when}: {files} files waited at its first start, more than hold_above; see that all of them "
            "are to be sent, then let them go by: invoicedrop resume",
            when=when,
            files=stop.files,
        )
    if stop.words:
        return phrase("paused by a person since {when}: {words}", when=when, words=stop.words)
    return phrase("paused by a person since {when}", when=when)
