"""`invoicedrop orders`: recent orders with the names that their invoices must have, and which still owe one.

Of an order only its numbers, channel, date and attachments are read; customers' data is never even parsed.

With `--json`, one object (times are UTC, ISO 8601):

    orders      [{inbox, file_name, id, channel, marketplace_number, created, invoices: [{id, created}]}], newest first
                within each inbox; `file_name` is null where the marketplace's number cannot be a file name
    unanswered  [{inbox, detail}]: the inboxes whose project could not be asked, and why
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console

from invoicedrop import exit_codes
from invoicedrop.channable.models import Order
from invoicedrop.commands import access
from invoicedrop.commands.output import counted, print_line, print_table
from invoicedrop.errors import Paused, Rejected, Unanswered
from invoicedrop.inbox.names import parse_name
from invoicedrop.invoice import OrderIdKind
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.printable import printable
from invoicedrop.settings.models import Inbox, Settings
from invoicedrop.timing import Timing


@dataclass(frozen=True, slots=True)
class OwedOrder:
    """An order, and the name that a file must have to be its invoice; None if no file name can say it."""

    inbox: str
    file_name: str | None
    order: Order


def orders(
    settings: Settings,
    console: Console,
    *,
    search: str,
    days: int,
    without_invoice: bool,
    as_json: bool,
    inbox: str | None,
    timing: Timing = access.TIMING,
) -> int:
    """Print the orders of the last `days` in which `search` occurs; return the exit code.

    0: all were listed. 2: there is no such inbox. 75: at least one project could not be asked now (one sentence on
    stderr for each); what the others answered is printed all the same.

    Raises:
        LedgerUnavailable, ConfigError: the ledger, which knows how much of the rate limit is used, cannot be read.

    """
    chosen = [one for one in settings.inboxes if inbox is None or one.name.casefold() == inbox.casefold()]
    if not chosen:
        names = ", ".join(one.name for one in settings.inboxes)
        _complain(f"there is no inbox called {inbox}; there are: {names}")
        return exit_codes.USAGE
    since = datetime.now(UTC) - timedelta(days=days)
    found: list[OwedOrder] = []
    unanswered: dict[str, str] = {}
    with access.existing_ledger(settings) as ledger:
        for one in _projects(chosen):
            try:
                # All of a project or nothing: half a list would look as if the rest were not owed.
                found += list(_orders_of(one, ledger, search, since, timing, without_invoice=without_invoice))
            except _Unasked as trouble:
                unanswered[one.name] = str(trouble)
    if as_json:
        console.out(json.dumps(_as_json(found, unanswered)), highlight=False)
    elif found or len(unanswered) < len(chosen):
        _show(found, console, days=days, without_invoice=without_invoice, inboxes=chosen)
    for name, detail in unanswered.items():
        which = f" of inbox {name}" if len(settings.inboxes) > 1 else ""
        _complain(f"the orders{which} cannot be listed now: {detail}")
    return exit_codes.TRY_LATER if unanswered else exit_codes.OK


class _Unasked(Exception):  # noqa: N818 - says what happened to the question
    pass


def _projects(inboxes: list[Inbox]) -> list[Inbox]:
    """Return one inbox for each project (and way to name files), so that none is asked twice."""
    return list({(one.account, one.project_id, one.order_id_kind): one for one in reversed(inboxes)}.values())[::-1]


def _orders_of(
    inbox: Inbox, ledger: Ledger | None, search: str, since: datetime, timing: Timing, *, without_invoice: bool
) -> Iterator[OwedOrder]:
    with access.open_project(inbox, ledger, timing=timing) as project:
        try:
            for order in project.all_orders(search=search, since=since):
                if not (without_invoice and order.invoices):
                    yield OwedOrder(inbox.name, file_name(order, inbox.order_id_kind), order)
        except (Paused, Unanswered) as error:
            raise _Unasked(access.trouble(project, error)) from error


def file_name(order: Order, kind: OrderIdKind) -> str | None:
    """Return the name that an invoice for this order must have; None if there can be none."""
    if kind == "channable":
        return f"{order.id}.pdf"
    for number in (order.channel_id, order.data.extra.channel_order_number):
        try:
            if number and "/" not in number and parse_name(f"{number}.pdf", kind).order == number:
                return f"{number}.pdf"
        except Rejected:
            continue
    return None


def _show(found: list[OwedOrder], console: Console, *, days: int, without_invoice: bool, inboxes: list[Inbox]) -> None:
    what = "without an invoice" if without_invoice else "found"
    if not found:
        print_line(console, f"No order {what} in the last {_days(days)}.")
        return
    kinds = {inbox.order_id_kind for inbox in inboxes}
    # Beside the file name, which is one of an order's numbers, stands the other one.
    other = (
        {"channable": "marketplace number", "marketplace": "Channable id"}[kinds.pop()] if len(kinds) == 1 else "order"
    )
    several = len(inboxes) > 1
    titles = ("name the file", "channel", other, "date", "invoices")
    rows = []
    for one in found:
        order = one.order
        by_id = one.file_name == f"{order.id}.pdf"
        row = (
            one.file_name or "(no name can say it)",
            order.channel_name or "",
            (_number(order) or "") if by_id else str(order.id),
            "" if order.created is None else f"{order.created.astimezone():%Y-%m-%d}",
            _invoices(order),
        )
        rows.append((one.inbox, *row) if several else row)
    print_table(console, ("inbox", *titles) if several else titles, rows, foldable={"inbox", "channel"})
    print_line(console, f"{counted(len(found), 'order')} {what} in the last {_days(days)}.")


def _days(days: int) -> str:
    return f"{days} days" if days != 1 else "24 hours"


def _number(order: Order) -> str | None:
    return order.channel_id or order.data.extra.channel_order_number


def _invoices(order: Order) -> str:
    if not order.invoices:
        return "none"
    newest = max((one.created for one in order.invoices if one.created is not None), default=None)
    date = "yes" if newest is None else f"{newest.astimezone():%Y-%m-%d}"
    return date if len(order.invoices) == 1 else f"{len(order.invoices)} ({date})"


def _as_json(found: list[OwedOrder], unanswered: dict[str, str]) -> dict[str, Any]:
    return {
        "orders": [
            {
                "inbox": one.inbox,
                "file_name": one.file_name,
                "id": one.order.id,
                "channel": one.order.channel_name,
                "marketplace_number": _number(one.order),
                "created": _utc(one.order.created),
                "invoices": [{"id": invoice.id, "created": _utc(invoice.created)} for invoice in one.order.invoices],
            }
            for one in found
        ],
        "unanswered": [{"inbox": name, "detail": detail} for name, detail in unanswered.items()],
    }


def _utc(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")


def _complain(sentence: str) -> None:
    sys.stderr.write(f"{printable(sentence)}\n")
