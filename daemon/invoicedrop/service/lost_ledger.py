"""Whether this ledger is the one that was at work here before: a new one may stand in the place of one that was lost.

What remembers the ledger outside of it: what the service last wrote of it (`known_ledger`), the owner files in the drop
folders, and what the ledger has filed. A new ledger costs little while each order is looked at before its invoice is
sent; but whoever has lost one should know, while there is a backup, or the volume can still be mounted.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from invoicedrop.inbox.ownership import last_owner
from invoicedrop.ledger.condition import Condition, File
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.service.known_ledger import known_ledger
from invoicedrop.service.ledger_place import key_of
from invoicedrop.settings.inbox import Inbox
from invoicedrop.settings.settings import Settings
from invoicedrop.system.local_time import DAY

_MOST_ENTRIES: Final = 200
"""So many names of a folder are looked at: there may be millions."""
_MONTHS: Final = 366 * DAY
"""Folders for months are looked at for so long back."""
_CLOCKS: Final = 3600.0
"""Seconds that a share's clock may be beside ours."""
_MEND: Final = (
    "Is state_dir right, and is its volume mounted? If the ledger was lost and there is a backup, stop the service and "
    "put it in place"
)


NO_FILE: Final = Condition(File.DATABASE, None, is_strange=False)
"""Where the ledger is in a database, no file of it says anything."""


def signs(settings: Settings, before: Condition, ledger: Ledger | None) -> list[str]:
    """Return what speaks against this ledger being the one that was at work here, in sentences; mostly nothing.

    `before` is the condition of its file before it was opened (`NO_FILE` of one in a database); without a `ledger`
    there is none yet.

    Raises:
        LedgerUnavailable: it cannot be read now.

    """
    identity = None if ledger is None else ledger.identity()
    known = 0 if ledger is None else ledger.last_id()
    if known:
        place = settings.state_dir if ledger is None or not ledger.is_shared else ledger.name
        return list(_of_one_in_use(settings, f"the ledger in {place}", identity, known))
    found = [*_of_the_state_folder(settings.state_dir, before, identity)]
    for inbox in settings.inboxes:
        found += _of_an_inbox(inbox, None if ledger is None else ledger.identity_of(key_of(inbox)))
    if not found:
        return []
    what = "is no ledger yet" if ledger is None else "is a new ledger, which knows of no invoice"
    if ledger is not None and ledger.is_shared:
        return [f"{ledger.name} has {what[3:]}, but {'; '.join(found)}. Is ledger_url right? {_cost(settings)}"]
    return [f"in {settings.state_dir} {what}, but {'; '.join(found)}. {_MEND}. {_cost(settings)}"]


def older_than(ledger: Ledger, inbox: Inbox) -> str | None:
    """Return that PDFs were filed before the ledger knew of any invoice, if so: those of an earlier one, perhaps.

    Raises:
        LedgerUnavailable: it cannot be read now.

    """
    begins = ledger.begins()
    if begins is None:
        return None
    for entry in _processed(inbox):
        with suppress(OSError):
            # When it was last renamed, or its rights were changed.
            if entry.stat(follow_symlinks=False).st_ctime < begins - _CLOCKS:
                return f"{inbox.processed.fixed} has PDFs, such as {entry.name}, that were there before this ledger"
    return None


def _of_the_state_folder(state_dir: Path, before: Condition, identity: str | None) -> Iterator[str]:
    if before.file is File.EMPTY:
        yield "its file was there, and empty"
    if before.log is not None and before.is_strange:
        yield f"{before.log.name} of an earlier one is there (it is kept under another name)"
    last = known_ledger(state_dir)
    if last is not None and last.identity != identity:
        yield "a service was at work here with another one"


def _of_an_inbox(inbox: Inbox, identity: str | None) -> Iterator[str]:
    last = last_owner(inbox.drop_dir)
    if last is not None and last.owner.host == os.uname().nodename and last.owner.ledger != identity:
        yield f"this machine worked on {inbox.drop_dir} with another one"
    if next(_processed(inbox), None) is not None:
        yield f"{inbox.processed.fixed} has invoices already"


def _of_one_in_use(settings: Settings, what: str, identity: str | None, known: int) -> Iterator[str]:
    last = known_ledger(settings.state_dir)
    if last is None:
        return
    if last.identity != identity:
        yield f"{what} is another one than at the last start. {_cost(settings)}"
    elif last.last_id > known:
        yield (
            f"{what} knows {known} invoices and knew {last.last_id}: it is an older "
            f"copy, it has lost its log (-wal), or the last ones were deleted. {_cost(settings)}"
        )


def _cost(settings: Settings) -> str:
    blind = [inbox.name for inbox in settings.inboxes if inbox.order_check == "off"]
    if blind:
        return f"order_check is off ({', '.join(blind)}): what is dropped there once more is sent once more"
    return "Nothing is sent twice: each order is looked at before its invoice is sent"


def _processed(inbox: Inbox) -> Iterator["os.DirEntry[str]"]:
    """Yield PDFs in the processed folder, or in those of the last months."""
    now = time.time()
    lately = inbox.processed.names_between(now - _MONTHS, now) if inbox.processed.is_dated else [()]
    for names in lately:
        yield from _pdfs(inbox.processed.fixed.joinpath(*names))


def _pdfs(folder: Path) -> Iterator["os.DirEntry[str]"]:
    """Yield PDFs in a folder, among the first names that the file system gives; none where it cannot be read."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in islice(entries, _MOST_ENTRIES):
            if entry.name.lower().endswith(".pdf"):
                yield entry
