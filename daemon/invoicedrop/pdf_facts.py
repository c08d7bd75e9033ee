"""What an invoice says about itself: version, producer, PDF/A, which e-invoice it carries, which order it is for.

Runs in the child process. Nothing of the document's content leaves it but the producer's name.
"""

import contextlib
import re
import time
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, Final
from xml.parsers import expat

from invoicedrop.pdf_document import Document

_LONGEST_PRODUCER: Final = 100
_PDFA: Final = re.compile(rb"pdfaid:part\s*(?:=\s*[\"']|>)\s*([1-4])")
_PDFA_LEVEL: Final = re.compile(rb"pdfaid:conformance\s*(?:=\s*[\"']|>)\s*([ABUEFabuef])")
_SHARES_ITS_SPACES: Final = 7
"""A number at least so long may be broken by spaces where a text is read from a page; a short one may not: `83 55` is
two numbers."""


def producer(document: Document) -> str | None:
    """Return the name of the program that wrote the document, as it says."""
    try:
        information = document.reader.metadata
        value = information.producer if information is not None else None
    except Exception:  # noqa: BLE001 - a parser of foreign data raises anything, and this is only for the log
        return None
    if not isinstance(value, str):
        return None
    return "".join(character for character in value if character.isprintable())[:_LONGEST_PRODUCER].strip() or None


def version(document: Document, header: str) -> str:
    """Return the PDF version: the header's, or the catalog's where that is newer (ISO 32000-1, 7.2.2)."""
    named = str(document.catalog.get("/Version", "")).lstrip("/")
    return named if re.fullmatch(r"[0-9]\.[0-9]", named) and named > header else header


def pdfa(texts: Sequence[bytes]) -> str | None:
    """Return the PDF/A part and level that the metadata claims, such as "3B"."""
    for text in texts:
        part = _PDFA.search(text)
        if part is not None:
            level = _PDFA_LEVEL.search(text)
            return (part[1] + (level[1] if level is not None else b"")).decode("ascii").upper()
    return None


def einvoice(texts: Sequence[bytes]) -> str | None:
    """Return which e-invoice is embedded: by its own guideline (its metadata says so too, but not always truly).

    The guidelines' names: FeRD, ZUGFeRD 1.0 and 2.3, technical annexes; KoSIT, XRechnung 3.0, chapter 2. Where several
    kinds share the one of EN 16931, the file name that the metadata tells decides.
    """
    metadata = b" ".join(text[:_HEAD] for text in texts if b"rdf:RDF" in text[:_HEAD]).lower()
    for text in texts:
        head = text[:_HEAD]
        if b"rdf:RDF" in head:
            continue
        match = _GUIDELINE.search(head)
        guideline = match[1].lower() if match is not None else b""
        if b"crossindustrydocument:invoice:1" in guideline:
            return "ZUGFeRD 1"
        for mark, kind in _KINDS:
            if mark in guideline:
                return kind
        if match is not None or b"CrossIndustryInvoice" in head:
            return "ZUGFeRD 2" if b"zugferd-invoice.xml" in metadata else "Factur-X"
    return None


_HEAD: Final = 16_384
_GUIDELINE: Final = re.compile(
    rb"(?:GuidelineSpecifiedDocumentContextParameter>\s*<(?:[\w.-]+:)?ID[^>]*|CustomizationID[^>]*)>\s*([^<]{1,200})<"
)
"""CII's element and UBL's."""
_KINDS: Final = ((b"xrechnung", "XRechnung"), (b"zugferd.de:2p0", "ZUGFeRD 2"), (b"factur-x", "Factur-X"))


def number_found(numbers: Sequence[str], document: Document, texts: Sequence[bytes], seconds: float) -> bool:
    """Say whether one of the order's numbers occurs in an order reference of the e-invoice, or in a page's text.

    Reading text from pages is slow: after `seconds` what was not found counts as not there.
    """
    patterns = [_pattern(number) for number in numbers if number.strip()]
    until = time.monotonic() + seconds
    for text in _all_texts(document, texts):
        if any(pattern.search(_plain(text)) for pattern in patterns):
            return True
        if time.monotonic() > until:
            break
    return False


def _all_texts(document: Document, texts: Sequence[bytes]) -> Iterator[str]:
    for text in texts:
        yield from _order_references(text)
    for page in document.pages:
        try:
            yield page.extract_text()
        except (MemoryError, RecursionError):
            raise
        except Exception:  # noqa: BLE001, S112 - text that pypdf cannot read is text in which nothing is found
            continue


def _plain(text: str) -> str:
    """Return a text with one kind of hyphen, of digits and of spaces, letters folded."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return re.sub("[\u2010-\u2015\u2212\u00ad]", "-", text)


def _pattern(number: str) -> re.Pattern[str]:
    characters = re.sub(r"\s", "", _plain(number))
    between = r"\s*" if len(characters) >= _SHARES_ITS_SPACES else ""
    return re.compile(rf"(?<![^\W_]){between.join(map(re.escape, characters))}(?![^\W_])")


_REFERENCES: Final = frozenset(
    {"IssuerAssignedID", "BuyerReference", "SalesOrderID", "Note", "Content", "OrderReference", "OrderLineReference"}
)
_REFERRING: Final = ("OrderReferencedDocument", "OrderReference", "OrderLineReference")
"""Elements with order numbers: UN/CEFACT CII D16B (ZUGFeRD 1: D13B) and UBL 2.1; notes are free text that has them."""


def _order_references(text: bytes) -> list[str]:
    """Return the order references of an e-invoice; none if it is no XML, or has a DOCTYPE (which none needs)."""
    found: list[str] = []
    path: list[str] = []

    def start(name: str, _attributes: Any) -> None:
        path.append(name.rpartition(":")[2])

    def end(_name: str) -> None:
        path.pop()

    def characters(content: str) -> None:
        if path[-1] in _REFERENCES or (len(path) > 1 and path[-2].endswith(_REFERRING)):
            found.append(content)

    def doctype(*_arguments: Any) -> None:
        raise expat.ExpatError

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = doctype
    with contextlib.suppress(expat.ExpatError, ValueError):  # what was read before an error counts
        parser.Parse(text, True)
    return found
