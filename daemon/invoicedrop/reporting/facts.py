"""What `invoicedrop status` shows: the folders say what is there, the ledger what is known about it.

The daemon's own report adds why it does nothing. All is only read, whether the daemon runs or not; a backlog of any
length takes the memory of its first thousand files.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from invoicedrop.errors import ConfigError, LedgerUnavailable
from invoicedrop.inbox.listing import list_folder
from invoicedrop.inbox.ownership import last_owner
from invoicedrop.invoice import State
from invoicedrop.printable import printable
from invoicedrop.reasons import advice
from invoicedrop.reporting.daemon import read_daemon
from invoicedrop.reporting.existing_ledger import existing_ledger
from invoicedrop.reporting.overview import (
    FailedFile,
    FolderOwner,
    InboxState,
    Overview,
    QuestionedFile,
    SentFile,
)
from invoicedrop.reporting.sources import Sources
from invoicedrop.reporting.token_ages import token_since
from invoicedrop.reporting.waiting import MAX_FILES, DropFolder, read_drop_folder, urgency
from invoicedrop.service.ledger_place import key_of
from invoicedrop.service.rate_limiters import remembered_limiter
from invoicedrop.settings.inbox import Inbox
from invoicedrop.settings.load import read_token
from invoicedrop.settings.settings import Settings
from invoicedrop.system.local_time import DAY, midnight
from invoicedrop.system.permissions import user_name
from invoicedrop.system.presence import is_gone

LAST_SENT: Final = 10
"""Accepted invoices that `status` shows."""
_QUESTIONED_FOR: Final = 30 * DAY
"""For how long an accepted invoice is shown whose order has shown trouble: nothing tells that somebody has seen it."""
_UNFINISHED: Final = (State.RECEIVED, State.UPLOADING, State.UPLOADED, State.REJECTED)


def read_overview(settings: Settings, *, only: str | None = None, last_sent: int = LAST_SENT) -> Overview:
    """Read folders, ledger and the daemon's report; without the ledger where it cannot be read.

    `only`: of this inbox alone, no other one's folders are touched. `last_sent`: so many accepted invoices.

    Raises:
        ConfigError: the ledger was written by a newer program.

    """
    now = time.time()
    daemon = read_daemon(settings.status_file, now, state_dir=settings.state_dir)
    try:
        with existing_ledger(settings) as ledger:
            return _overview(Sources(settings, ledger, daemon, now, only), None, last_sent)
    except LedgerUnavailable as error:
        return _overview(Sources(settings, None, daemon, now, only), str(error), last_sent)


def _overview(sources: Sources, ledger_trouble: str | None, last_sent: int) -> Overview:
    inboxes = sources.inboxes
    entries = {(entry.inbox, entry.file): entry for entry in reversed(sources.entries(*_UNFINISHED))}
    folders = {inbox.name: read_drop_folder(sources, inbox, entries) for inbox in inboxes}
    failed = _failed_files(sources)
    in_failed = {inbox.name: _count_in(inbox.failed_dir) for inbox in inboxes}
    today = midnight(sources.now)
    return Overview(
        now=sources.now,
        daemon=sources.daemon,
        ledger_trouble=ledger_trouble,
        ledger_exists=sources.ledger is not None,
        inboxes=[_inbox_state(sources, inbox, folders, in_failed[inbox.name]) for inbox in inboxes],
        waiting=sorted((file for folder in folders.values() for file in folder.files), key=urgency)[:MAX_FILES],
        left_alone=[file for folder in folders.values() for file in folder.left_alone][:MAX_FILES],
        failed=failed,
        failed_total=max(len(failed), sum(in_failed.values())),
        questioned=_questioned_files(sources),
        sent=[
            SentFile(entry.inbox, entry.file, entry.order_id, entry.changed, entry.attachment_id, entry.filed_as)
            for entry in sources.entries(State.PROCESSED, newest=last_sent)
        ],
        today_since=today,
        sent_today=sources.count(State.PROCESSED, today),
        failed_today=sources.count(State.FAILED, today),
    )


# The inboxes


def _inbox_state(sources: Sources, inbox: Inbox, folders: Mapping[str, DropFolder], failed: int) -> InboxState:
    report = sources.report(inbox)
    folder = folders[inbox.name]
    return InboxState(
        name=inbox.name,
        folder=str(inbox.drop_dir),
        waiting=folder.total,
        trouble=folder.trouble or (report.unavailable if report is not None else None),
        standby=report.standby if report is not None else None,
        paused=report.paused if report is not None else None,
        next_probe=report.next_probe if report is not None else None,
        stopped_by=sources.stopped_by(inbox),
        slow=report.slow if report is not None else None,
        seconds=_backlog_seconds(sources, inbox, folders),
        owner=_owner(sources, inbox),
        unseen=folder.unseen,
        oldest=folder.oldest,
        in_doubt=folder.in_doubt,
        failed=failed,
        token_since=_token_since(sources, inbox),
    )


def _token_since(sources: Sources, inbox: Inbox) -> float | None:
    with suppress(ConfigError):
        return token_since(sources.settings.state_dir, read_token(inbox))
    return None


def _owner(sources: Sources, inbox: Inbox) -> FolderOwner | None:
    last = last_owner(inbox.drop_dir)
    if last is None:
        return None
    owner = last.owner
    ours = sources.ledger is not None and owner.ledger == sources.ledger.identity_of(key_of(inbox))
    return FolderOwner(printable(owner.host), owner.pid, printable(owner.started), last.beat, ours, user_name(last.uid))


def _backlog_seconds(sources: Sources, inbox: Inbox, folders: Mapping[str, DropFolder]) -> float | None:
    """Return how long the backlog of an inbox's company takes: what its bucket cannot take at once leaks out."""
    if inbox.requests_per_second <= 0:
        return None
    requests = sum(
        _waiting_in(other, sources, folders) * _requests_each(other)
        for other in sources.settings.inboxes
        if other.account == inbox.account
    )
    room = inbox.burst - remembered_limiter(inbox, sources.ledger).level()[0]
    return max(0.0, requests - room) / inbox.requests_per_second


def _waiting_in(inbox: Inbox, sources: Sources, folders: Mapping[str, DropFolder]) -> int:
    """Return how many invoices wait in an inbox: of one that is not asked about, what the daemon reports."""
    if inbox.name in folders:
        return folders[inbox.name].total
    report = sources.report(inbox)
    return 0 if report is None else report.waiting


def _requests_each(inbox: Inbox) -> int:
    """Return how many requests one invoice costs: with a marketplace's number, the order is looked up first."""
    return 1 if inbox.order_id_kind == "channable" else 2


# What failed


def _failed_files(sources: Sources) -> list[FailedFile]:
    """Return the files that still lie in the failed folders and that the ledger knows, the latest first."""
    files: list[FailedFile] = []
    for entry in sources.entries(State.FAILED):
        if len(files) == MAX_FILES:
            break
        if entry.filed_as is None or entry.reason is None or is_gone(Path(entry.filed_as)):
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


def _questioned_files(sources: Sources) -> list[QuestionedFile]:
    """Return the accepted invoices whose orders have shown trouble lately, the latest first."""
    entries = [] if sources.ledger is None else sources.ledger.questioned(sources.now - _QUESTIONED_FOR)
    if sources.only is not None:
        entries = [entry for entry in entries if entry.inbox == sources.only]
    return [
        QuestionedFile(
            inbox=entry.inbox,
            file=entry.file,
            order_id=entry.order_id,
            when=entry.questioned_at or 0.0,
            attachment_id=entry.attachment_id,
            words=printable(entry.question or ""),
        )
        for entry in entries[:MAX_FILES]
    ]


# The folders


def _count_in(folder: Path) -> int:
    try:
        return sum(entry.left_alone is None for entry in list_folder(folder))
    except OSError:
        return 0
