"""Whether an invoice names its order: in an order reference of its e-invoice, or in the text of a page."""

import contextlib
import re
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final
from xml.parsers import expat

import pypdf

_SHARES_ITS_SPACES: Final = 7
"""Characters from which on a number may be broken by spaces, as text read from a page is; a shorter one may not be:
`83 55` is two numbers."""


def number_found(
    numbers: Sequence[str], pages: Iterable[pypdf.PageObject], texts: Sequence[bytes], seconds: float
) -> bool:
    """Whether one of the order's numbers occurs in an order reference of the e-invoice, or in a page's text.

    Reading text from pages is slow: after `seconds` the search ends, and the numbers count as not there.
    """
    patterns = [_pattern(number) for number in numbers if number.strip()]
    until = time.monotonic() + seconds
    for text in _all_texts(pages, texts):
        if any(pattern.search(_plain(text)) for pattern in patterns):
            return True
        if time.monotonic() > until:
            break
    return False


def _all_texts(pages: Iterable[pypdf.PageObject], texts: Sequence[bytes]) -> Iterator[str]:
    for text in texts:
        yield from _order_references(text)
    for page in pages:
        try:
            yield page.extract_text()
        except (MemoryError, RecursionError):
            raise
        except Exception:  # noqa: BLE001, S112 - text that pypdf cannot read is text in which nothing is found
            continue


def _plain(text: str) -> str:
    """Return a text with one kind each of hyphens, digits and spaces, and its letters folded."""
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
"""Elements with order numbers: UN/CEFACT CII D16B (ZUGFeRD 1: D13B) and UBL 2.1; a note may have one."""


def _order_references(text: bytes) -> list[str]:
    """Return the order references of an e-invoice; none if it is no XML, or has a DOCTYPE (which none needs)."""
    references: list[str] = []
    path: list[str] = []

    def start(name: str, _attributes: Any) -> None:
        path.append(name.rpartition(":")[2])

    def end(_name: str) -> None:
        path.pop()

    def characters(content: str) -> None:
        if path[-1] in _REFERENCES or (len(path) > 1 and path[-2].endswith(_REFERRING)):
            references.append(content)

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
    return references
