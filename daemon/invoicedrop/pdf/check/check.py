"""The check of one PDF, told once: the file as a whole, its streams, the document, what it may not do, its facts.

It runs in a child process (`pdf_child`): these modules (`pdf_*`) import pypdf, the standard library and each other.
What each step may find is told where it is done.
"""

from collections.abc import Sequence
from typing import Any, Final

from invoicedrop.pdf.check.actions import Objects, check_actions
from invoicedrop.pdf.check.document import Document
from invoicedrop.pdf.check.metadata import einvoice, pdfa, producer, version
from invoicedrop.pdf.check.order_number import number_found
from invoicedrop.pdf.check.streams import Contents
from invoicedrop.pdf.check.structure import Layout
from invoicedrop.pdf.check.syntax import Data
from invoicedrop.pdf.check.verdict import Refused

_MOST_DECRYPTED: Final = 8_388_608
"""Bytes of an encrypted file that are decrypted to be checked: pypdf does 1 to 30 MB a second."""


def check(data: Data, *, max_pages: int, expect: Sequence[str], search_seconds: float) -> dict[str, Any]:
    """Return the facts of a good invoice, by the names of `validator.PdfFacts`.

    `search_seconds` is how long the search for the order's numbers (`expect`) may take.

    Raises:
        Refused: it is not one.
        NeedsCryptographyError: it is encrypted in a way that needs a library which is not loaded.

    """
    layout = Layout(data)
    encrypted = "Encrypt" in layout.trailer
    contents = Contents(layout, encrypted=encrypted)
    if layout.lost_carriage_returns and pdfa(contents.texts) is not None:
        # Nothing that a viewer shows is wrong; but who writes PDF/A writes a table with line ends of two bytes.
        raise Refused("damaged", "its line ends have been converted, as by a transfer in text mode")
    document = Document(layout, contents, max_pages)
    if encrypted:
        _check_encrypted(layout, contents, document)
    document.check_pages()
    check_actions(Objects(layout, contents), layout.trailer)
    return {
        "pages": len(document.pages),
        "version": version(document, layout.version),
        "producer": producer(document),
        "pdfa": pdfa(contents.texts),
        "einvoice": einvoice(contents.texts),
        "order_number_found": number_found(expect, document, contents.texts, search_seconds) if expect else None,
    }


def _check_encrypted(layout: Layout, contents: Contents, document: Document) -> None:
    """Check an encrypted file's streams, decrypted: object streams first, then as many as the time allows."""
    streams = [
        (piece.dictionary.get("Type") != "ObjStm", piece.start, piece)
        for piece in layout.current.values()
        if piece.dictionary is not None and piece.dictionary.get("Type") != "XRef"
    ]
    left = _MOST_DECRYPTED
    for _, _, piece in sorted(streams):
        left -= piece.stream_end - piece.stream
        if left < 0:
            break
        decrypted = document.stream_bytes(piece.number, piece.generation)
        if decrypted is not None:
            contents.check_decrypted(piece, decrypted)
    contents.judge_checksums()
