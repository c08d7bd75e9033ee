"""What an invoice says about itself: version, producer, PDF/A, which e-invoice it carries.

Of the document's own words only the producer's name is passed on.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from invoicedrop.pdf.check.document import Reader
from invoicedrop.pdf.check.syntax import Name
from invoicedrop.pdf.check.values import Objects

_LONGEST_PRODUCER: Final = 100
_PDFA: Final = re.compile(rb"pdfaid:part\s*(?:=\s*[\"']|>)\s*([1-4])")
_PDFA_LEVEL: Final = re.compile(rb"pdfaid:conformance\s*(?:=\s*[\"']|>)\s*([ABUEFabuef])")


def producer(reader: Reader) -> str | None:
    """Return the name that the document gives for the program that wrote it."""
    try:
        information = reader.metadata
        value = information.producer if information is not None else None
    except Exception:  # noqa: BLE001 - a parser of foreign data raises anything, and this is only for the log
        return None
    if not isinstance(value, str):
        return None
    return "".join(character for character in value if character.isprintable())[:_LONGEST_PRODUCER].strip() or None


def version(objects: Objects, catalog: Mapping[str, Any], header: str) -> str:
    """Return the PDF version: the header's, or the catalog's where that is newer (ISO 32000-1, 7.2.2)."""
    named = objects.resolve(catalog.get("Version"))
    return named if isinstance(named, Name) and re.fullmatch(r"[0-9]\.[0-9]", named) and named > header else header


def pdfa(texts: Sequence[bytes]) -> str | None:
    """Return the PDF/A part and level that the metadata claims, such as "3B"."""
    for text in texts:
        part = _PDFA.search(text)
        if part is not None:
            level = _PDFA_LEVEL.search(text)
            return (part[1] + (level[1] if level is not None else b"")).decode("ascii").upper()
    return None


def einvoice(texts: Sequence[bytes]) -> str | None:
    """Return which e-invoice is embedded, by its own guideline (the metadata names one too, and is sometimes wrong).

    The guidelines' names: FeRD, ZUGFeRD 1.0 and 2.3, technical annexes; KoSIT, XRechnung 3.0, chapter 2. Where several
    kinds share the one of EN 16931, the file name in the metadata decides.
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
