"""What `invoicedrop status` finds out: the folders say what is there, the ledger what is known about it.

The daemon's own report adds why it rests. All is only read, while the daemon runs or not; a backlog of any length
takes the memory of its first thousand files.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from invoicedrop.commands import access
from invoicedrop.errors import LedgerUnavailable
from invoicedrop.inbox.listing import list_folder
from invoicedrop.invoice import State
from invoicedrop.ledger.ledger import Entry, Ledger
from invoicedrop.printable import storable
from invoicedrop.reasons import advice
from invoicedrop.service.status_file import InboxReport, Liveness, liveness
from invoicedrop.settings.models import Inbox, Settings
from invoicedrop.system import permissions

NO_DAEMON: Final = "no daemon is running"
_MOST: Final = 1_000
"""Files in a list; the totals count all."""
_KNOWN: Final = 10_000
"""Entries of unfinished or failed invoices that are looked through, the latest changed first."""
_LAST_SENT: Final = 10
_UNFINISHED: Final = (State.RECEIVED, State.UPLOADING, State.UPLOADED, State.REJECTED)


@dataclass(frozen=True, slots=True)
class WaitingFile:
    """An invoice in a drop folder. Here and below, times are seconds since the epoch."""

    inbox: str
    file: str
    since: float
    order_id: int | None
    in_doubt: bool
    why: str
    until: float | None


@dataclass(frozen=True, slots=True)
class FailedFile:
    """An invoice that still lies in a failed folder; `problem` and `remedy` are in a bookkeeper's words."""

    inbox: str
    file: str
    order_id: int | None
    when: float
    reason: str
    problem: str
    remedy: str
    detail: str
    filed_as: str


@dataclass(frozen=True, slots=True)
class SentFile:
    """An invoice that went."""

    inbox: str
    file: str
    order_id: int | None
    when: float
    attachment_id: int | None
    filed_as: str | None


@dataclass(frozen=True, slots=True)
class InboxState:
    """How an inbox does. `seconds` is how long its company's backlog takes at the API's rate; None: no rate is set."""

    name: str
    folder: str
    waiting: int
    trouble: str | None
    paused: str | None
    next_probe: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Overview:
    """All that `status` tells."""

    now: float
    alive: Liveness
    ledger_trouble: str | None
    ledger_exists: bool
    inboxes: list[InboxState]
    waiting: list[WaitingFile]
    failed: list[FailedFile]
    failed_total: int
    sent: list[SentFile]
    today_since: float
    sent_today: int
    failed_today: int

    @property
    def waiting_total(self) -> int:
        """How many invoices wait in all drop folders."""
        return sum(inbox.waiting for inbox in self.inboxes)


def look(settings: Settings) -> Overview:
    """Look at folders, ledger and the daemon's report."""
    try:
        with access.existing_ledger(settings) as ledger:
            return _Look(settings, ledger, None).overview()
    except LedgerUnavailable as trouble:
        return _Look(settings, None, str(trouble)).overview()


class _Look:
    def __init__(self, settings: Settings, ledger: Ledger | None, ledger_trouble: str | None) -> None:
        self.settings = settings
        self.ledger = ledger
        self.ledger_trouble = ledger_trouble
        self.now = time.time()
        self.alive = liveness(settings)

    def overview(self) -> Overview:
        counts: dict[str, int] = {}
        troubles: dict[str, str] = {}
        waiting: list[WaitingFile] = []
        known = {(entry.inbox, entry.file): entry for entry in reversed(self._entries(*_UNFINISHED))}
        for inbox in self.settings.inboxes:
            try:
                files, counts[inbox.name] = self._waiting_in(inbox, known)
                waiting += files
            except OSError as error:
                counts[inbox.name] = 0
                troubles[inbox.name] = permissions.explained(inbox.drop_dir, error).sentence
        failed, failed_total = self._failed()
        midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        return Overview(
            now=self.now,
            alive=self.alive,
            ledger_trouble=self.ledger_trouble,
            ledger_exists=self.ledger is not None,
            inboxes=[self._state(inbox, counts, troubles) for inbox in self.settings.inboxes],
            waiting=sorted(waiting, key=_urgency)[:_MOST],
            failed=failed,
            failed_total=failed_total,
            sent=[
                SentFile(one.inbox, one.file, one.order_id, one.changed, one.attachment_id, one.filed_as)
                for one in self._entries(State.PROCESSED, newest=_LAST_SENT)
            ],
            today_since=midnight,
            sent_today=self._count(State.PROCESSED, midnight),
            failed_today=self._count(State.FAILED, midnight),
        )

    def _entries(self, *states: State, newest: int = _KNOWN) -> list[Entry]:
        return [] if self.ledger is None else self.ledger.in_state(*states, newest=newest)

    def _count(self, state: State, since: float) -> int:
        return 0 if self.ledger is None else self.ledger.count(state, since=since)

    # What waits

    def _waiting_in(self, inbox: Inbox, known: Mapping[tuple[str, str], Entry]) -> tuple[list[WaitingFile], int]:
        """Return the first files of a drop folder (those with trouble of their own, then the oldest); and count all."""
        report = self._report(inbox)
        files: list[WaitingFile] = []
        count = 0
        for name, status, left_alone in list_folder(inbox.drop_dir):
            if left_alone is not None:
                continue
            count += 1
            entry = known.get((inbox.name, storable(name)))
            # Another file under the same name is another invoice.
            ours = entry if entry is not None and entry.size == status.st_size else None
            files.append(self._waiting(inbox, storable(name), status.st_mtime, ours, report))
            if len(files) >= 2 * _MOST:
                files = sorted(files, key=_urgency)[:_MOST]
        return sorted(files, key=_urgency)[:_MOST], count

    def _waiting(
        self, inbox: Inbox, name: str, since: float, entry: Entry | None, report: InboxReport | None
    ) -> WaitingFile:
        why, until = self._why(name, entry, report)
        return WaitingFile(
            inbox=inbox.name,
            file=name,
            since=since if entry is None else entry.first_seen,
            order_id=None if entry is None else entry.order_id,
            in_doubt=entry is not None and entry.doubt_since is not None,
            why=why,
            until=until,
        )

    def _why(self, name: str, entry: Entry | None, report: InboxReport | None) -> tuple[str, float | None]:
        """Say why a file waits, and until when: its own trouble first, then its inbox's."""
        why, until = ("", None) if entry is None else self._own_trouble(entry)
        if not why and report is not None and name in report.put_off:
            until, why = report.put_off[name]
        if not why and self.alive.running is False:
            why = NO_DAEMON
        elif not why and report is not None and (report.unavailable or report.paused):
            why = report.unavailable or report.paused or ""
            until = None if report.unavailable else report.next_probe
        return why or "it waits for its turn", until

    def _own_trouble(self, entry: Entry) -> tuple[str, float | None]:
        if entry.state is State.UPLOADED:
            return "it was sent, and is about to be moved to the processed folder", None
        if entry.state is State.REJECTED:
            return f"it cannot be sent, and is about to be moved to the failed folder: {entry.detail}", None
        if entry.next_try is not None and entry.next_try > self.now:
            return entry.detail or "it is tried again later", entry.next_try
        if entry.state is State.UPLOADING and entry.next_try is None and self.alive.running:
            return "it is being sent", None
        if entry.doubt_since is not None:
            return "an upload had no answer: Channable is asked whether it has it before it is sent again", None
        return "", None

    def _report(self, inbox: Inbox) -> InboxReport | None:
        if self.alive.report is None or not self.alive.fresh:
            return None
        return self.alive.report.inboxes.get(inbox.name)

    def _state(self, inbox: Inbox, counts: Mapping[str, int], troubles: Mapping[str, str]) -> InboxState:
        report = self._report(inbox)
        return InboxState(
            name=inbox.name,
            folder=str(inbox.drop_dir),
            waiting=counts[inbox.name],
            trouble=troubles.get(inbox.name) or (report.unavailable if report is not None else None),
            paused=report.paused if report is not None else None,
            next_probe=report.next_probe if report is not None else None,
            seconds=self._seconds(inbox, counts),
        )

    def _seconds(self, inbox: Inbox, counts: Mapping[str, int]) -> float | None:
        """Say how long the backlog of an inbox's company takes: what the bucket cannot take at once leaks out."""
        if inbox.requests_per_second <= 0:
            return None
        requests = sum(
            counts[one.name] * _requests_each(one) for one in self.settings.inboxes if one.account == inbox.account
        )
        room = inbox.burst - access.new_rate_limiter(inbox, self.ledger).level()[0]
        return max(0.0, requests - room) / inbox.requests_per_second

    # What failed

    def _failed(self) -> tuple[list[FailedFile], int]:
        """Return what still lies in the failed folders, the latest first, and how many do."""
        failed: list[FailedFile] = []
        for entry in self._entries(State.FAILED):
            if len(failed) == _MOST:
                break
            if entry.filed_as is None or entry.reason is None or not os.path.lexists(entry.filed_as):
                continue
            problem, remedy = advice(entry.reason)
            failed.append(
                FailedFile(
                    inbox=entry.inbox,
                    file=Path(entry.filed_as).name,
                    order_id=entry.order_id,
                    when=entry.changed,
                    reason=str(entry.reason),
                    problem=problem,
                    remedy=remedy,
                    detail=entry.detail or "",
                    filed_as=entry.filed_as,
                )
            )
        return failed, max(len(failed), sum(_count_in(inbox.failed_dir) for inbox in self.settings.inboxes))


def _urgency(file: WaitingFile) -> tuple[bool, float, str]:
    return (not (file.in_doubt or file.until is not None), file.since, file.file)


def _requests_each(inbox: Inbox) -> int:
    """Requests that one invoice costs: with a marketplace's number, the order is looked up first."""
    return 1 if inbox.order_id_kind == "channable" else 2


def _count_in(folder: Path) -> int:
    try:
        return sum(entry.left_alone is None for entry in list_folder(folder))
    except OSError:
        return 0
