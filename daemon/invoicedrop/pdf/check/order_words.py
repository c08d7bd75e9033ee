"""Whether a number in a text is an order's number: whether a word for that stands right before it, or above it.

A short number stands in nearly every invoice by chance: as an amount, a quantity, a part of a date. The words are those
of the languages in which the marketplaces sell. Text from pages has its words and numbers in one line, or as cells of a
table: then the number stands below its heading.
"""

import re
import unicodedata
from typing import Final

_REACH: Final = 160
"""Characters before a number among which its word is."""
_WORDS: Final = (
    # Dutch, English, Swedish, Danish and Norwegian; German; French
    r"(?:klant|inkoop|verkoop|kund|kunden|web|inkops)?order(?:en)?|(?:salgs|kobs|kunde)?ordren?|(?:klant)?bestelling(?:en)?"
    r"|opdracht|(?:kund|kunde)?(?:bestilling|bestallning)(?:en)?|(?:kunden|verkaufs|kauf)?(?:bestellung|auftrag)"
    r"|commandes?"
    # Spanish and Portuguese; Italian; Romanian
    r"|pedidos?|orden(?: de compra)?|encomenda|ordin[ei](?: d.acquisto)?|comand[ai]|comenzii"
    # Polish; Czech and Slovak; Hungarian; Slovenian; Croatian
    r"|zamowieni[ea]|objednavk[ay]|(?:meg)?rendeles(?:i)?|narocil[oa]|narudzb[ae]"
    # Finnish; Estonian; Latvian; Lithuanian; Turkish; Greek; Bulgarian
    r"|tilau(?:s|ksen)|tellimus(?:e)?|pasutijum[as]|uzsakym(?:as|o)|siparis"
    "|\u03c0\u03b1\u03c1\u03b1\u03b3\u03b3\u03b5\u03bb\u03b9\u03b1\u03c3?|\u03c0\u03bf\u03c1\u044a\u0447\u043a\u0430(?:\u0442\u0430)?"
)
"""Words for an order, without accents; each may stand right before the number."""
_STEMS: Final = (
    r"(?:kunden|verkaufs)?(?:bestell(?:ungs)?|auftrags)|(?:klant)?bestel(?:lings)?|bestallnings|bestillings|kundorder"
    r"|p\.?o|oc"
)
"""Beginnings that mean an order only with a word for its number."""
_NUMBER: Final = (
    r"nummern?|number|num|numero|nr|nro|no|n|n\.?o|n\u00b0|id|identifier|code|kode|kod|cislo|c|ref|referen[cz]ia?|reference|referentie"
    r"|referens|referencja|riferimento|szama?|azonosito|numer|numeris|numurs|numarul|numarasi|no[sz]u|broj|stevilka"
    "|\u03b1\u03c1\u03b9\u03b8\u03bc\u03bf\u03c3|\u043d\u043e\u043c\u0435\u0440"
)
_BEGIN: Final = r"(?<![^\W_])"
_END: Final = r"(?![^\W_])"
_OF: Final = r"(?:(?:de|di|do|da|del|della|dell|la|l|d|of|the|your|ihrer|votre)\W{1,2}){0,3}"
_LABEL: Final = (
    rf"{_BEGIN}(?:(?:{_WORDS}|{_STEMS})(?:[\W_]{{0,3}}(?:{_NUMBER}){_END}|[ .:]{{0,2}}#){{1,3}}"
    rf"|(?:{_NUMBER})\W{{1,2}}{_OF}(?:{_WORDS}){_END})"
)
"""A word for an order's number: "Bestell-Nr", "order id", "n\u00b0 de commande"."""
_BARE: Final = rf"{_BEGIN}(?:{_WORDS}){_END}"
_YOUR: Final = r"(?:(?:your|our|purchase|customer|ihre?|unsere?|votre|notre|uw|onze|su|vostro|din|deres)\W{1,2})?"
_BESIDE_LABEL: Final = re.compile(rf"{_LABEL}[^\w\n]{{0,6}}\Z")
_BESIDE_WORD: Final = re.compile(rf"{_BARE}[ :#()\[\]|*\"'=/-]{{0,6}}\Z")
_ABOVE: Final = re.compile(rf"(?:{_LABEL}[^\w\n]{{0,4}}|\n{_YOUR}{_BARE} ?:?)\n[^\w\n]{{0,3}}\Z")
_HEADING: Final = re.compile(rf"\n[^\w\n]{{0,3}}{_YOUR}{_LABEL}[^\d\n]{{0,60}}\n[^\w\n]{{0,3}}\Z")
"""The first heading of a table, over the first cell."""
_STACK: Final = re.compile(
    rf"\n[^\d\n]*(?:nummer|number|numero|numer|szam|datum|date|{_BEGIN}(?:{_NUMBER})){_END}[^\w\n]*"
    r"\n[^\d\n]*\n[^\w\n]{0,3}\Z"
)
"""Headings below each other, before the first of their values: nothing says that it belongs to the last of them."""
_LINE_END: Final = re.compile(r"[^\w\n]*(?:\n|$)")
_PART_BEFORE: Final = re.compile(r"[0-9][-.,:/'\u2019]\Z")
_PART_BEHIND: Final = re.compile(r"[.,:/'\u2019][0-9]|-[^\W_]")
"""What makes a number a part of an amount, a date, or another number."""
_COUNTS: Final = re.compile(
    r"\.? (?:de )?[^\W\d_]{3,10}\.?,? (?:de )?(?:19|20)[0-9]{2}(?![0-9-])"
    r"| ?(?:[%\u20ac$\u00a3\u00d7]|(?:x|eur|usd|gbp|pln|czk|sek|dkk|nok|huf|ron|chf|lei|kc|zl|ft|kr"
    r"|pcs|pieces?|items?|articles?|artikel(?:en)?|stuck|stuks?|stk|st|szt|ks|db|kg|days?|tagen?|jours)(?![^\W_]))"
)
"""What makes it a day, an amount or a quantity: "order 5 items"."""


def beside_order_word(text: str, start: int, end: int) -> bool:
    """Whether the number from `start` to `end` stands beside a word for an order, in a text with its letters folded."""
    if _PART_BEFORE.search(text, max(0, start - 2), start) or _PART_BEHIND.match(text, end):
        return False
    before = _without_accents(text[max(0, start - _REACH) : start])
    if start <= _REACH:
        before = "\n" + before
    behind = _without_accents(text[end : end + 30])
    if _BESIDE_LABEL.search(before):
        return True
    if _BESIDE_WORD.search(before):
        return _COUNTS.match(behind) is None
    if _STACK.search(before):
        return False
    return bool(_HEADING.search(before) or (_ABOVE.search(before) and _LINE_END.match(behind)))


def _without_accents(text: str) -> str:
    """Return a text without accents, with one space or line break for several."""
    if not text.isascii():
        letters = (c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
        text = "".join(letters).translate(_LETTERS)
    return re.sub(r"[^\S\n]+", " ", re.sub(r"\s*\n\s*", "\n", text))


_LETTERS: Final = str.maketrans("łøđı", "lodi")
