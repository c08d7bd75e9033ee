"""`invoicedrop verify`: downloads from Channable what was uploaded and compares it with what was sent.

Each receipt in the ledger names an attachment and the SHA-256 of the bytes that were sent; the attachment is fetched
again and hashed. An attachment that is not there any more is not proof of a mistake: some channels (Amazon) keep only
the latest invoice of an order, and Channable removes an attachment's file when its time (`expires_at`) is over.

With `--json`, one object (times are UTC, ISO 8601):

    invoices    [{inbox, file, order_id, attachment_id, uploaded_at, sha256, result, detail}], oldest first; `result`
                is "same", "differs", "missing" or "unasked" (then `detail` says why)
    totals      {same, differs, missing, unasked}
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from rich.console import Console
from rich.progress import track

from invoicedrop import exit_codes
from invoicedrop.channable.project import Project
from invoicedrop.commands import access
from invoicedrop.commands.output import Cell, counted, print_line, print_table
from invoicedrop.errors import Paused, Unanswered
from invoicedrop.ledger.ledger import Entry, Ledger
from invoicedrop.printable import printable
from invoicedrop.settings.models import Settings

_DAY: Final = 86_400.0
_GONE: Final = (
    "missing: the order no longer has it, or its file is gone. Amazon keeps only the latest invoice of an order, and "
    "Channable removes files some time after the upload; if neither explains it, look at the order in Channable."
)
_DIFFERS: Final = "differs: Channable holds other bytes than those that were sent. Show this to your administrator."


class Result(StrEnum):
    """What came of one comparison."""

    SAME = "same"
    DIFFERS = "differs"
    MISSING = "missing"
    UNASKED = "unasked"


_TO_LOOK_AT: Final = frozenset({Result.DIFFERS, Result.MISSING})
_STYLES: Final = {Result.SAME: "green", Result.DIFFERS: "bold red", Result.MISSING: "yellow", Result.UNASKED: "yellow"}


@dataclass(frozen=True, slots=True)
class Compared:
    """One receipt, what its comparison gave, and why it could not be done, if so."""

    entry: Entry
    result: Result
    detail: str = ""


def verify(settings: Settings, console: Console, *, order: int | None, days: int, as_json: bool) -> int:
    """Compare what was uploaded in the last `days` (to this order) with what Channable has; return the exit code.

    0: all is the same, or there is nothing to compare. 1: something is missing or differs, whatever else could not
    be asked. 75: nothing bad was seen, but not all could be asked (a sentence on stderr says why).

    Raises:
        LedgerUnavailable, ConfigError: the ledger cannot be read.

    """
    with access.existing_ledger(settings) as ledger:
        compared = [] if ledger is None else list(_compare_all(settings, ledger, order, days))
    totals = Counter(one.result for one in compared)
    if as_json:
        console.out(json.dumps(_as_json(compared, totals)), highlight=False)
    else:
        _show(compared, totals, console, order=order, days=days)
    for detail in dict.fromkeys(one.detail for one in compared if one.result is Result.UNASKED):
        sys.stderr.write(f"not everything could be compared: {printable(detail)}\n")
    if totals[Result.DIFFERS] or totals[Result.MISSING]:
        return exit_codes.FAILED
    return exit_codes.TRY_LATER if totals[Result.UNASKED] else exit_codes.OK


def _compare_all(settings: Settings, ledger: Ledger, order: int | None, days: int) -> Iterator[Compared]:
    inboxes = {(inbox.account, inbox.project_id): inbox for inbox in reversed(settings.inboxes)}
    # The same bytes under two names went once.
    receipts = {
        (entry.account, entry.project_id, entry.order_id, entry.attachment_id): entry
        for entry in ledger.uploaded_since(time.time() - days * _DAY, order)
    }
    stopped: dict[tuple[str, int], str] = {}
    projects: dict[tuple[str, int], Project] = {}
    with ExitStack() as stack:
        for entry in _with_progress(list(receipts.values())):
            key = (entry.account, entry.project_id)
            if key not in inboxes:
                stopped[key] = f"no inbox is set up for project {entry.project_id} of {entry.account} any more"
            elif key not in projects:
                projects[key] = stack.enter_context(access.open_project(inboxes[key], ledger))
            if key in stopped:
                yield Compared(entry, Result.UNASKED, stopped[key])
                continue
            try:
                yield Compared(entry, _compare(entry, projects[key]))
            except Paused as error:
                stopped[key] = access.trouble(projects[key], error)
                yield Compared(entry, Result.UNASKED, stopped[key])
            except Unanswered as error:
                yield Compared(entry, Result.UNASKED, f"order {entry.order_id}: {error.detail}")


def _compare(entry: Entry, project: Project) -> Result:
    assert entry.order_id is not None
    assert entry.attachment_id is not None
    # One byte more than ours is enough to know that it is not ours.
    digest = project.attachment_digest(entry.order_id, entry.attachment_id, entry.size + 1)
    if digest is None:
        return Result.MISSING
    return Result.SAME if digest == entry.sha256 else Result.DIFFERS


def _with_progress(entries: list[Entry]) -> Iterator[Entry]:
    """Go through the entries, with a bar on stderr where a person watches."""
    yield from track(
        entries,
        description="comparing",
        console=Console(stderr=True),
        transient=True,
        disable=not (sys.stderr is not None and sys.stderr.isatty()),
    )


def _show(compared: list[Compared], totals: Counter[Result], console: Console, *, order: int | None, days: int) -> None:
    what = f"{'to order ' + str(order) + ' ' if order is not None else ''}in the last {counted(days, 'day')}"
    if not compared:
        print_line(console, f"Nothing was uploaded {what}.")
        return
    # Of one order each is shown; of many only those that somebody has to look at.
    rows = [_row(one) for one in compared if order is not None or one.result in _TO_LOOK_AT]
    if rows:
        print_table(console, ("result", "file", "order", "attachment", "uploaded"), rows)
        print_line(console)
    print_line(console, f"{len(compared)} uploaded {what}: {_summary(totals)}.")
    for result, explanation in ((Result.DIFFERS, _DIFFERS), (Result.MISSING, _GONE)):
        if totals[result]:
            print_line(console, explanation)


def _row(one: Compared) -> tuple[Cell, ...]:
    uploaded = datetime.fromtimestamp(one.entry.uploaded_at or 0.0).astimezone()
    result = (str(one.result), _STYLES[one.result])
    return result, one.entry.file, str(one.entry.order_id), str(one.entry.attachment_id), f"{uploaded:%Y-%m-%d %H:%M}"


def _summary(totals: Counter[Result]) -> str:
    words = {
        Result.SAME: "the same in Channable, byte for byte",
        Result.DIFFERS: "different",
        Result.MISSING: "missing",
        Result.UNASKED: "not compared",
    }
    return ", ".join(f"{totals[result]} {text}" for result, text in words.items() if totals[result])


def _as_json(compared: list[Compared], totals: Counter[Result]) -> dict[str, Any]:
    return {
        "invoices": [
            {
                "inbox": one.entry.inbox,
                "file": one.entry.file,
                "order_id": one.entry.order_id,
                "attachment_id": one.entry.attachment_id,
                "uploaded_at": datetime.fromtimestamp(one.entry.uploaded_at or 0.0, UTC).isoformat(timespec="seconds"),
                "sha256": one.entry.sha256,
                "result": one.result,
                "detail": one.detail,
            }
            for one in compared
        ],
        "totals": {result: totals[result] for result in Result},
    }
