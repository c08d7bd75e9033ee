"""One invoice's PDF checked: what was learned of it, and whether it may still become whole."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from structlog.typing import FilteringBoundLogger as Log

from invoicedrop.errors import Rejected
from invoicedrop.inbox.snapshot import Snapshot
from invoicedrop.languages.catalogue import phrase
from invoicedrop.ledger.entry import Entry
from invoicedrop.pdf.check.verdict import PdfFacts
from invoicedrop.pipeline.job import DeliveryContext, SettledFile
from invoicedrop.reasons import Reason
from invoicedrop.settings.inbox import Inbox

_MAY_BE_UNFINISHED: Final = frozenset({Reason.EMPTY, Reason.INCOMPLETE})


def validate(
    file: SettledFile, snapshot: Snapshot, numbers: Sequence[str], context: DeliveryContext, log: Log
) -> PdfFacts:
    """Have the PDF checked, and searched for `numbers`; return what was learned.

    Raises:
        Rejected: it can never be sent.
        Deferred: it may still be being written.
        CheckUnavailable: no PDF can be checked now.
        Stopping: the service is being stopped.

    """
    inbox = context.inbox
    began = time.monotonic()
    try:
        facts = context.validator.check(snapshot.fd, snapshot.size, max_pages=inbox.max_pages, expect=numbers)
    except Rejected as rejection:
        # The file's own times are not believed: where a clock is set, a file that is being written looks old.
        left = inbox.incomplete_grace - file.quiet
        if rejection.reason in _MAY_BE_UNFINISHED and left > 0:
            detail = phrase("it may still be being written ({detail})", detail=rejection.detail)
            raise context.deferrals.note(file.name, log, left, detail, rejection.reason) from rejection
        raise
    finally:
        context.checks.add(time.monotonic() - began)
    _log_facts(facts, log)
    return facts


def with_facts(entry: Entry, facts: PdfFacts) -> Entry:
    """Return the entry with what was learned of its PDF."""
    return replace(
        entry,
        pages=facts.pages,
        pdf_version=facts.version,
        producer=facts.producer,
        pdfa=facts.pdfa,
        einvoice=facts.einvoice,
    )


def require_number(facts: PdfFacts, numbers: Sequence[str], inbox: Inbox) -> None:
    """Reject an invoice in which none of its order's `numbers` occurs, if that is asked for.

    Raises:
        Rejected: none does.

    """
    if facts.order_number_found is False and inbox.require_order_number == "reject":
        raise Rejected(
            Reason.WRONG_ORDER_NUMBER,
            phrase("none of these numbers occurs in the PDF: {numbers}", numbers=", ".join(numbers)),
        )


def _log_facts(facts: PdfFacts, log: Log) -> None:
    searched = {} if facts.order_number_found is None else {"order_number_found": facts.order_number_found}
    log.log(
        logging.WARNING if facts.order_number_found is False else logging.INFO,
        "invoice.validated",
        pages=facts.pages,
        pdf_version=facts.version,
        producer=facts.producer,
        pdfa=facts.pdfa,
        einvoice=facts.einvoice,
        **searched,
    )
