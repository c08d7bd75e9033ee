"""Whether the embedded e-invoice is a credit note: by its own type code, or by a total of less than nothing.

Only elements at their very places count, by namespace: lines, taxes and referenced documents have type codes too. What
was read before an XML text breaks off is as certain as the rest of it; what was not read is not guessed.
"""

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from xml.parsers import expat

import pypdf

from invoicedrop.pdf.check.xml_reading import decoded, read_xml

_CREDIT_NOTES: Final = frozenset(
    ("81", "83", "261", "262", "296", "308", "381", "396", "420", "458", "502", "503", "532")
)
"""The document types of UNTDID 1001 that the EN 16931 code lists (CEF, v15 and later, sheet "1001") call a credit note.

389, a self-billed invoice, which Germans call a "Gutschrift" as well, is none of them."""
_NAMES: Final = frozenset({"factur-x.xml", "zugferd-invoice.xml", "xrechnung.xml"})
"""What the e-invoice among several attachments is called: FeRD, ZUGFeRD 1.0 to 2.3, in small letters."""
_RSM: Final = "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:"
_RSM_OF_ZUGFERD_1: Final = "urn:ferd:CrossIndustryDocument:invoice:"
_RAM: Final = "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:"
_UBL: Final = "urn:oasis:names:specification:ubl:schema:xsd:"
_TYPE, _TOTAL, _PAYABLE, _NOT_OF_THE_TOTAL = "type", "total", "payable", "not of the total"
_SUMMATION, _ON_THE_WAY = "summation", "on the way"

_Places = dict[tuple[str, ...], str]


class _Kind(NamedTuple):
    """A syntax of e-invoices: the namespaces of the root and of all else, and what stands where below the root."""

    root: str
    other: str
    places: _Places
    is_credit_note: bool = False


def _places(type_code: Sequence[str], summation: Sequence[str], amounts: Sequence[str]) -> _Places:
    """Return what stands where; `amounts` are the total, what is left to pay, and what makes these two differ."""
    whats = zip(amounts, (_TOTAL, _PAYABLE, _NOT_OF_THE_TOTAL, _NOT_OF_THE_TOTAL), strict=True)
    places = {tuple(way[:depth]): _ON_THE_WAY for way in (type_code, summation) for depth in range(1, len(way))}
    places |= {tuple(type_code): _TYPE, tuple(summation): _SUMMATION}
    return places | {(*summation, amount): what for amount, what in whats}


def _cii(document: str, *summation: str) -> _Places:
    amounts = ("GrandTotalAmount", "DuePayableAmount", "TotalPrepaidAmount", "RoundingAmount")
    return _places((document, "TypeCode"), summation, amounts)


def _ubl(type_code: str) -> _Places:
    amounts = ("TaxInclusiveAmount", "PayableAmount", "PrepaidAmount", "PayableRoundingAmount")
    return _places((type_code,), ("LegalMonetaryTotal",), amounts)


_KINDS: Final = {
    "CrossIndustryInvoice": _Kind(
        _RSM,
        _RAM,
        _cii(
            "ExchangedDocument",
            "SupplyChainTradeTransaction",
            "ApplicableHeaderTradeSettlement",
            "SpecifiedTradeSettlementHeaderMonetarySummation",
        ),
    ),
    "CrossIndustryDocument": _Kind(
        _RSM_OF_ZUGFERD_1,
        _RAM,
        _cii(
            "HeaderExchangedDocument",
            "SpecifiedSupplyChainTradeTransaction",
            "ApplicableSupplyChainTradeSettlement",
            "SpecifiedTradeSettlementMonetarySummation",
        ),
    ),
    "Invoice": _Kind(f"{_UBL}Invoice-2", f"{_UBL}Common", _ubl("InvoiceTypeCode")),
    "CreditNote": _Kind(f"{_UBL}CreditNote-2", f"{_UBL}Common", _ubl("CreditNoteTypeCode"), is_credit_note=True),
}
"""By the root element's name: UN/CEFACT CII (D16B, D22B), the D13B of ZUGFeRD 1, UBL 2.1."""
_MAY_BE_CODE: Final = re.compile(rf"TypeCode[^<]*(?:>\s*(?:{'|'.join(_CREDIT_NOTES)})\s*<|<[!?]|&)")
_MAY_BE_NEGATIVE: Final = re.compile(r"Amount[^<]*(?:[-\u2212]|<[!?]|&)")
"""Also where a comment, CDATA or a reference may hide the digits."""
_CODE: Final = re.compile(r"[0-9]{1,3}")
_AMOUNT: Final = re.compile(r"([-\u2212]?)([0-9.,' \u00a0\u2019\u202f]{1,30}?)([-\u2212]?)")
"""A decimal number, or what programs write in its place: the sign is clear whatever parts its thousands."""


def credit_note(texts: Sequence[bytes], reader: pypdf.PdfReader) -> str | None:
    """Return what in the e-invoice among `texts` says that it is a credit note, in words; None if nothing does.

    Of several e-invoices that disagree, the one with the standard's file name counts, or none.
    """
    readable = [(text, decoded(text)) for text in texts]
    if not any(_may_be_one(characters) for _, characters in readable):
        return None
    verdicts = {}
    for text, characters in readable:
        e_invoice = _EInvoice.read(characters)
        if e_invoice is not None:
            verdicts[text] = e_invoice.credit_note()
    if None in verdicts.values() and any(verdicts.values()):
        named = _named_attachments(reader)
        verdicts = {text: verdict for text, verdict in verdicts.items() if text in named}
    words = list(verdicts.values())
    return words[0] if words and None not in words else None


def _may_be_one(text: str) -> bool:
    """Whether a text is to be parsed: most have no such code and no minus, which is seen at once."""
    return "CreditNote" in text or _MAY_BE_CODE.search(text) is not None or _MAY_BE_NEGATIVE.search(text) is not None


def _named_attachments(reader: pypdf.PdfReader) -> set[bytes]:
    try:
        return {file.content for file in reader.attachment_list if file.name.lower() in _NAMES}
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - a parser of foreign data raises anything; then no name is known
        return set()


class _EInvoice:
    """What an e-invoice has at the places that matter."""

    def __init__(self) -> None:
        self._kind: _Kind | None = None
        self._values: dict[str, list[str]] = {_TYPE: [], _TOTAL: [], _PAYABLE: [], _NOT_OF_THE_TOTAL: []}
        self._path: tuple[str, ...] = ()
        self._below = 0
        self._pieces: list[str] = []
        self._parser = expat.ParserCreate(namespace_separator=" ")

    @classmethod
    def read(cls, text: str) -> "_EInvoice | None":
        """Return what was read; None if it is no e-invoice."""
        e_invoice = cls()
        parser = e_invoice._parser
        parser.StartElementHandler = e_invoice._start
        parser.EndElementHandler = e_invoice._end
        read_xml(text, parser)
        return None if e_invoice._kind is None else e_invoice

    def credit_note(self) -> str | None:
        """Return what says that it is a credit note, in words."""
        codes = set(self._values[_TYPE])
        code = codes.pop() if len(codes) == 1 else ""
        if code in _CREDIT_NOTES:
            return f"type code {code}"
        if self._kind is not None and self._kind.is_credit_note:
            return "it is a UBL CreditNote"
        total = self._negative_total()
        if total is None:
            return None
        return f"type code {code} with a total of {total}" if _CODE.fullmatch(code) else f"a total of {total}"

    def _negative_total(self) -> str | None:
        """Return the total if it is certain and less than nothing.

        What is left to pay is less than nothing too where more was paid in advance, so it counts only in place of a
        total, if nothing was paid or rounded. Totals in several currencies have one sign.
        """
        totals = self._values[_TOTAL]
        if not totals and all(map(_is_nothing, self._values[_NOT_OF_THE_TOTAL])):
            totals = self._values[_PAYABLE]
        negative = [_negative(total) for total in totals]
        return negative[0] if negative and None not in negative else None

    def _start(self, name: str, _attributes: Any) -> None:
        if self._below:
            self._below += 1
            return
        namespace, _, local = name.rpartition(" ")
        if self._kind is None:
            kind = _KINDS.get(local)
            if kind is None or not namespace.startswith(kind.root):
                raise expat.ExpatError
            self._kind = kind
            return
        path = (*self._path, local)
        place = self._kind.places.get(path)
        self._pieces = []
        self._parser.CharacterDataHandler = self._pieces.append if place in self._values else None
        if place is not None and namespace.startswith((self._kind.root, self._kind.other)):
            self._path = path
        else:
            self._below = 1

    def _end(self, _name: str) -> None:
        if self._below:
            self._below -= 1
        elif self._kind is not None and self._path:
            place = self._kind.places[self._path]
            if place == _SUMMATION:
                raise expat.ExpatError  # nothing that matters comes behind it, but much that takes time
            if place in self._values:
                # With an element inside it is no code and no amount, and nothing was kept of it.
                self._values[place].append("".join(self._pieces).strip())
                self._parser.CharacterDataHandler = None
            self._path = self._path[:-1]


def _negative(amount: str) -> str | None:
    """Return the amount, with its minus in front, if it is less than nothing."""
    match = _AMOUNT.fullmatch(amount)
    if match is None or bool(match[1]) == bool(match[3]) or _is_nothing(match[2]):
        return None
    return "-" + match[2].strip()


def _is_nothing(amount: str) -> bool:
    return re.search("[1-9]", amount) is None
