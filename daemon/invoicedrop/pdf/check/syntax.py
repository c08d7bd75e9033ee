"""The words of PDF: tokens and values.

Written after ISO 32000-1, chapter 7.2 and 7.3, with the liberties that generators take and viewers grant.
Nothing here recurses, and the long runs are done by regular expressions with possessive quantifiers, which cannot
backtrack: the time is linear in the size of the input, whatever it is. (Groups that can fail half-way must not be
possessive: Python before 3.11.5 goes on at the wrong place then, CPython issue 106052.)
"""

import contextlib
import functools
import re
import sys
from typing import Any, Final, NamedTuple


class Name(str):
    """A PDF name without its slash, `#xx` resolved: equal to the plain string, but no string of the document."""

    __slots__ = ()


class Ref(NamedTuple):
    """An indirect reference: object number and generation."""

    number: int
    generation: int


Data = Any
"""Bytes, or a read-only map of them: what both `re` and slicing take."""

_GAP = rb"[\0\t\n\f\r ]"
_REGULAR = rb"[^\0\t\n\f\r ()<>\[\]{}/%]"
_NUMBER = rb"[+-]*+(?:[0-9]++\.?+[0-9]*+|\.[0-9]*+)(?:-[0-9]*+)?(?:[eE][+-]?[0-9]++)?"
_STRING = rb"\((?:[^\\()]++|\\[\s\S])*+\)"
"""A string without parentheses inside; others are left to `string_end`."""

_SPACE: Final = re.compile(rb"(?:" + _GAP + rb"++|%%EOF|%[^\r\n]*+)*+")
"""What may stand between tokens: white space and comments."""

TOKEN: Final = re.compile(
    rb"(?:" + _GAP + rb"++|%[^\r\n]*+)*+(?:"
    rb"(?P<name>/" + _REGULAR + rb"*+)"
    rb"|(?P<ref>[0-9]++" + _GAP + rb"++[0-9]++" + _GAP + rb"++R(?!" + _REGULAR + rb"))"
    rb"|(?P<number>" + _NUMBER + rb")"
    rb"|(?P<open><<|\[)"
    rb"|(?P<close>>>|\])"
    rb"|(?P<hex><[^<>]*+>)"
    rb"|(?P<string>" + _STRING + rb")"
    rb"|(?P<word>" + _REGULAR + rb"++)"
    rb")"
)

_BODY: Final = re.compile(
    rb"(?:" + _GAP + rb"++"
    rb"|/" + _REGULAR + rb"*+"
    rb"|" + _NUMBER + rb"|R(?!" + _REGULAR + rb")"
    rb"|<<|>>|[\[\]]"
    rb"|<[0-9A-Fa-f\0\t\n\f\r ]*+>"
    rb"|" + _STRING + rb"|true|false|null"
    rb"|%[^\r\n]*+"
    rb")*"
)
"""An object's tokens, as far as they are valid: what stands behind them should be `endobj` or `stream`."""

_NUMBERS: Final = re.compile(rb"([0-9.+\-\t\n\f\r ]{1,100000}+)\]")
"""An array of nothing but numbers: fonts have thousands, the widths of their characters."""
_ESCAPE: Final = re.compile(rb"\\(?:([0-7]{1,3})|(\r\n|[\s\S]))")
_ESCAPED: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_HEX_IN_NAME: Final = re.compile(rb"#([0-9A-Fa-f]{2})")
_DIGITS: Final = re.compile(rb"[0-9]++")
_NOT_HEX: Final = re.compile(rb"[^0-9A-Fa-f]++")
_MOST_TOKENS: Final = 200_000


class Malformed(ValueError):  # noqa: N818 - it describes the text
    """What stands here is no PDF value."""


def parse(data: Data, position: int = 0, end: int = sys.maxsize) -> tuple[Any, int]:
    """Return the value that begins at `position`, and where it ends: before `end`, or it is none.

    A value is a dict, list, Name, Ref, bytes (for strings), int, float, bool or None.

    Raises:
        Malformed: it does not end, is not balanced, or is no value at all.

    """
    # A stack of what is open; the outermost list takes the one value asked for.
    top: list[Any] = []
    stack: list[tuple[list[Any], bytes]] = []
    match_token = TOKEN.match
    for _ in range(_MOST_TOKENS):
        match = match_token(data, position, end)
        if match is None:
            text, position = _string_token(data, position, end)
            top.append(string(text))
        else:
            position = match.end()
            kind = match.lastgroup
            text = match[kind or 0]
            if kind == "name":
                top.append(name(text))
            elif kind == "open":
                numbers = _NUMBERS.match(data, position, end) if text == b"[" else None
                if numbers is not None and (values := _numbers(numbers[1])) is not None:
                    top.append(values)
                    position = numbers.end()
                else:
                    stack.append((top, text))
                    top = []
            elif kind == "close":
                if not stack or (text == b"]") != (stack[-1][1] == b"["):
                    raise Malformed("unbalanced")
                inner = top
                top, opened = stack.pop()
                top.append(inner if opened == b"[" else _dictionary(inner))
            else:
                top.append(scalar(kind, text))
        if not stack:
            return top[0], position
    raise Malformed("too many tokens")


def _numbers(text: bytes) -> list[int] | list[float] | None:
    """Return the numbers in a text; None if they are not written plainly."""
    words = text.split()
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return list(map(kind, words))
    return None


def _string_token(data: Data, position: int, limit: int) -> tuple[bytes, int]:
    """Return a string token that has parentheses inside, and where it ends."""
    start = skip_space(data, position)
    end = string_end(data, start, limit) if data[start : start + 1] == b"(" else None
    if end is None:
        raise Malformed("no token")
    return data[start:end], end


def _dictionary(items: list[Any]) -> dict[str, Any]:
    if len(items) % 2:
        raise Malformed("a key without a value")
    keys = items[::2]
    for key in keys:
        if type(key) is not Name:
            raise Malformed("a key that is no name")
    return dict(zip(keys, items[1::2], strict=True))


def scalar(kind: str | None, text: bytes) -> Any:
    """Return the value of a token that stands for itself, `kind` being its group in TOKEN; Malformed if it has none."""
    if kind == "ref":
        number, generation = _DIGITS.findall(text)
        return Ref(_integer(number), _integer(generation))
    if kind == "number":
        try:
            return _integer(text) if text.isdigit() else float(text) if b"." in text else int(text)
        except ValueError:
            return 0
    if kind == "string":
        return string(text)
    if kind == "hex":
        digits = _NOT_HEX.sub(b"", text)
        return bytes.fromhex((digits + b"0" * (len(digits) % 2)).decode("ascii"))
    words = {b"true": True, b"false": False, b"null": None}
    if text not in words:
        raise Malformed("unknown word")
    return words[text]


def _integer(digits: bytes) -> int:
    # No number of a PDF has more digits; Python would refuse (and take long for) thousands of them.
    return int(digits[:20])


@functools.lru_cache(maxsize=4096)
def name(text: bytes) -> Name:
    """Return the name that a token (with its slash) spells."""
    text = text[1:]
    if b"#" in text:
        text = _HEX_IN_NAME.sub(lambda match: bytes.fromhex(match[1].decode("ascii")), text)
    return Name(text.decode("utf-8", "replace"))


def string(text: bytes) -> bytes:
    """Return what a literal string token (with its parentheses) spells."""
    text = text[1:-1]
    return _ESCAPE.sub(_unescape, text) if b"\\" in text else text


def _unescape(match: re.Match[bytes]) -> bytes:
    if match[1] is not None:
        return bytes([int(match[1], 8) & 0xFF])
    if match[2] in (b"\n", b"\r", b"\r\n"):
        return b""
    return _ESCAPED.get(match[2], match[2])


_PARENTHESIS: Final = re.compile(rb"\\[\s\S]|[()]")


def string_end(data: Data, start: int, limit: int = sys.maxsize) -> int | None:
    """Return where the literal string at `start` ends, however deep its parentheses are; None if not before `limit`."""
    depth = 0
    for match in _PARENTHESIS.finditer(data, start, limit):
        if match[0] == b"(":
            depth += 1
        elif match[0] == b")":
            depth -= 1
            if depth == 0:
                return match.end()
    return None


def tokens_end(data: Data, start: int, limit: int = sys.maxsize) -> int:
    """Return how far, from `start` on and before `limit`, there are only valid tokens."""
    at = start
    while True:
        match = _BODY.match(data, at, limit)
        at = match.end() if match is not None else at
        if data[at : at + 1] != b"(":
            return at
        end = string_end(data, at, limit)
        if end is None:
            return at
        at = end


def skip_space(data: Data, at: int) -> int:
    """Return where, from `at` on, white space and comments end."""
    match = _SPACE.match(data, at)
    return match.end() if match is not None else at
