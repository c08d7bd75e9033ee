"""What `invoicedrop status` shows: the folders say what is there, the ledger what is known about it.

The daemon's own report adds why it does nothing. All is only read, whether the daemon runs or not; a backlog of any
length takes the memory of its first thousand files.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from invoicedrop.commands import access
from invoicedrop.commands.status.overview import (
    NO_DAEMON,
    DaemonState,
    FailedFile,
    FolderOwner,
    InboxState,
    LeftAloneFile,
    Overview,
    QuestionedFile,
    SentFile,
    WaitingFile,
)
from invoicedrop.errors import LedgerUnavailable
from invoicedrop.inbox.left_alone import LeftAlone
from invoicedrop.inbox.listing import list_folder, unseen_in_words
from invoicedrop.inbox.ownership import last_owner
from invoicedrop.invoice import State
from invoicedrop.ledger.ledger import Entry, Ledger
from invoicedrop.printable import printable, storable
from invoicedrop.reasons import advice
from invoicedrop.service import lock, status_file
from invoicedrop.service.known_folders import missing_mount
from invoicedrop.service.status_file import InboxReport
from invoicedrop.settings.models import Inbox, Settings
from invoicedrop.system import permissions
from invoicedrop.system.local_time import DAY, midnight
from invoicedrop.system.presence import is_there

_MAX_FILES: Final = 1_000
"""Files in a list; the totals count all."""
_MAX_ENTRIES: Final = 10_000
"""Entries of unfinished or failed invoices that are read, the latest changed first."""
_LAST_SENT: Final = 10
_QUESTIONED_FOR: Final = 30 * DAY
"""For how long an accepted invoice is shown whose order has shown trouble: nothing tells that somebody has seen it."""
_UNFINISHED: Final = (State.RECEIVED, State.UPLOADING, State.UPLOADED, State.REJECTED)


@dataclass(frozen=True, slots=True)
class _Sources:
    """Where the facts come from; without a ledger, none is there or it cannot be read."""

    settings: Settings
    ledger: Ledger | None
    daemon: DaemonState
    now: float

    def entries(self, *states: State, newest: int = _MAX_ENTRIES) -> list[Entry]:
        return [] if self.ledger is None else self.ledger.in_state(*states, newest=newest)

    def count(self, state: State, since: float) -> int:
        return 0 if self.ledger is None else self.ledger.count(state, since=since)

    def report(self, inbox: Inbox) -> InboxReport | None:
        """Return what the daemon reports of an inbox, if that can be believed."""
        report = self.daemon.report
        return None if report is None or not self.daemon.is_fresh else report.inboxes.get(inbox.name)


@dataclass(frozen=True, slots=True)
class _DropFolder:
    """What waits in a drop folder: the first files, how many in all, and why it cannot be read.

    `left_alone` are those that are no invoices, and perhaps meant as some.
    """

    files: list[WaitingFile]
    total: int
    left_alone: list[LeftAloneFile]
    trouble: str | None


def read_overview(settings: Settings) -> Overview:
    """Read folders, ledger and the daemon's report; without the ledger where it cannot be read.

    Raises:
        ConfigError: the ledger was written by a newer program.

    """
    now = time.time()
    daemon = _daemon_state(settings.state_dir, now)
    try:
        with access.existing_ledger(settings) as ledger:
            return _overview(_Sources(settings, ledger, daemon, now), None)
    except LedgerUnavailable as error:
        return _overview(_Sources(settings, None, daemon, now), str(error))


def _daemon_state(state_dir: Path, now: float) -> DaemonState:
    running = lock.is_held(state_dir)
    report = None if running is False else status_file.read(state_dir)
    if report is None or report.pid is None:
        # Without a process it is the last report of a daemon that has stopped.
        return DaemonState(running, None, is_fresh=False)
    return DaemonState(running, report, report.is_fresh(now))


def _overview(sources: _Sources, ledger_trouble: str | None) -> Overview:
    inboxes = sources.settings.inboxes
    entries = {(entry.inbox, entry.file): entry for entry in reversed(sources.entries(*_UNFINISHED))}
    folders = {inbox.name: _drop_folder(sources, inbox, entries) for inbox in inboxes}
    failed = _failed_files(sources)
    today = midnight(sources.now)
    return Overview(
        now=sources.now,
        daemon=sources.daemon,
        ledger_trouble=ledger_trouble,
        ledger_exists=sources.ledger is not None,
        inboxes=[_inbox_state(sources, inbox, folders) for inbox in inboxes],
        waiting=sorted((file for folder in folders.values() for file in folder.files), key=_urgency)[:_MAX_FILES],
        left_alone=[file for folder in folders.values() for file in folder.left_alone][:_MAX_FILES],
        failed=failed,
        failed_total=max(len(failed), sum(_count_in(inbox.failed_dir) for inbox in inboxes)),
        questioned=_questioned_files(sources),
        sent=[
            SentFile(entry.inbox, entry.file, entry.order_id, entry.changed, entry.attachment_id, entry.filed_as)
            for entry in sources.entries(State.PROCESSED, newest=_LAST_SENT)
        ],
        today_since=today,
        sent_today=sources.count(State.PROCESSED, today),
        failed_today=sources.count(State.FAILED, today),
    )


# What waits


def _drop_folder(sources: _Sources, inbox: Inbox, entries: Mapping[tuple[str, str], Entry]) -> _DropFolder:
    """Read a drop folder; its first files are those with trouble of their own, then the oldest."""
    report = sources.report(inbox)
    files: list[WaitingFile] = []
    left_alone: list[LeftAloneFile] = []
    judge = LeftAlone(inbox.drop_dir, inbox.order_id_kind, own_folders=sources.settings.folders, now=sources.now)
    total = 0
    folders = (inbox.drop_dir, inbox.processed_dir, inbox.failed_dir)
    missing = [missing_mount(sources.settings.state_dir, inbox.name, folder) for folder in folders]
    if missing[0] is not None:
        return _DropFolder([], 0, [], missing[0])
    try:
        for listed in list_folder(inbox.drop_dir):
            if listed.left_alone is not None:
                why_awaited = judge.why_awaited(listed) if len(left_alone) < _MAX_FILES else None
                if why_awaited is not None:
                    changed = None if listed.status is None else listed.status.st_mtime
                    left_alone.append(LeftAloneFile(inbox.name, storable(listed.name), why_awaited, changed))
                continue
            total += 1
            name = storable(listed.name)
            entry = entries.get((inbox.name, name))
            if listed.status is None:
                why = "" if listed.error is None else unseen_in_words(listed.name, listed.error)
                files.append(_unseen_file(sources, inbox, name, entry, why))
            else:
                # Another file under the same name is another invoice.
                own_entry = entry if entry is not None and entry.size == listed.status.st_size else None
                files.append(_waiting_file(sources, inbox, name, listed.status.st_mtime, own_entry, report))
            if len(files) >= 2 * _MAX_FILES:
                files = sorted(files, key=_urgency)[:_MAX_FILES]
    except OSError as error:
        return _DropFolder([], total, [], permissions.explained(inbox.drop_dir, error).sentence)
    left_alone.sort(key=lambda file: (file.since or 0.0, file.file))
    return _DropFolder(sorted(files, key=_urgency)[:_MAX_FILES], total, left_alone, missing[1] or missing[2])


def _waiting_file(
    sources: _Sources, inbox: Inbox, name: str, modified: float, entry: Entry | None, report: InboxReport | None
) -> WaitingFile:
    why, until = _why(sources, name, entry, report)
    return WaitingFile(
        inbox=inbox.name,
        file=name,
        since=modified if entry is None else entry.first_seen,
        order_id=None if entry is None else entry.order_id,
        in_doubt=entry is not None and entry.doubt_since is not None,
        why=why,
        until=until,
    )


def _unseen_file(sources: _Sources, inbox: Inbox, name: str, entry: Entry | None, why: str) -> WaitingFile:
    """Return a file that cannot be looked at: the daemon looks again at each scan."""
    return WaitingFile(
        inbox=inbox.name,
        file=name,
        since=sources.now if entry is None else entry.first_seen,
        order_id=None if entry is None else entry.order_id,
        in_doubt=entry is not None and entry.doubt_since is not None,
        why=why,
        until=sources.now + inbox.scan_interval if sources.daemon.running else None,
    )


def _why(sources: _Sources, name: str, entry: Entry | None, report: InboxReport | None) -> tuple[str, float | None]:
    """Return why a file waits, and until when: its own trouble first, then its inbox's."""
    why, until = ("", None) if entry is None else _own_trouble(sources, entry)
    if not why and report is not None and name in report.put_off:
        until, why = report.put_off[name]
    if not why and sources.daemon.running is False:
        why = NO_DAEMON
    elif not why and report is not None and (report.unavailable or report.paused):
        why = report.unavailable or report.paused or ""
        until = None if report.unavailable else report.next_probe
    return why or "it waits for its turn", until


def _own_trouble(sources: _Sources, entry: Entry) -> tuple[str, float | None]:
    if entry.state is State.UPLOADED:
        return "it was sent, and is about to be moved to the processed folder", None
    if entry.state is State.REJECTED:
        return f"it cannot be sent, and is about to be moved to the failed folder: {entry.detail}", None
    due = entry.due(sources.now)
    if due is not None:
        return entry.detail or "it is tried again later", due
    if entry.state is State.UPLOADING and entry.next_try is None and sources.daemon.running:
        return "it is being sent", None
    if entry.doubt_since is not None:
        return "an upload had no answer: Channable is asked whether it has it before it is sent again", None
    return "", None


def _urgency(file: WaitingFile) -> tuple[bool, float, str]:
    return (not (file.in_doubt or file.until is not None), file.since, file.file)


# The inboxes


def _inbox_state(sources: _Sources, inbox: Inbox, folders: Mapping[str, _DropFolder]) -> InboxState:
    report = sources.report(inbox)
    folder = folders[inbox.name]
    return InboxState(
        name=inbox.name,
        folder=str(inbox.drop_dir),
        waiting=folder.total,
        trouble=folder.trouble or (report.unavailable if report is not None else None),
        paused=report.paused if report is not None else None,
        next_probe=report.next_probe if report is not None else None,
        seconds=_backlog_seconds(sources, inbox, folders),
        owner=_owner(sources, inbox),
    )


def _owner(sources: _Sources, inbox: Inbox) -> FolderOwner | None:
    last = last_owner(inbox.drop_dir)
    if last is None:
        return None
    owner = last.owner
    ours = sources.ledger is not None and owner.ledger == sources.ledger.identity()
    return FolderOwner(printable(owner.host), owner.pid, printable(owner.started), last.beat, ours)


def _backlog_seconds(sources: _Sources, inbox: Inbox, folders: Mapping[str, _DropFolder]) -> float | None:
    """Return how long the backlog of an inbox's company takes: what its bucket cannot take at once leaks out."""
    if inbox.requests_per_second <= 0:
        return None
    requests = sum(
        folders[other.name].total * _requests_each(other)
        for other in sources.settings.inboxes
        if other.account == inbox.account
    )
    room = inbox.burst - access.new_rate_limiter(inbox, sources.ledger).level()[0]
    return max(0.0, requests - room) / inbox.requests_per_second


def _requests_each(inbox: Inbox) -> int:
    """Return how many requests one invoice costs: with a marketplace's number, the order is looked up first."""
    return 1 if inbox.order_id_kind == "channable" else 2


# What failed


def _failed_files(sources: _Sources) -> list[FailedFile]:
    """Return the files that still lie in the failed folders and that the ledger knows, the latest first."""
    files: list[FailedFile] = []
    for entry in sources.entries(State.FAILED):
        if len(files) == _MAX_FILES:
            break
        if entry.filed_as is None or entry.reason is None or _is_gone(Path(entry.filed_as)):
            continue
        problem, remedy = advice(entry.reason)
        files.append(
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
    return files


# What was accepted


def _questioned_files(sources: _Sources) -> list[QuestionedFile]:
    """Return the accepted invoices whose orders have shown trouble lately, the latest first."""
    entries = [] if sources.ledger is None else sources.ledger.questioned(sources.now - _QUESTIONED_FOR)
    return [
        QuestionedFile(
            inbox=entry.inbox,
            file=entry.file,
            order_id=entry.order_id,
            when=entry.questioned_at or 0.0,
            attachment_id=entry.attachment_id,
            words=printable(entry.question or ""),
        )
        for entry in entries[:_MAX_FILES]
    ]


# The folders


def _is_gone(path: Path) -> bool:
    """Whether there is nothing at `path`; what cannot be looked at may be there."""
    try:
        return not is_there(path)
    except OSError:
        return False


def _count_in(folder: Path) -> int:
    try:
        return sum(entry.left_alone is None for entry in list_folder(folder))
    except OSError:
        return 0
