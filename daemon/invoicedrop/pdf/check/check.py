"""The check of one PDF, step by step: the file as a whole, what its pages need, its streams, what it may not do.

It runs in a child process (`worker`): the modules of this folder import pypdf, zlib_ng, the standard library and each
other. What each step refuses is documented there.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import pypdf

from invoicedrop.pdf.check.actions import check_actions
from invoicedrop.pdf.check.credit_note import credit_note
from invoicedrop.pdf.check.document import CONFIGURATION, open_reader
from invoicedrop.pdf.check.file_holes import check_holes, check_object_hole
from invoicedrop.pdf.check.holes import SMALL_HOLE
from invoicedrop.pdf.check.lenient import read_leniently
from invoicedrop.pdf.check.line_ends import check_line_ends
from invoicedrop.pdf.check.metadata import einvoice, pdfa, producer, version
from invoicedrop.pdf.check.needs import Needs
from invoicedrop.pdf.check.objects import NO_LINE_END
from invoicedrop.pdf.check.order_number import number_found
from invoicedrop.pdf.check.page_tree import Page, read_catalog, read_pages
from invoicedrop.pdf.check.streams import MOST_EXPANDED, Streams
from invoicedrop.pdf.check.structure import Layout, read_layout
from invoicedrop.pdf.check.syntax import Data
from invoicedrop.pdf.check.values import Objects, ObjectStream
from invoicedrop.pdf.check.verdict import KINDER, PdfFacts, Refused

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
        check_holes(layout)
        object_streams: dict[int, ObjectStream] = {}
        reader = open_reader(layout, object_streams)
        cipher = reader if layout.encrypted else None
        streams = Streams(layout, cipher, left=_MOST_DECRYPTED, most_expanded=most_expanded)
        object_streams |= streams.object_streams()
        objects = Objects(layout, object_streams)
        catalog = read_catalog(objects)
        pages, tree = read_pages(objects, catalog, max_pages)
        if layout.bytes_added:
            raise Refused("damaged", "bytes were put into its middle, or are there twice")
        needs = Needs(objects)
        needs.add_pages(pages)
        needs.add_attachments(catalog)
        _check_pages(objects, streams, pages)
        streams.check(needs.roles, needs.parts)
        _check_objects(layout, needs.roles.keys() | tree)
        _check_missing(streams, needs)
        check_line_ends(layout, claims_pdfa=pdfa(streams.texts) is not None)
        check_actions(objects, layout.trailer)
        return PdfFacts(
            pages=len(pages),
            version=version(objects, catalog, layout.version),
            producer=producer(reader),
            pdfa=pdfa(streams.texts),
            einvoice=einvoice(streams.texts),
            credit_note=credit_note(streams.texts, reader),
            order_number_found=number_found(expect, reader.page_objects(pages), streams.texts, search_seconds)
            if expect
            else None,
        )


def _check_pages(objects: Objects, streams: Streams, pages: Iterable[Page]) -> None:
    """Refuse a document of which content is missing, or all pages are blank."""
    blank = True
    for number, page in enumerate(pages, 1):
        reference = page.dictionary.get("Contents")
        contents = objects.resolve(reference)
        for part in contents if isinstance(contents, list) else [] if reference is None else [reference]:
            stream = objects.stream_number(part)
            piece = objects.layout.current.get(stream or 0)
            if piece is None or (piece.dictionary or {}).get("Type") in ("ObjStm", "XRef"):
                raise Refused("damaged", f"the content of page {number} is missing in the file")
            blank = blank and streams.draws_nothing(piece)
        blank = blank and "Annots" not in page.dictionary
    if blank:
        raise Refused("no_pages", "all its pages are blank")


def _check_objects(layout: Layout, needed: Iterable[int]) -> None:
    """Refuse a document in which an object that a page needs has a hole, or an error that looks like damage."""
    for number in needed:
        piece = layout.current.get(number)
        if piece is not None:
            check_object_hole(layout, piece, SMALL_HOLE)
        if piece is not None and piece.oddity is not None:
            _, damage = read_leniently(layout.data, piece.body, piece.body_end)
            if piece.oddity == NO_LINE_END:
                raise Refused("damaged", f"object {number} {NO_LINE_END}")
            if damage is not None:
                raise Refused("damaged", f"object {number} {damage}, and a page needs it; {KINDER}")


def _check_missing(streams: Streams, needs: Needs) -> None:
    """Refuse a document in which something is missing that a page needs."""
    for key in sorted(needs.missing):
        raise Refused("damaged", f"a page needs something ({key}) that is missing in the file")
    if needs.missing_names and streams.names_used(needs.roles, needs.missing_names):
        raise Refused("damaged", "a page needs a font or a picture that is missing in the file")
