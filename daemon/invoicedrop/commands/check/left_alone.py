"""What `invoicedrop check` finds that is left alone in a drop folder, and perhaps meant as an invoice."""

import time
from collections.abc import Collection
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from invoicedrop.commands.check.finding import Finding, Level
from invoicedrop.inbox.left_alone import LeftAlone
from invoicedrop.inbox.listing import list_folder
from invoicedrop.printable import printable
from invoicedrop.settings.inbox import Inbox

_MAX_ENTRIES: Final = 10_000
"""Of a longer drop folder, only so many entries are judged."""
_MAX_NAMED: Final = 5
_REMEDY: Final = (
    "if an invoice is meant: give it its order's name with .pdf, directly in the drop folder; else take it away"
)


def of_inbox(inbox: Inbox, own_paths: Collection[Path]) -> list[Finding]:
    """Name what is left alone in the drop folder, and perhaps meant as an invoice."""
    judge = LeftAlone(inbox.drop_dir, inbox.order_id_kind, own_paths=own_paths, now=time.time())
    awaited: list[str] = []
    # Whether the folder can be read is another finding.
    with suppress(OSError):
        for entry in islice(list_folder(inbox.drop_dir), _MAX_ENTRIES):
            why = judge.why_awaited(entry)
            if why is not None:
                awaited.append(f"{printable(entry.name)} ({why})")
    if not awaited:
        return []
    shown = "; ".join(awaited[:_MAX_NAMED])
    if len(awaited) > _MAX_NAMED:
        shown += f"; and {len(awaited) - _MAX_NAMED} more"
    return [Finding("left alone", inbox.name, Level.WARNING, f"perhaps meant as invoices: {shown}", _REMEDY)]
