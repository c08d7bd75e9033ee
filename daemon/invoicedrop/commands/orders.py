"""`invoicedrop orders`: recent orders, the file name that an invoice for each must have, and the invoices attached.

Only an order's numbers, channel, date and attachments are read; customer data is not even parsed.

With `--json`, one object (times are UTC, ISO 8601):

    orders      [{inbox, file_name, id, channel, marketplace_number, created, invoices: [{id, created}]}], newest first
                within each inbox; `file_name` is null where the marketplace's number cannot be a file name
    unanswered  [{inbox, detail}]: the inboxes whose project could not be asked, and why
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
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
from invoicedrop.system.local_time import DAY, day, iso, utc
from invoicedrop.timing import Timing


@dataclass(frozen=True, slots=True)
class ListedOrder:
    """An order, and the name that its invoice's file must have; None if no file name can express it."""

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

    0: all are listed. 2: there is no such inbox. 75: at least one project cannot be asked now (one sentence on stderr
    for each); the orders of the others are printed all the same.

    Raises:
        LedgerUnavailable, ConfigError: the ledger, which knows the level of the rate limit, cannot be read.

    """
    inboxes = [item for item in settings.inboxes if inbox is None or item.name.casefold() == inbox.casefold()]
    if not inboxes:
        names = ", ".join(item.name for item in settings.inboxes)
        _print_error(f"there is no inbox called {inbox}; there are: {names}")
        return exit_codes.USAGE
    since = utc(time.time() - days * DAY)
    listed: list[ListedOrder] = []
    unanswered: dict[str, str] = {}
    with access.existing_ledger(settings) as ledger:
        for project_inbox in _one_for_each_project(inboxes):
            try:
                # All of a project or nothing: half a list would look as if the rest needed no invoice.
                listed += list(_list(project_inbox, ledger, search, since, timing, without_invoice=without_invoice))
            except _ListingFailed as error:
                unanswered[project_inbox.name] = str(error)
    if as_json:
        console.out(json.dumps(_as_json(listed, unanswered)), highlight=False)
    elif listed or len(unanswered) < len(inboxes):
        _show(listed, console, days=days, without_invoice=without_invoice, inboxes=inboxes)
    for name, detail in unanswered.items():
        of_inbox = f" of inbox {name}" if len(settings.inboxes) > 1 else ""
        _print_error(f"the orders{of_inbox} cannot be listed now: {detail}")
    return exit_codes.TRY_LATER if unanswered else exit_codes.OK


class _ListingFailed(Exception):  # noqa: N818 - as in `errors`
    """A project cannot be asked now; the message says why."""


def _one_for_each_project(inboxes: list[Inbox]) -> list[Inbox]:
    """Return one inbox for each project (and way to name files), so that no project is asked twice."""
    projects = {(inbox.account, inbox.project_id, inbox.order_id_kind): inbox for inbox in reversed(inboxes)}
    return list(projects.values())[::-1]


def _list(
    inbox: Inbox, ledger: Ledger | None, search: str, since: datetime, timing: Timing, *, without_invoice: bool
) -> Iterator[ListedOrder]:
    with access.open_project(inbox, ledger, timing=timing) as project:
        try:
            for order in project.all_orders(search=search, since=since):
                if not (without_invoice and order.invoices):
                    yield ListedOrder(inbox.name, file_name(order, inbox.order_id_kind), order)
        except (Paused, Unanswered) as error:
            raise _ListingFailed(access.trouble(project, error)) from error


def file_name(order: Order, kind: OrderIdKind) -> str | None:
    """Return the name that the file of this order's invoice must have; None if none can express it."""
    if kind == "channable":
        return f"{order.id}.pdf"
    for number in (order.channel_id, order.data.extra.channel_order_number):
        try:
            if number and "/" not in number and parse_name(f"{number}.pdf", kind).order == number:
                return f"{number}.pdf"
        except Rejected:
            continue
    return None


def _show(
    listed: list[ListedOrder], console: Console, *, days: int, without_invoice: bool, inboxes: list[Inbox]
) -> None:
    what = "without an invoice" if without_invoice else "found"
    if not listed:
        print_line(console, f"No order {what} in the last {_days(days)}.")
        return
    kinds = {inbox.order_id_kind for inbox in inboxes}
    # The file name is one of an order's two numbers; this column has the other one.
    other = (
        {"channable": "marketplace number", "marketplace": "Channable id"}[kinds.pop()] if len(kinds) == 1 else "order"
    )
    several = len(inboxes) > 1
    titles = ("name the file", "channel", other, "date", "invoices")
    rows = []
    for item in listed:
        order = item.order
        by_id = item.file_name == f"{order.id}.pdf"
        row = (
            item.file_name or "(no name can say it)",
            order.channel_name or "",
            (_marketplace_number(order) or "") if by_id else str(order.id),
            "" if order.created is None else day(order.created),
            _invoices(order),
        )
        rows.append((item.inbox, *row) if several else row)
    print_table(console, ("inbox", *titles) if several else titles, rows, foldable={"inbox", "channel"})
    print_line(console, f"{counted(len(listed), 'order')} {what} in the last {_days(days)}.")


def _days(days: int) -> str:
    return f"{days} days" if days != 1 else "24 hours"


def _marketplace_number(order: Order) -> str | None:
    return order.channel_id or order.data.extra.channel_order_number


def _invoices(order: Order) -> str:
    if not order.invoices:
        return "none"
    newest = max((invoice.created for invoice in order.invoices if invoice.created is not None), default=None)
    date = "yes" if newest is None else day(newest)
    return date if len(order.invoices) == 1 else f"{len(order.invoices)} ({date})"


def _as_json(listed: list[ListedOrder], unanswered: dict[str, str]) -> dict[str, Any]:
    return {
        "orders": [
            {
                "inbox": item.inbox,
                "file_name": item.file_name,
                "id": item.order.id,
                "channel": item.order.channel_name,
                "marketplace_number": _marketplace_number(item.order),
                "created": _time(item.order.created),
                "invoices": [{"id": invoice.id, "created": _time(invoice.created)} for invoice in item.order.invoices],
            }
            for item in listed
        ],
        "unanswered": [{"inbox": name, "detail": detail} for name, detail in unanswered.items()],
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)


def _print_error(sentence: str) -> None:
    sys.stderr.write(f"{printable(sentence)}\n")
