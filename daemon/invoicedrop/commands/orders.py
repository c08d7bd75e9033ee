"""`invoicedrop orders`: recent orders, the file name that an invoice for each must have, and what is owed.

Of an order only what concerns its invoices is read; customer data is not even parsed. `owed` says what is owed and
since when, `orders_listing` what `--json` prints.
"""

import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from rich.console import Console

from invoicedrop import exit_codes
from invoicedrop.channable.channels import find_channel
from invoicedrop.channable.models import Order
from invoicedrop.commands import access, orders_table
from invoicedrop.commands.orders_listing import ListedOrder, Listing
from invoicedrop.commands.orders_table import Layout
from invoicedrop.commands.owed import debt_of
from invoicedrop.errors import Paused, Rejected, Unanswered
from invoicedrop.inbox.names import parse_name
from invoicedrop.invoice import OrderIdKind
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.printable import printable
from invoicedrop.reporting.existing_ledger import existing_ledger
from invoicedrop.reporting.wording import counted
from invoicedrop.settings.inbox import Inbox
from invoicedrop.settings.settings import Settings
from invoicedrop.system.local_time import DAY, utc
from invoicedrop.timing import Timing

_HOURS_A_DAY = 24


def orders(
    settings: Settings,
    console: Console,
    *,
    search: str,
    days: int,
    without_invoice: bool,
    as_json: bool,
    inbox: str | None,
    everything: bool = False,
    items: bool = False,
    overdue: int | None = None,
    timing: Timing = access.TIMING,
) -> int:
    """Print the orders of the last `days` in which `search` occurs; return the exit code.

    `without_invoice`, or `overdue` (hours), lists those that are owed an invoice; `everything` the rest too, with the
    cause. `items` shows the order items that an invoice may be for.

    0: all are listed that can be read. 1: an invoice is owed for longer than `overdue`. 2: there is no such inbox, or
    `days` is too short for `overdue`. 75: at least one project cannot be asked now (one sentence on stderr for each);
    the orders of the others are printed all the same.

    Raises:
        LedgerUnavailable, ConfigError: the ledger, which knows the level of the rate limit, cannot be read.

    """
    inboxes = [item for item in settings.inboxes if inbox is None or item.name.casefold() == inbox.casefold()]
    if not inboxes:
        names = ", ".join(item.name for item in settings.inboxes)
        _print_error(f"there is no inbox called {inbox}; there are: {names}")
        return exit_codes.USAGE
    if overdue is not None and overdue >= days * _HOURS_A_DAY:
        # An order of the last `days` cannot be owed an invoice for longer than that: nothing would ever be overdue.
        _print_error(f"--overdue {overdue} needs --days {overdue // _HOURS_A_DAY + 1} or more")
        return exit_codes.USAGE
    only_owed = not everything and (without_invoice or overdue is not None)
    listing = Listing(datetime.now(UTC), None if overdue is None else timedelta(hours=overdue))
    since = utc(time.time() - days * DAY)
    projects = _one_for_each_project(inboxes)
    with existing_ledger(settings) as ledger:
        for project_inbox in projects:
            _add(listing, project_inbox, ledger, search, since, timing, only_owed=only_owed)
    if as_json:
        console.out(json.dumps(listing.as_json()), highlight=False)
    elif listing.orders or len(listing.unanswered) < len(projects):
        layout = Layout(days, inboxes, only_owed=only_owed, causes=everything, items=items)
        orders_table.show(listing, layout, console)
    for sentence in _what_is_missing(listing, only_owed=only_owed, several=len(settings.inboxes) > 1):
        _print_error(sentence)
    if listing.overdue:
        return exit_codes.FAILED
    return exit_codes.TRY_LATER if listing.unanswered else exit_codes.OK


def _one_for_each_project(inboxes: list[Inbox]) -> list[Inbox]:
    """Return one inbox for each project (and way to name files), so that no project is asked twice."""
    projects = {(inbox.account, inbox.project_id, inbox.order_id_kind): inbox for inbox in reversed(inboxes)}
    return list(projects.values())[::-1]


def _add(
    listing: Listing,
    inbox: Inbox,
    ledger: Ledger | None,
    search: str,
    since: datetime,
    timing: Timing,
    *,
    only_owed: bool,
) -> None:
    """Add a project's orders to the listing, or why it does not answer.

    All of its pages or nothing: half a list would look as if the rest needed no invoice.
    """
    unreadable: list[int] = []
    with access.open_project(inbox, ledger, timing=timing) as project:
        try:
            orders = list(project.all_orders(search=search, since=since, on_unreadable=unreadable.append))
        except (Paused, Unanswered) as error:
            listing.unanswered[inbox.name] = access.trouble(project, error)
            return
    if unreadable:
        listing.unreadable[inbox.name] = sum(unreadable)
    items = [_listed(order, inbox, listing.now) for order in orders]
    listing.undecided += [item for item in items if not item.debt.is_certain]
    listing.orders += [item for item in items if item.debt.is_owed or not only_owed]


def _listed(order: Order, inbox: Inbox, now: datetime) -> ListedOrder:
    channel = find_channel(order.channel_name)
    takes_items = channel is not None and channel.takes_items
    item_ids = tuple(dict.fromkeys(item.channable_order_item_id for item in order.data.products)) if takes_items else ()
    name = file_name(order, inbox.order_id_kind)
    return ListedOrder(inbox.name, name, order, debt_of(order, now), item_ids, _items_name(name, item_ids))


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


def _items_name(name: str | None, item_ids: tuple[int, ...]) -> str | None:
    """Return the name that a file must have to be for each of these order items."""
    return f"{name.removesuffix('.pdf')}_items-{'-'.join(map(str, item_ids))}.pdf" if name and item_ids else None


def _what_is_missing(listing: Listing, *, only_owed: bool, several: bool) -> Iterator[str]:
    """Yield a sentence for each project's orders that the listing lacks, and for those that it cannot judge."""

    def of_inbox(name: str) -> str:
        return f" of inbox {name}" if several else ""

    for name, detail in listing.unanswered.items():
        yield f"the orders{of_inbox(name)} cannot be listed now: {detail}"
    for name, count in listing.unreadable.items():
        they = "it is" if count == 1 else "they are"
        yield (
            f"this list is not complete: {counted(count, 'order')}{of_inbox(name)} cannot be read, as Channable "
            f"describes {'it' if count == 1 else 'them'} in an unknown way; look in Channable whether {they} owed an "
            "invoice"
        )
    if only_owed and listing.undecided:
        count = len(listing.undecided)
        yield (
            f"{counted(count, 'order')} without an invoice {'does' if count == 1 else 'do'} not say whether "
            f"{'it was' if count == 1 else 'they were'} shipped, and so {'is' if count == 1 else 'are'} not listed: "
            "--all lists every order"
        )


def _print_error(sentence: str) -> None:
    sys.stderr.write(f"{printable(sentence)}\n")
