"""Which order a file name means: the grammar of names.

What can be read in one way only is read so; what cannot is refused, with what was read and where that stopped. A name
that says an order but may well mean another one (`2026_8355.pdf`) is read, with its `ambiguity`, which only a person
can settle.
"""

import re
import unicodedata
from datetime import date
from difflib import SequenceMatcher
from typing import Final, NamedTuple

from invoicedrop.errors import Rejected
from invoicedrop.invoice import OrderIdKind
from invoicedrop.languages.catalogue import phrase
from invoicedrop.printable import printable
from invoicedrop.reasons import Reason


class OrderName(NamedTuple):
    """What a file name says: the order (digits, or a marketplace's number) and the order items, if any.

    `ambiguity` is why the name may mean another order; None if there is no doubt.
    """

    order: str
    item_ids: tuple[int, ...] = ()
    ambiguity: str | None = None

    @property
    def items(self) -> str:
        """The order items in one form, whatever their order in the name: "11-12", or "" for the whole order."""
        return "-".join(map(str, sorted(set(self.item_ids))))

    @property
    def reference(self) -> str:
        """Order and items in one form: "8355", or "8355_items-11-12"."""
        return f"{self.order}_items-{self.items}" if self.item_ids else self.order


_MOST_DIGITS: Final = 18
_FEWEST_DIGITS: Final = 4
_COUNTER: Final = 2
"""Digits of the longest counter."""
_ALIKE: Final = 0.8
"""Four of five letters, in the measure of difflib."""
_PDF: Final = ".pdf"
_ORDER: Final = {
    "channable": re.compile(r"[0-9]+"),
    "marketplace": re.compile(r"[A-Za-z0-9][A-Za-z0-9.:#/+-]{0,99}"),
}
_COPY: Final = re.compile(r"\([0-9]+\)")
_ITEMS: Final = re.compile(r"_items(?P<ids>(?:-[0-9]{1,18})+)(?P<rest>[_ ].*)?", re.IGNORECASE | re.ASCII | re.DOTALL)
_WORD_BEHIND: Final = re.compile(r"[\W_]*[^\W\d_]+[\W_]*\d?")
_WORD_WITH_NUMBER: Final = re.compile(r"([a-z]+)[^a-z0-9]*[0-9]")
_NUMBER_BEHIND: Final = re.compile(r"[\W_]+(\d+)(?![^\W_])")
"""A number of its own behind what was read: not a part of a word, as in a time that we added ("20261122T101500Z")."""
_YEAR: Final = re.compile(r"(?:19|20)[0-9]{2}")
_DATES: Final = tuple(
    re.compile(form)
    for form in (
        r"(?P<year>(?:19|20)[0-9]{2})(?P<month>[0-9]{2})(?P<day>[0-9]{2})",
        r"(?P<day>[0-9]{2})(?P<month>[0-9]{2})(?P<year>(?:19|20)[0-9]{2})",
        r"(?P<year>(?:19|20)[0-9]{2})(?P<month>[0-9]{2})",
        r"(?P<year>[23][0-9])(?P<month>[0-9]{2})(?P<day>[0-9]{2})",
        r"(?P<day>[0-9]{2})(?P<month>[0-9]{2})(?P<year>[23][0-9])",
    )
)
"""The ways in which a day, or a month, is written in digits alone; two digits for the year mean 2020 to 2039."""
_MARKETPLACE_NUMBERS: Final = re.compile(
    r"[0-9]{3}-[0-9]{7}-[0-9]{7}"  # Amazon
    r"|[0-9]{4,}-[A-Z]"  # Mirakl
    r"|(?=(?:[^0-9]*[0-9]){3})(?=.{6})(?=.*[A-Z])[A-Z0-9]+(?:-[A-Z0-9]+)*"  # letters and digits: bol, Kaufland, shops
    r"|(?=(?:[^0-9]*[0-9]){10})[0-9]+(?:-[0-9]+){2,}",
    re.IGNORECASE,
)
_FIRST_WORD: Final = re.compile(r"[^_ ]*")
_EXAMPLES: Final = {
    "channable": phrase("8355.pdf, 8355_2.pdf or 8355_items-11-12.pdf (8355 is the Channable order id)"),
    "marketplace": phrase("302-1234567-1234567.pdf or 302-1234567-1234567_2.pdf (the marketplace's order number)"),
}
_LONGEST_SHOWN: Final = 30


def split_ending(name: str) -> tuple[str, str]:
    """Return a name without and with what marks it as a PDF: ".pdf", also twice, and with dots and spaces behind it.

    The second is empty for a file of another kind.
    """
    stem = name
    while (rest := stem.rstrip(" ."))[-len(_PDF) :].lower() == _PDF:
        stem = rest[: -len(_PDF)]
    return stem, name[len(stem) :]


def parse_name(name: str, kind: OrderIdKind) -> OrderName:
    """Read the order from a file name, by the grammar `<order>[_items-<id>...][_or space<anything>].pdf`.

    Raises:
        Rejected: the name does not say which order (or which order items) the invoice is for.

    """
    stem, ending = split_ending(name)
    if not ending:
        raise _without_order(stem, kind, phrase("the name does not end in .pdf"))
    order, rest = _read_order(stem, kind)
    ids = _read_items(order, rest)
    if kind == "channable":
        order = str(int(order))
    return OrderName(order, ids, None if ids else _ambiguity(order, rest))


def begins_with_order(text: str, kind: OrderIdKind) -> bool:
    """Whether a text without ending begins as an invoice's name does; quick, for thousands of foreign names.

    A word with a digit is no marketplace's number yet ("notes2"): it has at least four.
    """
    match = _ORDER[kind].match(text)
    if match is None:
        return False
    order, rest = match[0], text[match.end() :]
    digits = sum(character.isdigit() for character in order)
    return (digits <= _MOST_DIGITS if kind == "channable" else digits >= _FEWEST_DIGITS) and (
        not rest or rest[0] in "_ " or _COPY.fullmatch(rest) is not None
    )


def _read_order(stem: str, kind: OrderIdKind) -> tuple[str, str]:
    """Return the order, and what follows it."""
    match = _ORDER[kind].match(stem)
    if match is None:
        raise _without_order(stem, kind, phrase("{text} stands where the order number must stand", text=_quoted(stem)))
    order, rest = match[0], stem[match.end() :]
    if rest and rest[0] not in "_ " and not _COPY.fullmatch(rest):
        word = _WORD_BEHIND.match(rest)
        if word is not None and _looks_like_items(word[0]):
            raise _not_understood(order, rest)
        raise _without_order(
            stem,
            kind,
            phrase(
                '"{order}" was read, but then comes {text} where only "_" or a space may follow',
                order=order,
                text=_quoted(rest),
            ),
        )
    if not any(character.isdigit() for character in order):
        raise _without_order(
            stem, kind, phrase('"{order}" was read, which has no digit and so is no order number', order=order)
        )
    if kind == "channable" and len(order) > _MOST_DIGITS:
        raise _without_order(
            stem,
            kind,
            phrase(
                "{order} has {count} digits, and an order id has at most {most}",
                order=order,
                count=len(order),
                most=_MOST_DIGITS,
            ),
        )
    if kind == "channable" and int(order) == 0:
        raise _without_order(stem, kind, phrase("0 is no order id"))
    return order, rest


def _read_items(order: str, rest: str) -> tuple[int, ...]:
    """Return the order items; none for the whole order."""
    match = _ITEMS.fullmatch(rest)
    unread = rest if match is None else match["rest"] or ""
    # A marketplace's number may hold a hyphen, and so swallow what was meant as items.
    if _looks_like_items(unread) or _looks_like_items(order[1:]):
        # Sending to every item of the order is not what this name asks for.
        raise _not_understood(order, rest)
    return () if match is None else tuple(int(item) for item in match["ids"][1:].split("-"))


def _looks_like_items(text: str) -> bool:
    """Whether somebody may have meant order items by this: the word, however it is written, or nearly so."""
    plain = "".join(
        character
        for character in unicodedata.normalize("NFKD", text).casefold()
        if character.isprintable() and not unicodedata.combining(character)
    )
    if "item" in plain:
        return True
    # "itmes-11", "ltems-11": as near as one letter, and with a number behind it.
    words = (match[1] for match in _WORD_WITH_NUMBER.finditer(plain))
    return any(word[0] in "il" and SequenceMatcher(None, word, "items").ratio() >= _ALIKE for word in words)


def _ambiguity(order: str, rest: str) -> str | None:
    """Return why the name may mean another order: its first number may be a year, a date or a counter."""
    numbers: list[str] = []
    at = 0
    while match := _NUMBER_BEHIND.match(rest, at):
        numbers.append(match[1])
        at = match.end()
    if not order.isdigit():
        return None
    counter = len(order) <= _COUNTER
    meaning = phrase("a counter") if counter else _time_meant(order)
    if meaning is None or not any(
        len(number.lstrip("0")) > (len(order) if counter else _COUNTER) for number in numbers
    ):
        return None
    return phrase(
        "the name was read as order {order}; but {number} may be {meaning}, and the order be in {text}",
        order=order,
        number=order,
        meaning=meaning,
        text=_quoted(rest),
    )


def _time_meant(digits: str) -> str | None:
    """Return "a year" or "a date" if the digits can be one."""
    if _YEAR.fullmatch(digits):
        return phrase("a year")
    return phrase("a date") if any(_is_day(match) for form in _DATES if (match := form.fullmatch(digits))) else None


def _is_day(match: re.Match[str]) -> bool:
    parts = {"day": "1", **match.groupdict()}
    try:
        # Every century has a year like it.
        date(2000 + int(parts["year"]) % 100, int(parts["month"]), int(parts["day"]))
    except ValueError:
        return False
    return True


# What is said of a name that is refused


def _not_understood(order: str, rest: str) -> Rejected:
    return Rejected(
        Reason.NAME_NOT_UNDERSTOOD,
        phrase(
            'order "{order}" was read, but not {text}: order item ids stand right behind the order, joined by hyphens, '
            "for example 8355_items-11-12.pdf",
            order=order,
            text=_quoted(rest or order),
        ),
    )


def _without_order(stem: str, kind: OrderIdKind, what: str) -> Rejected:
    detail = phrase("{detail}; a right name looks like {examples}", detail=what, examples=_EXAMPLES[kind])
    word = _FIRST_WORD.match(stem)
    if kind == "channable" and word is not None and _MARKETPLACE_NUMBERS.fullmatch(word[0]):
        detail = phrase(
            "{detail}. {number} looks like a marketplace's order number: for such names, set "
            'order_id_kind = "marketplace"',
            detail=detail,
            number=word[0],
        )
    return Rejected(Reason.NAME_WITHOUT_ORDER, detail)


def _quoted(text: str) -> str:
    """Return the beginning of a text in quotes, and in words what a reader cannot see of its first character."""
    shown = _shown(text)
    if len(shown) > _LONGEST_SHOWN:
        shown = shown[: _LONGEST_SHOWN - 3] + "..."
    first = text[:1]
    if not first:
        return phrase("nothing")
    if not first.isprintable():
        return phrase('"{text}" (an invisible character)', text=shown)
    return phrase('"{text}" (no ordinary letter or digit)', text=shown) if _is_lookalike(first) else f'"{shown}"'


def _shown(text: str) -> str:
    """Return a text in which nothing hides: what is invisible, or only looks like ASCII, is escaped."""
    return "".join(
        character.encode("unicode_escape").decode() if _is_lookalike(character) else printable(character)
        for character in text
    )


def _is_lookalike(character: str) -> bool:
    """Whether a character looks like one of ASCII, or is a digit of another script."""
    if character.isascii():
        return False
    return character.isdigit() or unicodedata.normalize("NFKC", character).isascii()
