"""What waits in the drop folders, why, and until when.

A backlog of any length takes the memory of its first thousand files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from invoicedrop.inbox.left_alone import LeftAlone
from invoicedrop.inbox.listing import list_folder, unseen_in_words
from invoicedrop.invoice import State
from invoicedrop.ledger.entry import Entry
from invoicedrop.printable import storable
from invoicedrop.reporting.asker import is_another
from invoicedrop.reporting.overview import LeftAloneFile, WaitingFile
from invoicedrop.reporting.sources import Sources
from invoicedrop.reporting.why_waiting import WhyWaiting
from invoicedrop.service.known_folders import missing_mount
from invoicedrop.settings.inbox import Inbox
from invoicedrop.system import permissions

MAX_FILES: Final = 1_000
"""Files in a list; the totals count all."""


@dataclass(frozen=True, slots=True)
class DropFolder:
    """What waits in a drop folder: the first files, how many in all, and why it cannot be read.

    `left_alone` are those that are no invoices, and perhaps meant as some. `oldest` and `in_doubt` are of all files
    (`overview.InboxState`). `unseen` is why this user may not see it, where that says nothing of the service.
    """

    files: list[WaitingFile]
    total: int
    left_alone: list[LeftAloneFile]
    trouble: str | None
    oldest: float | None = None
    in_doubt: int = 0
    unseen: str | None = None


def read_drop_folder(sources: Sources, inbox: Inbox, entries: Mapping[tuple[str, str], Entry]) -> DropFolder:
    """Read a drop folder; its first files are those with trouble of their own, then the oldest."""
    reasons = WhyWaiting(sources.report(inbox), sources.daemon.running, sources.stopped_by(inbox), sources.now)
    files: list[WaitingFile] = []
    left_alone: list[LeftAloneFile] = []
    judge = LeftAlone(inbox.drop_dir, inbox.order_id_kind, own_paths=sources.settings.own_paths, now=sources.now)
    total = in_doubt = 0
    oldest: float | None = None
    missing = [missing_mount(sources.settings.state_dir, inbox.name, folder) for folder in inbox.fixed_folders]
    if missing[0] is not None:
        return DropFolder([], 0, [], missing[0])
    try:
        for listed in list_folder(inbox.drop_dir):
            if listed.left_alone is not None:
                why_awaited = judge.why_awaited(listed) if len(left_alone) < MAX_FILES else None
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
                # When it came: an old file that is moved in keeps the time of its last change.
                since = listed.status.st_ctime if own_entry is None else own_entry.first_seen
                if own_entry is None or not _waits_for_its_order(own_entry):
                    oldest = since if oldest is None else min(oldest, since)
                in_doubt += own_entry is not None and own_entry.doubt_since is not None
                files.append(_waiting_file(reasons, inbox, name, listed.status.st_mtime, own_entry))
            if len(files) >= 2 * MAX_FILES:
                files = sorted(files, key=urgency)[:MAX_FILES]
    except OSError as error:
        refusal = permissions.explained(inbox.drop_dir, error)
        if refusal.by_rights and is_another(sources.settings):
            return DropFolder([], total, [], None, oldest, in_doubt, refusal.problem)
        return DropFolder([], total, [], refusal.sentence, oldest, in_doubt)
    left_alone.sort(key=lambda file: (file.since or 0.0, file.file))
    trouble = missing[1] or missing[2]
    return DropFolder(sorted(files, key=urgency)[:MAX_FILES], total, left_alone, trouble, oldest, in_doubt)


def _waits_for_its_order(entry: Entry) -> bool:
    """Whether an invoice waits because its order is still to come, or to be shipped: that is no trouble."""
    own = (entry.trouble_since, entry.conflict_since, entry.doubt_since)
    return entry.state is State.RECEIVED and entry.next_try is not None and own == (None, None, None)


def _waiting_file(reasons: WhyWaiting, inbox: Inbox, name: str, modified: float, entry: Entry | None) -> WaitingFile:
    why, until = reasons.of(name, entry)
    return WaitingFile(
        inbox=inbox.name,
        file=name,
        since=modified if entry is None else entry.first_seen,
        order_id=None if entry is None else entry.order_id,
        in_doubt=entry is not None and entry.doubt_since is not None,
        why=why,
        until=until,
    )


def _unseen_file(sources: Sources, inbox: Inbox, name: str, entry: Entry | None, why: str) -> WaitingFile:
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


def urgency(file: WaitingFile) -> tuple[bool, float, str]:
    """Return what to sort by: those with trouble of their own first, then the oldest."""
    return (not (file.in_doubt or file.until is not None), file.since, file.file)
