"""`invoicedrop history`: every step of an invoice, or, with `--since`, the receipts since a day (`receipts`).

With `--json`, one object (times are UTC, ISO 8601; null is what is not known):

    invoices  [{inbox, file, order_id, marketplace_number, items, sha256, bytes, state, reason, detail, first_seen,
              attachment_id, accepted_at, confirmed_at, questioned_at, question, filed_as, complete, steps}], the one
              first seen first. `sha256` is null for a file that was never read. `complete` is false for an invoice that
              was dropped before the ledger kept steps: then they are what its entry says.
              `steps` is [{step, at, last_at, times, round, words}] in their order: `step` is one of `StepKind`, `round`
              how often a person had moved it back before, `last_at` when it happened last, if more than once
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from rich.console import Console

from invoicedrop import exit_codes
from invoicedrop.commands import receipts
from invoicedrop.commands.output import print_line, print_table
from invoicedrop.commands.step_words import clock, in_words, state_words
from invoicedrop.invoice import State
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.ledger.past import AcceptedInvoice
from invoicedrop.ledger.step import StepKind
from invoicedrop.printable import printable
from invoicedrop.reporting.existing_ledger import existing_ledger
from invoicedrop.reporting.history import FEWEST_HEX, MOST, History, find, history_of, is_short_hash
from invoicedrop.reporting.wording import counted
from invoicedrop.settings.settings import Settings
from invoicedrop.system.local_time import iso, minute

_SHOWN_WHOLE: Final = 5
"""Invoices whose steps are shown; of more, a table that says how to name each."""
_SHORT_HASH: Final = 12
_MILESTONES: Final = frozenset(
    {StepKind.FOUND, StepKind.RETRIED, StepKind.ACCEPTED, StepKind.FILED, StepKind.FAILED, StepKind.REJECTED}
    | {StepKind.CONFIRMED, StepKind.QUESTIONED}
)
_UNREAD: Final = "unread:"
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}.*", re.DOTALL)


def history(
    settings: Settings, console: Console, *, what: str | None, since: str | None, as_csv: bool, as_json: bool
) -> int:
    """Print every step of what a person means by `what`, or the receipts since a day; return the exit code.

    0: something is known, or the receipts are all printed, if any. 1: nothing is known of `what`. 2: neither is asked
    for, or the day cannot be read.

    Raises:
        LedgerUnavailable, ConfigError: the ledger cannot be read.

    """
    moment = None if since is None else read_moment(since)
    if since is not None and moment is None:
        return _refused(f'--since needs a day, like 2026-11-01: "{since}" is none')
    if what is None and moment is None:
        return _refused("name an order, a file or a SHA-256, or ask for the receipts by --since 2026-11-01")
    if as_csv and as_json:
        return _refused("--csv and --json exclude each other")
    with existing_ledger(settings) as ledger:
        if what is not None and moment is None and not as_csv:
            found = [] if ledger is None else [history_of(entry, ledger) for entry in find(what, settings, ledger)]
            if as_json:
                console.out(json.dumps({"invoices": [as_json_object(item) for item in found]}), highlight=False)
            else:
                show(found, settings, console)
            return exit_codes.OK if found else nothing_known(what, is_ledger_there=ledger is not None)
        receipts_since = -sys.float_info.max if moment is None else moment
        accepted = _receipts(settings, ledger, what, receipts_since)
        if as_csv:
            receipts.print_csv(accepted)
        elif as_json:
            receipts.print_json(accepted, receipts_since, console)
        else:
            receipts.show(accepted, receipts_since, console)
    return exit_codes.OK


def show(histories: Sequence[History], settings: Settings, console: Console, *, briefly: bool = False) -> None:
    """Print the steps of a few invoices (`briefly`: what matters most), or a list of many."""
    if len(histories) > _SHOWN_WHOLE:
        _list(histories, console)
        return
    for number, item in enumerate(histories):
        if number:
            print_line(console)
        _show(item, console, several=len(settings.inboxes) > 1, briefly=briefly)


def nothing_known(what: str, *, is_ledger_there: bool) -> int:
    """Say that nothing is known of what a person means; return the exit code."""
    if not is_ledger_there:
        return _refused("nothing was done yet: there is no ledger", exit_codes.FAILED)
    sentence = f'nothing is known of "{what}"; what waits and was not read yet stands in invoicedrop status'
    if is_short_hash(what):
        sentence += f". (The beginning of a SHA-256 needs {FEWEST_HEX} digits or more)"
    return _refused(sentence, exit_codes.FAILED)


def read_moment(text: str) -> float | None:
    """Return when a day, or a moment, in ISO 8601 begins (local time, if it says no other); None if it is none."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone().timestamp() if _DAY.fullmatch(text.strip()) else None
    except (ValueError, OverflowError, OSError):
        return None


def _receipts(settings: Settings, ledger: Ledger | None, what: str | None, since: float) -> Iterator[AcceptedInvoice]:
    if ledger is None:
        return
    if what is None:
        yield from ledger.past.accepted(since)
        return
    wanted = {(entry.inbox, entry.file, entry.sha256) for entry in find(what, settings, ledger)}
    if wanted:
        yield from (item for item in ledger.past.accepted(since) if (item.inbox, item.file, item.sha256) in wanted)


def _refused(sentence: str, code: int = exit_codes.USAGE) -> int:
    sys.stderr.write(f"{printable(sentence)}\n")
    return code


# For a person


def _show(item: History, console: Console, *, several: bool, briefly: bool) -> None:
    entry = item.entry
    order = "" if entry.order_id is None else f", order {entry.order_id}"
    number = entry.marketplace_number
    order += f" ({number})" if number and number != str(entry.order_id) else ""
    items = f", items {entry.items}" if entry.items else ""
    inbox = f", inbox {entry.inbox}" if several else ""
    title = f"{order}{items}{inbox}: {state_words(entry)}"
    print_line(console, (entry.file, "bold"), title, folded_in_pipe=True)
    steps = item.steps
    if briefly:
        # The last trouble of what is not done yet tells why.
        last = [step for step in steps[-1:] if entry.state in {State.RECEIVED, State.UPLOADING}]
        steps = [step for step in steps if step.kind in _MILESTONES or step in last]
    elif not entry.sha256.startswith(_UNREAD):
        print_line(console, f"  {entry.size} bytes, SHA-256 {entry.sha256}", unbroken=True)
    if not item.is_complete:
        print_line(console, "  It was dropped before steps were kept: this is what its entry says.")
    rows = [(f"  {clock(step.at)}", in_words(step, entry)) for step in steps]
    print_table(console, ("  when", "what"), rows, foldable={"what"}, folded_in_pipe=True)


def _list(histories: Sequence[History], console: Console) -> None:
    rows = [
        (
            item.entry.file,
            str(item.entry.order_id or ""),
            minute(item.entry.first_seen),
            "" if item.entry.sha256.startswith(_UNREAD) else item.entry.sha256[:_SHORT_HASH],
            str(item.entry.state),
        )
        for item in histories
    ]
    titles = ("file", "order", "first seen", "SHA-256", "state")
    print_table(console, titles, rows, foldable={"file"}, folded_in_pipe=True)
    more = " or more" if len(histories) == MOST else ""
    print_line(console, f"{counted(len(histories), 'invoice')}{more}: name one by its SHA-256 to see its steps.")


# For programs


def as_json_object(item: History) -> dict[str, Any]:
    """Return what is known of an invoice, as the JSON that programs read."""
    entry = item.entry
    return {
        "inbox": entry.inbox,
        "file": entry.file,
        "order_id": entry.order_id,
        "marketplace_number": entry.marketplace_number,
        "items": entry.items,
        "sha256": None if entry.sha256.startswith(_UNREAD) else entry.sha256,
        "bytes": entry.size,
        "state": entry.state,
        "reason": entry.reason,
        "detail": entry.detail,
        "first_seen": iso(entry.first_seen),
        "attachment_id": entry.attachment_id,
        "accepted_at": _time(entry.uploaded_at),
        "confirmed_at": _time(entry.confirmed_at),
        "questioned_at": _time(entry.questioned_at),
        "question": entry.question,
        "filed_as": entry.filed_as,
        "complete": item.is_complete,
        "steps": [
            {
                "step": step.kind,
                "at": iso(step.at),
                "last_at": _time(step.last_at),
                "times": step.times,
                "round": step.round,
                "words": step.words,
            }
            for step in item.steps
        ],
    }


def _time(moment: float | None) -> str | None:
    return None if moment is None else iso(moment)
