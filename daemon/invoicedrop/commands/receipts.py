"""The receipts since a day, for an auditor: a table, CSV or JSON; one line for each accepted invoice.

As CSV (RFC 4180, UTF-8; times are UTC, ISO 8601; empty is what is not known), with a line of titles first:

    inbox, file, order_id, marketplace_number, sha256, bytes, accepted_at, attachment_id, confirmed_at, filed_as

A spreadsheet would take a cell that begins with one of = + - @ for a formula, whoever wrote it (a file's name is
anybody's): such a cell begins with an apostrophe (https://owasp.org/www-community/attacks/CSV_Injection). With
`--json`, one object: {since, receipts: [{...}]}, with the same names.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import typer
from rich.console import Console

from invoicedrop.commands.output import print_line, print_table
from invoicedrop.ledger.past import AcceptedInvoice
from invoicedrop.printable import printable
from invoicedrop.reporting.wording import counted
from invoicedrop.system.local_time import iso, minute

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_TITLES: Final = (
    "inbox",
    "file",
    "order_id",
    "marketplace_number",
    "sha256",
    "bytes",
    "accepted_at",
    "attachment_id",
    "confirmed_at",
    "filed_as",
)


def print_csv(receipts: Iterable[AcceptedInvoice]) -> None:
    """Print the receipts as CSV."""
    _write([_TITLES])
    for receipt in receipts:
        _write([["" if value is None else _cell(value) for value in _values(receipt)]])


def print_json(receipts: Iterable[AcceptedInvoice], since: float, console: Console) -> None:
    """Print the receipts as one JSON object."""
    listed = [dict(zip(_TITLES, _values(receipt), strict=True)) for receipt in receipts]
    console.out(json.dumps({"since": iso(since), "receipts": listed}), highlight=False)


def show(receipts: Iterable[AcceptedInvoice], since: float, console: Console) -> None:
    """Print the receipts as a table."""
    rows = [
        (
            receipt.file,
            str(receipt.order_id),
            str(receipt.attachment_id),
            minute(receipt.accepted_at),
            "" if receipt.confirmed_at is None else minute(receipt.confirmed_at),
        )
        for receipt in receipts
    ]
    if rows:
        print_table(console, ("file", "order", "attachment", "accepted", "confirmed"), rows, foldable={"file"})
        print_line(console)
    print_line(console, f"Accepted by Channable since {minute(since)}: {counted(len(rows), 'invoice')}.")


def _values(receipt: AcceptedInvoice) -> Iterator[Any]:
    return iter(
        (
            receipt.inbox,
            receipt.file,
            receipt.order_id,
            receipt.marketplace_number,
            receipt.sha256,
            receipt.size,
            iso(receipt.accepted_at),
            receipt.attachment_id,
            None if receipt.confirmed_at is None else iso(receipt.confirmed_at),
            receipt.filed_as,
        )
    )


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    shown = printable(value)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def _write(rows: Iterable[Iterable[Any]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    # As bytes: neither the line ends nor the encoding are those of the terminal.
    typer.echo(text.getvalue().encode(), nl=False)
