"""`invoicedrop verify`: downloads from Channable what was uploaded and compares it with what was sent.

Each receipt in the ledger names an attachment and the SHA-256 of the bytes that were sent; the attachment is downloaded
and hashed. A missing attachment does not prove a mistake: some channels (Amazon) keep only the latest invoice of an
order, and Channable removes an attachment's file when it expires (`expires_at`).

With `--json`, one object (times are UTC, ISO 8601):

    invoices    [{inbox, file, order_id, attachment_id, uploaded_at, sha256, result, detail}], oldest first; `result`
                is "same", "differs", "missing" or "unasked" (then `detail` says why)
    totals      {same, differs, missing, unasked}
    questioned  [{inbox, file, order_id, attachment_id, uploaded_at, questioned_at}]: accepted, but the order has shown
                trouble since; its words are in `invoicedrop status`
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from rich.console import Console
from rich.progress import track

from invoicedrop import exit_codes
from invoicedrop.channable.project import Project
from invoicedrop.commands import access
from invoicedrop.commands.output import Cell, print_line, print_table
from invoicedrop.errors import Paused, Unanswered
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.printable import printable
from invoicedrop.reporting.existing_ledger import existing_ledger
from invoicedrop.reporting.wording import counted
from invoicedrop.settings.settings import Settings
from invoicedrop.system.local_time import DAY, iso, minute

_MISSING: Final = (
    "missing: the order no longer has it, or its file is gone. Amazon keeps only the latest invoice of an order, and "
    "Channable removes files some time after the upload; if neither explains it, look at the order in Channable."
)
_DIFFERS: Final = "differs: Channable holds other bytes than those that were sent. Show this to your administrator."


class Result(StrEnum):
    """The result of one comparison."""

    SAME = "same"
    DIFFERS = "differs"
    MISSING = "missing"
    UNASKED = "unasked"


_TO_LOOK_AT: Final = frozenset({Result.DIFFERS, Result.MISSING})
_STYLES: Final = {Result.SAME: "green", Result.DIFFERS: "bold red", Result.MISSING: "yellow", Result.UNASKED: "yellow"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A receipt's entry, the result, and, if it was not compared, why (`detail`)."""

    entry: Entry
    result: Result
    detail: str = ""


def verify(settings: Settings, console: Console, *, order: int | None, days: int, as_json: bool) -> int:
    """Compare what was uploaded in the last `days` (to this order) with what Channable has; return the exit code.

    0: everything is the same, or there is nothing to compare. 1: something is missing or differs, even if other
    invoices could not be compared, or an order has shown trouble since its invoice was accepted. 75: nothing is wrong
    so far, but not everything could be compared (stderr says why).

    Raises:
        LedgerUnavailable, ConfigError: the ledger cannot be read.

    """
    with existing_ledger(settings) as ledger:
        comparisons = [] if ledger is None else list(_compare_all(settings, ledger, order, days))
        questioned = [] if ledger is None else _questioned(ledger, order, days)
    totals = Counter(comparison.result for comparison in comparisons)
    if as_json:
        console.out(json.dumps(_as_json(comparisons, totals, questioned)), highlight=False)
    else:
        _show(comparisons, totals, console, order=order, days=days)
        _show_questioned(questioned, console)
    details = [comparison.detail for comparison in comparisons if comparison.result is Result.UNASKED]
    for detail in dict.fromkeys(details):
        sys.stderr.write(f"not everything could be compared: {printable(detail)}\n")
    if totals[Result.DIFFERS] or totals[Result.MISSING] or questioned:
        return exit_codes.FAILED
    return exit_codes.TRY_LATER if totals[Result.UNASKED] else exit_codes.OK


def _compare_all(settings: Settings, ledger: Ledger, order: int | None, days: int) -> Iterator[Comparison]:
    inboxes = {(inbox.account, inbox.project_id): inbox for inbox in reversed(settings.inboxes)}
    # The same bytes under two names were sent once.
    receipts = {
        (entry.account, entry.project_id, entry.order_id, entry.attachment_id): entry
        for entry in ledger.uploaded_since(time.time() - days * DAY, order)
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
                yield Comparison(entry, Result.UNASKED, stopped[key])
                continue
            try:
                yield Comparison(entry, _compare(entry, projects[key]))
            except Paused as error:
                stopped[key] = access.trouble(projects[key], error)
                yield Comparison(entry, Result.UNASKED, stopped[key])
            except Unanswered as error:
                yield Comparison(entry, Result.UNASKED, f"order {entry.order_id}: {error.detail}")


def _questioned(ledger: Ledger, order: int | None, days: int) -> list[Entry]:
    """Return what was uploaded in the last `days` (to this order), and whose order has shown trouble since."""
    since = time.time() - days * DAY
    return [
        entry
        for entry in ledger.questioned(since)
        if (entry.uploaded_at or 0.0) >= since and order in {None, entry.order_id}
    ]


def _compare(entry: Entry, project: Project) -> Result:
    assert entry.order_id is not None
    assert entry.attachment_id is not None
    # A file that is even one byte longer is not ours: no more than that is read.
    digest = project.attachment_digest(entry.order_id, entry.attachment_id, entry.size + 1)
    if digest is None:
        return Result.MISSING
    return Result.SAME if digest == entry.sha256 else Result.DIFFERS


def _with_progress(entries: list[Entry]) -> Iterator[Entry]:
    """Yield the entries, with a progress bar if stderr is a terminal."""
    yield from track(
        entries,
        description="comparing",
        console=Console(stderr=True),
        transient=True,
        disable=not (sys.stderr is not None and sys.stderr.isatty()),
    )


def _show(
    comparisons: list[Comparison], totals: Counter[Result], console: Console, *, order: int | None, days: int
) -> None:
    what = f"{'to order ' + str(order) + ' ' if order is not None else ''}in the last {counted(days, 'day')}"
    if not comparisons:
        print_line(console, f"Nothing was uploaded {what}.")
        return
    # Of a single order everything is shown; otherwise only what somebody has to look at.
    rows = [_row(item) for item in comparisons if order is not None or item.result in _TO_LOOK_AT]
    if rows:
        print_table(console, ("result", "file", "order", "attachment", "uploaded"), rows)
        print_line(console)
    print_line(console, f"{len(comparisons)} uploaded {what}: {_summary(totals)}.")
    for result, explanation in ((Result.DIFFERS, _DIFFERS), (Result.MISSING, _MISSING)):
        if totals[result]:
            print_line(console, explanation)


def _show_questioned(entries: list[Entry], console: Console) -> None:
    if not entries:
        return
    print_line(console)
    print_line(console, (f"Accepted, but trouble is reported: {counted(len(entries), 'invoice')}", "bold red"))
    rows = [(entry.file, str(entry.order_id), minute(entry.questioned_at or 0.0)) for entry in entries]
    print_table(console, ("file", "order", "since"), rows)
    print_line(console, "invoicedrop status shows what these orders say.")


def _row(comparison: Comparison) -> tuple[Cell, ...]:
    entry = comparison.entry
    result = (str(comparison.result), _STYLES[comparison.result])
    return result, entry.file, str(entry.order_id), str(entry.attachment_id), minute(entry.uploaded_at or 0.0)


def _summary(totals: Counter[Result]) -> str:
    words = {
        Result.SAME: "the same in Channable, byte for byte",
        Result.DIFFERS: "different",
        Result.MISSING: "missing",
        Result.UNASKED: "not compared",
    }
    return ", ".join(f"{totals[result]} {text}" for result, text in words.items() if totals[result])


def _as_json(comparisons: list[Comparison], totals: Counter[Result], questioned: list[Entry]) -> dict[str, Any]:
    return {
        "invoices": [
            {
                "inbox": item.entry.inbox,
                "file": item.entry.file,
                "order_id": item.entry.order_id,
                "attachment_id": item.entry.attachment_id,
                "uploaded_at": iso(item.entry.uploaded_at or 0.0),
                "sha256": item.entry.sha256,
                "result": item.result,
                "detail": item.detail,
            }
            for item in comparisons
        ],
        "totals": {result: totals[result] for result in Result},
        "questioned": [
            {
                "inbox": entry.inbox,
                "file": entry.file,
                "order_id": entry.order_id,
                "attachment_id": entry.attachment_id,
                "uploaded_at": iso(entry.uploaded_at or 0.0),
                "questioned_at": iso(entry.questioned_at or 0.0),
            }
            for entry in questioned
        ],
    }
