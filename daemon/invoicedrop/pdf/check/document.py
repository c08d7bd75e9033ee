"""The document as pypdf reads it: catalog, pages, encryption.

pypdf is given the cross-reference that the walk over the whole file has read and verified already, instead of reading
it a second time (which takes most of its time) or guessing where a table is wrong.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pypdf
from pypdf.errors import DependencyError
from pypdf.generic import (
    ArrayObject,
    BooleanObject,
    DictionaryObject,
    FloatObject,
    IndirectObject,
    NameObject,
    NullObject,
    NumberObject,
    PdfObject,
    StreamObject,
    create_string_object,
)

from invoicedrop.pdf.check.streams import Contents
from invoicedrop.pdf.check.structure import Layout
from invoicedrop.pdf.check.syntax import Name, Ref, parse
from invoicedrop.pdf.check.verdict import Refused

# What it logs about a file quotes the file's content.
logging.getLogger("pypdf").addHandler(logging.NullHandler())
logging.getLogger("pypdf").setLevel(logging.CRITICAL + 1)

CONFIGURATION: Final = pypdf.Configuration(jbig2dec_binary=None, disable_legacy_handling=True)
"""How pypdf is to be used: it must start no program. (pypdf 7.1 looks for jbig2dec twice while it is imported, in
`_configuration` and in `filters`, and its legacy handling lets every reader fail if the two answers differ.)"""


class Reader(pypdf.PdfReader):
    """A reader that is given its cross-reference, and what object streams hold (see the module)."""

    def __init__(self, layout: Layout, contents: Contents) -> None:
        self._layout = layout
        self._object_streams = contents.object_streams
        super().__init__(layout.data)

    def read(self, stream: Any) -> None:  # noqa: ARG002 - it has been read
        """Take the places of objects, and the trailer, from the layout."""
        generations = {piece.number: piece.generation for piece in self._layout.current.values()}
        for number, place in self._layout.places.items():
            if place is None:
                continue
            if place < 0:
                self.xref_objStm[number] = (-place, 0)
            else:
                self.xref.setdefault(generations.get(number, 0), {})[number] = place + self._layout.shift
        for number, piece in self._layout.current.items():
            self.xref.setdefault(piece.generation, {})[number] = piece.start
        trailer = _converted(self._layout.trailer, self)
        self.trailer = trailer if isinstance(trailer, DictionaryObject) else DictionaryObject()

    def get_object(self, indirect_reference: int | IndirectObject) -> PdfObject | None:
        """Return an object as the layout has it; pypdf parses what is encrypted, and what has a stream.

        (It would also search the whole file for what is missing, each time.)
        """
        number = indirect_reference if isinstance(indirect_reference, int) else indirect_reference.idnum
        if self.is_encrypted:
            return super().get_object(indirect_reference)
        generation = 0 if isinstance(indirect_reference, int) else indirect_reference.generation
        if (generation, number) in self.resolved_objects:
            return self.resolved_objects[generation, number]
        piece = self._layout.current.get(number)
        if piece is None:
            if number in self.xref_objStm:
                return super().get_object(indirect_reference)
            return self.cache_indirect_object(generation, number, NullObject())
        if piece.dictionary is not None:
            return super().get_object(indirect_reference)
        value, _ = parse(self._layout.data, piece.body)
        return self.cache_indirect_object(generation, number, _converted(value, self))

    def _get_object_from_stream(self, indirect_reference: IndirectObject) -> PdfObject:
        """Take one object from a stream; pypdf would parse all of them, which takes seconds where there are many."""
        number = indirect_reference.idnum
        stream = self._object_streams.get(self.xref_objStm[number][0])
        if stream is None or number not in stream.offsets:
            return super()._get_object_from_stream(indirect_reference)
        value, _ = parse(stream.text, stream.offsets[number])
        converted = _converted(value, self)
        self.cache_indirect_object(0, number, converted)
        return converted


def _converted(value: Any, reader: Reader) -> PdfObject:  # noqa: PLR0911 - one for each kind
    """Return a parsed value as pypdf has it."""
    match value:
        case dict():
            return DictionaryObject({NameObject("/" + key): _converted(item, reader) for key, item in value.items()})
        case list():
            return ArrayObject([_converted(item, reader) for item in value])
        case Ref():
            return IndirectObject(value.number, value.generation, reader)
        case Name():
            return NameObject("/" + value)
        case bytes():
            return create_string_object(value)
        case bool():
            return BooleanObject(value)
        case int():
            return NumberObject(value)
        case float():
            return FloatObject(value)
        case _:
            return NullObject()


@dataclass(frozen=True, slots=True)
class Document:
    """An opened document, decrypted where it is encrypted."""

    reader: Reader
    catalog: DictionaryObject
    pages: list[pypdf.PageObject]

    def check_pages(self) -> None:
        """Check that each page's content is there, and that not all pages are blank.

        Raises:
            Refused: content is missing, or all pages are blank.

        """
        with _reading():
            blank = True
            for number, page in enumerate(self.pages, 1):
                for stream in _contents(page, number):
                    blank = blank and _draws_nothing(stream)
                blank = blank and "/Annots" not in page
            if blank:
                raise Refused("no_pages", "all its pages are blank")

    def stream_bytes(self, number: int, generation: int) -> bytes | None:
        """Return the decrypted bytes of a stream, its filters not undone; None if it is no stream.

        Raises:
            Refused: it cannot be read.

        """
        with _reading():
            stream = self.reader.get_object(IndirectObject(number, generation, self.reader))
            # pypdf has no public way to the bytes before the filters.
            return stream._data if isinstance(stream, StreamObject) else None  # noqa: SLF001


def open_document(layout: Layout, contents: Contents, max_pages: int) -> Document:
    """Open a document, and count its pages.

    Raises:
        Refused: it needs a password, has no pages or more than `max_pages`, or cannot be read.

    """
    with _reading():
        reader = Reader(layout, contents)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Refused("encrypted", "it needs a password to be opened")
        catalog = reader.root_object
        root = catalog.get("/Pages", NullObject()).get_object()
        announced = root.get("/Count", NullObject()).get_object() if isinstance(root, DictionaryObject) else None
        if isinstance(announced, int) and announced > max_pages:
            raise Refused("too_many_pages", f"it has {announced} pages; the limit is {max_pages}")
        pages = list(reader.pages)
        if not pages:
            raise Refused("no_pages", "its page tree is empty")
        if len(pages) > max_pages:
            raise Refused("too_many_pages", f"it has {len(pages)} pages; the limit is {max_pages}")
        return Document(reader, catalog, pages)


_SHORT: Final = 40
"""Bytes of a compressed stream that may hold nothing."""
_DRAWING: Final = 4
"""Bytes of the shortest content that draws: `/a Do` has more, `q Q` has less."""


def _draws_nothing(stream: StreamObject) -> bool:
    # pypdf has no public way to the bytes before the filters, and undoing them all again takes time.
    return len(stream._data) < _SHORT and len(stream.get_data().strip()) < _DRAWING  # noqa: SLF001


def _contents(page: DictionaryObject, number: int) -> Iterator[StreamObject]:
    contents = page.get("/Contents", NullObject())
    values = contents.get_object()
    for value in values if isinstance(values, ArrayObject) else [contents]:
        stream = value.get_object()
        if isinstance(stream, StreamObject):
            yield stream
        elif isinstance(value, IndirectObject):
            raise Refused("damaged", f"the content of page {number} is missing")


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Turn whatever pypdf raises on a document that it cannot read into a refusal; its words may quote the content."""
    try:
        yield
    except (Refused, MemoryError, ImportError):
        raise  # an incomplete installation is no fault of the file
    except DependencyError as e:
        if "cryptography" in str(e):
            raise Refused("encrypted", "it is encrypted with AES, for which the library is missing") from None
        raise Refused("damaged", "its pages need a decoder that is not for pages") from None
    except RecursionError:
        raise Refused("damaged", "its objects are nested too deep") from None
    except Exception as e:  # noqa: BLE001 - a parser of hostile data raises anything
        raise Refused("damaged", f"its pages cannot be read ({type(e).__name__})") from None
