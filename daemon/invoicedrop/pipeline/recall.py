"""What the ledger knows of an invoice whose file has come in, and how its delivery goes on from there."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from invoicedrop.errors import Rejected
from invoicedrop.inbox.listing import is_present
from invoicedrop.inbox.names import OrderName, parse_name
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.step import StepKind
from invoicedrop.pipeline.job import DeliveryContext


class Retry(NamedTuple):
    """What failed before and starts over; `twin` is its name in the failed folder if it still lies there."""

    entry: Entry
    twin: str | None


def find_row(entry: Entry, name: OrderName, context: DeliveryContext) -> Entry | None:
    """Find the ledger's row of this invoice.

    Raises:
        LedgerUnavailable: the ledger cannot be read now.

    """
    row = context.ledger.find(entry.account, entry.project_id, entry.reference, entry.sha256)
    if row is not None or not name.item_ids:
        return row
    # Before items were a part of the reference, only the file's name told them.
    older = context.ledger.find(entry.account, entry.project_id, name.order, entry.sha256)
    with suppress(Rejected):
        if older is not None and parse_name(older.file, context.inbox.order_id_kind).items == name.items:
            return older
    return None


def retried(row: Entry, mtime_ns: int, context: DeliveryContext) -> Retry:
    """Start over what failed before. Only the file that lay in the failed folder, moved back, waives its reason.

    A copy of what still lies there decides nothing, nor does an export of the same bytes anew after a person took the
    file away, as the reason may have said: that one was last written at another time (`mtime_ns`).

    Raises:
        FileUnavailable: whether it lies there cannot be seen now.
        FolderUnavailable: no file can be looked at now.

    """
    still_there = row.filed_as is not None and is_present(Path(row.filed_as), timing=context.timing)
    twin = Path(row.filed_as or "").name if still_there else None
    is_same_file = row.filed_as is not None and row.filed_mtime_ns in {None, mtime_ns}
    return Retry(context.ledger.retried(row, waive=is_same_file and not still_there), twin)


def continued(row: Entry, ours: Entry) -> Entry:
    """Return the ledger's row with what only this file tells: `ours` is what is known of it."""
    return replace(
        row,
        inbox=ours.inbox,
        file=ours.file,
        order_id=ours.order_id or row.order_id,
        pages=ours.pages or row.pages,
        pdf_version=ours.pdf_version or row.pdf_version,
        producer=ours.producer or row.producer,
        pdfa=ours.pdfa or row.pdfa,
        einvoice=ours.einvoice or row.einvoice,
        marketplace_number=ours.marketplace_number or row.marketplace_number,
        steps=(*row.steps, *(step for step in ours.steps if step.kind is not StepKind.RETRIED)),
    )
