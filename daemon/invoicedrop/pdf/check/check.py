"""The check of one PDF, step by step: the file as a whole, its streams, the document, what it may not do, its facts.

It runs in a child process (`worker`): the modules of this folder import pypdf, zlib_ng, the standard library and each
other. What each step refuses is documented there.
"""

from collections.abc import Sequence
from typing import Final

import pypdf

from invoicedrop.pdf.check.actions import Objects, check_actions
from invoicedrop.pdf.check.credit_note import credit_note
from invoicedrop.pdf.check.document import CONFIGURATION, Document, open_document
from invoicedrop.pdf.check.metadata import einvoice, pdfa, producer, version
from invoicedrop.pdf.check.order_number import number_found
from invoicedrop.pdf.check.streams import MOST_EXPANDED, Contents, read_contents
from invoicedrop.pdf.check.structure import Layout, read_layout
from invoicedrop.pdf.check.syntax import Data
from invoicedrop.pdf.check.verdict import PdfFacts, Refused

_MOST_DECRYPTED: Final = 8_388_608
"""Bytes of an encrypted file that are decrypted to be checked: pypdf does 1 to 30 MB a second."""


def check(
    data: Data, *, max_pages: int, expect: Sequence[str], search_seconds: float, most_expanded: int = MOST_EXPANDED
) -> PdfFacts:
    """Return the facts of a good invoice.

    `search_seconds` is how long the search for the order's numbers (`expect`) may take, `most_expanded` how many bytes
    all streams together may expand to.

    Raises:
        Refused: it is not one.

    """
    with pypdf.apply_configuration(CONFIGURATION):
        layout = read_layout(data)
        contents = read_contents(layout, most_expanded)
        if layout.lost_carriage_returns and pdfa(contents.texts) is not None:
            # Nothing that a viewer shows is wrong; but who writes PDF/A writes a table with line ends of two bytes.
            raise Refused("damaged", "its line ends have been converted, as by a transfer in text mode")
        document = open_document(layout, contents, max_pages)
        if layout.encrypted:
            _check_encrypted(layout, contents, document)
        document.check_pages()
        check_actions(Objects(layout, contents), layout.trailer)
        return PdfFacts(
            pages=len(document.pages),
            version=version(document, layout.version),
            producer=producer(document),
            pdfa=pdfa(contents.texts),
            einvoice=einvoice(contents.texts),
            credit_note=credit_note(contents.texts, document),
            order_number_found=number_found(expect, document, contents.texts, search_seconds) if expect else None,
        )


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
            contents.check(piece, decrypted, 0, len(decrypted))
    contents.judge_checksums()
