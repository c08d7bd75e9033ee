"""The check of PDFs in the test's own process, and good PDFs to be damaged."""

import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import settings

import pdfs
from invoicedrop.pdf.check.check import check
from invoicedrop.pdf.check.streams import MOST_EXPANDED
from invoicedrop.pdf.check.verdict import PdfFacts, Refused
from invoicedrop.reasons import Reason

GOOD = {
    "table": pdfs.invoice(padding=40_000),
    "fpdf2": pdfs.fpdf2(),
    "object streams": pdfs.compressed(pdfs.objects(padding=40_000)),
    "e-invoice": pdfs.factur_x(),
}
"""One of each way to lay out a file."""
DAMAGE = ("incomplete", "damaged")


def examples(number: int) -> int:
    """Return how many examples a test takes: `number` in every run, and more in a search for new ones."""
    return max(number, settings().max_examples)


@contextmanager
def mapped(pdf: bytes) -> Iterator[mmap.mmap]:
    """Lend the bytes as the child has them."""
    with mmap.mmap(-1, len(pdf)) as data:
        data[:] = pdf
        yield data


def facts(
    pdf: bytes, *, max_pages: int = 500, expect: tuple[str, ...] = (), most_expanded: int = MOST_EXPANDED
) -> PdfFacts:
    """Return the facts of a PDF that passes."""
    with mapped(pdf) as data:
        return check(data, max_pages=max_pages, expect=expect, search_seconds=30, most_expanded=most_expanded)


def verdict(pdf: bytes, *, most_expanded: int = MOST_EXPANDED) -> str:
    """Return the reason for which a PDF is rejected, or "ok"."""
    try:
        facts(pdf, most_expanded=most_expanded)
    except Refused as refused:
        reason, detail = refused.reason, refused.detail
    else:
        return "ok"
    assert reason in set(Reason)
    assert re.fullmatch(r"[ -~]{5,150}", detail)
    return reason
