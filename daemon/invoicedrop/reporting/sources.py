"""Where the facts of `invoicedrop status` come from: the ledger, and what the daemon last reported."""

from dataclasses import dataclass
from typing import Final

from invoicedrop.invoice import State
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.reporting.overview import DaemonState
from invoicedrop.service.inbox_stops import in_words, stopped
from invoicedrop.service.status_file import InboxReport
from invoicedrop.settings.inbox import Inbox
from invoicedrop.settings.settings import Settings

_MAX_ENTRIES: Final = 10_000
"""Entries of unfinished or failed invoices that are read, the latest changed first."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the facts come from; without a ledger, none is there or it cannot be read.

    `only` is the one inbox that is asked about (None: all).
    """

    settings: Settings
    ledger: Ledger | None
    daemon: DaemonState
    now: float
    only: str | None = None

    @property
    def inboxes(self) -> list[Inbox]:
        """The inboxes that are asked about."""
        return [inbox for inbox in self.settings.inboxes if self.only in {None, inbox.name}]

    def entries(self, *states: State, newest: int = _MAX_ENTRIES) -> list[Entry]:
        """Return the entries in these states, the latest changed first."""
        return [] if self.ledger is None else self.ledger.in_state(*states, newest=newest, inbox=self.only)

    def count(self, state: State, since: float) -> int:
        """Return how many entries have reached this state since then."""
        return 0 if self.ledger is None else self.ledger.count(state, since=since, inbox=self.only)

    def stopped_by(self, inbox: Inbox) -> str | None:
        """Return why an inbox is stopped, in words: by the ledger, or else by what the daemon reports."""
        if self.ledger is None:
            report = self.report(inbox)
            return None if report is None else report.stopped_by
        stop = stopped(self.ledger).get(inbox.name)
        return None if stop is None else in_words(stop, self.now)

    def report(self, inbox: Inbox) -> InboxReport | None:
        """Return what the daemon reports of an inbox, if that can be believed."""
        report = self.daemon.report
        return None if report is None or not self.daemon.is_fresh else report.inboxes.get(inbox.name)
