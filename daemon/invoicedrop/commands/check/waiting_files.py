"""What `invoicedrop check` finds about the files that wait in a drop folder; only trouble is worth a finding.

Whether a file can be read is found out by reading its start. Whether it can be moved away cannot be tried without
doing it: a rename to its own name never reaches the file system (rename(2) then does nothing), a second link changes
the file, and any other name would take the customer's file from its place. That, a running service says of the files
that it has tried.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from invoicedrop.commands.check import trials
from invoicedrop.commands.check.finding import Finding, Level
from invoicedrop.inbox.listing import list_folder
from invoicedrop.printable import storable
from invoicedrop.settings.inbox import Inbox
from invoicedrop.system import file_errors, permissions

_SUBJECT: Final = "waiting files"
_MAX_ENTRIES: Final = 10_000
"""Of a longer drop folder, only so many entries are checked for files that we may not read."""
_MAX_NAMED: Final = 10
"""Waiting files with trouble are named, up to so many."""


def of_inbox(inbox: Inbox, put_off: Mapping[str, tuple[float, str]]) -> Iterator[Finding]:
    """Yield the trouble of files that wait; `put_off` is what a running service reports of those that it has tried."""
    unreadable: list[Path] = []
    troubles: list[tuple[str, OSError]] = []
    try:
        for entry in islice(list_folder(inbox.drop_dir), _MAX_ENTRIES):
            if entry.left_alone is not None:
                continue
            path = inbox.drop_dir / entry.name
            trouble = entry.error or trials.read_start(path)
            if isinstance(trouble, PermissionError) and entry.status is not None and not _may_read(path):
                unreadable.append(path)
            elif trouble is not None:
                troubles.append((entry.name, trouble))
    except OSError as error:
        refusal = permissions.explained(inbox.drop_dir, error)
        yield Finding(_SUBJECT, inbox.name, Level.PROBLEM, refusal.problem, refusal.remedy)
        return
    yield from _troubles(inbox, troubles)
    yield from _no_rights(inbox, unreadable)
    named = {storable(name) for name, _ in troubles} | {storable(path.name) for path in unreadable}
    yield from _put_off(inbox, {name: detail for name, (_, detail) in put_off.items() if name not in named})


def _troubles(inbox: Inbox, troubles: list[tuple[str, OSError]]) -> Iterator[Finding]:
    for name, trouble in troubles[:_MAX_NAMED]:
        refusal = file_errors.meaning(trouble)
        text = f"{name!r} cannot be read ({trouble.strerror}): {refusal.problem}"
        yield Finding(_SUBJECT, inbox.name, Level.PROBLEM, text, refusal.remedy)
    if len(troubles) > _MAX_NAMED:
        text = f"{len(troubles) - _MAX_NAMED} files more cannot be read"
        yield Finding(_SUBJECT, inbox.name, Level.PROBLEM, text, "as above, then check again")


def _no_rights(inbox: Inbox, unreadable: list[Path]) -> Iterator[Finding]:
    if not unreadable:
        return
    with suppress(FileNotFoundError):
        first = permissions.unreadable(unreadable[0])
        others = f" ({len(unreadable)} such files wait)" if len(unreadable) > 1 else ""
        yield Finding(_SUBJECT, inbox.name, Level.PROBLEM, first.problem + others, first.remedy)


def _put_off(inbox: Inbox, details: Mapping[str, str]) -> Iterator[Finding]:
    for name, detail in islice(details.items(), _MAX_NAMED):
        text = f"{name!r} could not go, as the service reports: {detail}"
        yield Finding(_SUBJECT, inbox.name, Level.WARNING, text)
    if len(details) > _MAX_NAMED:
        text = f"{len(details) - _MAX_NAMED} files more could not go"
        yield Finding(_SUBJECT, inbox.name, Level.WARNING, text, "invoicedrop status")


def _may_read(path: Path) -> bool:
    return os.access(path, os.R_OK, effective_ids=True)
