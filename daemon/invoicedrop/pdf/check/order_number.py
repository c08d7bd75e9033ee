"""Whether an invoice names its order: in an order reference of its e-invoice, or in the text of a page."""

import re
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple
from xml.parsers import expat

import pypdf

from invoicedrop.pdf.check.order_words import beside_order_word
from invoicedrop.pdf.check.xml_reading import decoded, read_xml

_SHARES_ITS_SPACES: Final = 7
"""Characters from which on a number may be broken by spaces, as text read from a page is; a shorter one may not be:
`83 55` is two numbers."""
_LONG_ENOUGH: Final = 6
"""Letters and digits from which on a number stands in no invoice by chance."""


class _Passage(NamedTuple):
    """A text to search; `is_reference`: a field of the e-invoice for the order's number alone."""

    text: str
    is_reference: bool = False


def number_found(
    numbers: Sequence[str], pages: Iterable[pypdf.PageObject], texts: Sequence[bytes], seconds: float
) -> bool:
    """Whether one of the order's numbers occurs in an order reference of the e-invoice, or in a page's text.

    A short number counts only as the one number of a reference field, or beside a word for it (`order_words`).
    Reading text from pages is slow: after `seconds` the search ends, and the numbers count as not there.
    """
    wanted = [_Number(number) for number in numbers if number.strip()]
    until = time.monotonic() + seconds
    for text, is_reference in _passages(pages, texts):
        plain = _plain(text)
        if any(number.occurs(plain, is_reference=is_reference) for number in wanted):
            return True
        if time.monotonic() > until:
            break
    return False


def _passages(pages: Iterable[pypdf.PageObject], texts: Sequence[bytes]) -> Iterator[_Passage]:
    for text in texts:
        yield from _order_references(text)
    for page in pages:
        try:
            yield _Passage(page.extract_text())
        except (MemoryError, RecursionError):
            raise
        except Exception:  # noqa: BLE001, S112 - text that pypdf cannot read is text in which nothing is found
            continue


def _plain(text: str) -> str:
    """Return a text with one kind each of hyphens, digits and spaces, and its letters folded."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return re.sub("[\u2010-\u2015\u2212\u00ad]", "-", text)


class _Number:
    """A number that is searched for in plain texts."""

    def __init__(self, number: str) -> None:
        characters = re.sub(r"\s", "", _plain(number))
        between = r"\s*" if len(characters) >= _SHARES_ITS_SPACES else ""
        self._pattern = re.compile(rf"(?<![^\W_]){between.join(map(re.escape, characters))}(?![^\W_])")
        self._is_short = sum(map(str.isalnum, characters)) < _LONG_ENOUGH

    def occurs(self, text: str, *, is_reference: bool) -> bool:
        """Whether the number occurs in a text, and not by chance."""
        if not self._is_short:
            return self._pattern.search(text) is not None
        return any(
            beside_order_word(text, *match.span()) or (is_reference and _is_the_only_number(text, *match.span()))
            for match in self._pattern.finditer(text)
        )


def _is_the_only_number(text: str, start: int, end: int) -> bool:
    """Whether what stands before and behind a number has no digit, and is no part of it ("PO-99" is not 99)."""
    around = text[:start] + " " + text[end:]
    return not any(map(str.isdigit, around)) and _JOINED.search(text[:start]) is None and not text[end:].startswith("-")


_JOINED: Final = re.compile(r"[^\W_][-./]\Z")
_REFERENCES: Final = frozenset(
    {"IssuerAssignedID", "BuyerReference", "SalesOrderID", "Note", "Content", "OrderReference", "OrderLineReference"}
)
_REFERRING: Final = ("OrderReferencedDocument", "OrderReference", "OrderLineReference")
"""Elements with order numbers: UN/CEFACT CII D16B (ZUGFeRD 1: D13B) and UBL 2.1; a note may have one."""
_IDENTIFIERS: Final = frozenset({"IssuerAssignedID", "ID", "SalesOrderID"})
"""Which of their elements have nothing else: a line's number or a date of the order is no number of the order."""


def _order_references(text: bytes) -> list[_Passage]:
    """Return the order references of an e-invoice; none if it is no XML, or has a DOCTYPE (which none needs)."""
    references: list[_Passage] = []
    path: list[str] = []

    def start(name: str, _attributes: Any) -> None:
        path.append(name.rpartition(":")[2])

    def end(_name: str) -> None:
        path.pop()

    def characters(content: str) -> None:
        name, parent = path[-1], path[-2] if len(path) > 1 else ""
        refers = parent.endswith(_REFERRING)
        if refers or name in _REFERENCES:
            is_reference = name == "BuyerReference" or (refers and name in _IDENTIFIERS)
            references.append(_Passage(content, is_reference))

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    read_xml(decoded(text), parser)
    return references
