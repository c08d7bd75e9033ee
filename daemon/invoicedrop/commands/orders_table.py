"""How `invoicedrop orders` looks on a terminal of 80 columns."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from rich.console import Console

from invoicedrop.channable.channels import find_channel
from invoicedrop.channable.models import Order
from invoicedrop.commands.orders_listing import ListedOrder, Listing
from invoicedrop.commands.output import Cell, print_line, print_table
from invoicedrop.reporting.wording import counted
from invoicedrop.settings.inbox import Inbox
from invoicedrop.system.local_time import day

_SHOWN_IN_HOURS: Final = timedelta(days=2)
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Layout:
    """What the table is to show: orders of the last `days` of these inboxes.

    `only_owed`: since when each is owed an invoice; `causes`: that, or why it is not owed one; else its invoices.
    `items`: the order items that an invoice may be for.
    """

    days: int
    inboxes: list[Inbox]
    only_owed: bool
    causes: bool
    items: bool


def show(listing: Listing, layout: Layout, console: Console) -> None:
    """Print the table and what it amounts to."""
    if listing.orders:
        _table(listing, layout, console)
    for line in _summary(listing, layout):
        print_line(console, line)


def _table(listing: Listing, layout: Layout, console: Console) -> None:
    kinds = {inbox.order_id_kind for inbox in layout.inboxes}
    # The file name is one of an order's two numbers; this column has the other one.
    other = (
        {"channable": "marketplace number", "marketplace": "Channable id"}[kinds.pop()] if len(kinds) == 1 else "order"
    )
    several = len(layout.inboxes) > 1
    shows_debts = layout.only_owed or layout.causes
    last = ["owed since" if layout.only_owed else "owed"] if shows_debts else ["date", "invoices"]
    titles = [*(["inbox"] if several else []), "name the file", "channel", other, *last]
    rows: list[list[Cell]] = []
    for item in listing.orders:
        order = item.order
        by_id = item.file_name == f"{order.id}.pdf"
        row: list[Cell] = [
            item.file_name or "(no name can say it)",
            order.channel_name or "",
            (order.marketplace_number or "") if by_id else str(order.id),
            *([_debt(item, listing)] if shows_debts else [_date(order), _invoices(order)]),
        ]
        rows.append([item.inbox, *row] if several else row)
    if layout.items:
        titles.append("items")
        rows = [[*row, " ".join(map(str, item.item_ids))] for row, item in zip(rows, listing.orders, strict=True)]
    print_table(console, titles, rows, foldable={"inbox", "channel", "owed", "items"})


def _debt(item: ListedOrder, listing: Listing) -> Cell:
    debt = item.debt
    if not debt.is_owed:
        return debt.cause
    words = f"{day(debt.since)}, {_length(debt.length)}" if debt.since and debt.length is not None else "unknown"
    # In words as well: not every terminal has colours, and a pipe has none.
    return (f"{words}, overdue", "bold red") if debt.is_overdue(listing.limit) else words


def _length(length: timedelta) -> str:
    return f"{length // _HOUR} h" if length < _SHOWN_IN_HOURS else f"{length.days} days"


def _date(order: Order) -> str:
    return "" if order.created is None else day(order.created)


def _invoices(order: Order) -> str:
    if not order.invoices:
        return "none"
    newest = max((invoice.created for invoice in order.invoices if invoice.created is not None), default=None)
    date = "yes" if newest is None else day(newest)
    return date if len(order.invoices) == 1 else f"{len(order.invoices)} ({date})"


def _summary(listing: Listing, layout: Layout) -> Iterator[str]:
    period = "last 24 hours" if layout.days == 1 else f"last {layout.days} days"
    shows_debts = layout.only_owed or layout.causes
    if not layout.only_owed:
        yield f"{counted(len(listing.orders), 'order') if listing.orders else 'No order'} found in the {period}."
    owed = [item for item in listing.orders if item.debt.is_owed]
    if shows_debts:
        number = f"{counted(len(owed), 'order')} of the {period} {'is' if len(owed) == 1 else 'are'}"
        readable = ", as far as orders can be read" if listing.unreadable else ""
        yield f"{number if owed else f'No order of the {period} is'} owed an invoice{readable}{_late(listing)}."
        names = {item.order.channel_name or "" for item in owed if find_channel(item.order.channel_name) is None}
        if names - {""}:
            yield f"Whether these channels take invoices is not known: {', '.join(sorted(names - {''}))}."
    if layout.items and listing.orders:
        example = next((item.items_name for item in listing.orders if item.items_name), None)
        if example is None:
            yield "None of these orders takes invoices for single items: only bol's do."
        else:
            yield f"An invoice for some items only (bol) has their numbers in its name: {example}"


def _late(listing: Listing) -> str:
    if listing.limit is None:
        return ""
    hours = listing.limit // _HOUR
    return f", {listing.overdue or 'none'} of them for more than {hours} {'hour' if hours == 1 else 'hours'}"
