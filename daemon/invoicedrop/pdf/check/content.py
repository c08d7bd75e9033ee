"""What pages are drawn by: whether it is whole, as far as that shows without drawing it."""

import re
from collections.abc import Iterator
from typing import Final

from invoicedrop.pdf.check.holes import SMALL_HOLE, runs_of_zeros

_GAP = rb"[\0\t\n\f\r ]"
_TOKEN: Final = re.compile(
    rb"(?P<string>\((?:[^\\()]++|\\[\s\S])*+\))"
    rb"|(?P<deep>\()"
    rb"|(?P<hex><[0-9A-Fa-f\0\t\n\f\r ]*+>)"
    rb"|(?P<comment>%[^\r\n]*+)"
    rb"|(?P<inline>(?<![^\0\t\n\f\r \]>)])BI(?=" + _GAP + rb"))"
    rb"|(?P<text>(?<![^\0\t\n\f\r \]>)])(?:BT|ET)(?![^\0\t\n\f\r \[</(%]))"
)
_PARENTHESIS: Final = re.compile(rb"\\[\s\S]|[()]")
_INLINE: Final = re.compile(rb"BI" + _GAP + rb"++([\s\S]{0,2000}?)" + _GAP + rb"ID[\t\n\r ]")
_ENTRY: Final = re.compile(rb"/(W|Width|H|Height|BPC|BitsPerComponent)" + _GAP + rb"*+([0-9]{1,6})(?![0-9.])")
_SPACE_OF: Final = re.compile(rb"/(?:CS|ColorSpace)" + _GAP + rb"*+/([A-Za-z0-9]++)")
_MASK: Final = re.compile(rb"/(?:IM|ImageMask)" + _GAP + rb"*+true")
_FILTERED: Final = re.compile(rb"/(?:F|Filter)(?![A-Za-z])")
_COLORS: Final = {b"G": 1, b"DeviceGray": 1, b"RGB": 3, b"DeviceRGB": 3, b"CMYK": 4, b"DeviceCMYK": 4, b"I": 1}
_NAMES: Final = {b"W": "W", b"Width": "W", b"H": "H", b"Height": "H"}
_END_OF_INLINE: Final = re.compile(_GAP + rb"{0,4}EI(?![^\0\t\n\f\r \[</(%])")
_SOME_END: Final = re.compile(_GAP + rb"EI(?![^\0\t\n\f\r \[</(%])")
_STRANGE: Final = re.compile(rb"[\x00-\x08\x0e-\x1f\x80-\xff]++")
_USUAL: Final = b"\0\t\n\v\f\r" + bytes(range(0x20, 0x7F))
_MOST_STRANGE: Final = 0.1
"""Share of bytes outside of strings and pictures that no operator is written with; some names and comments have."""


class Scan:
    """The content of a page in its parts: `pictures` and `strings` are where its inline pictures and strings lie.

    `cut_string`: it ends within a string. `in_text`: it ends within a block of text.
    """

    def __init__(self, content: bytes) -> None:
        self.pictures: list[tuple[int, int]] = []
        self.strings: list[tuple[int, int]] = []
        self.cut_string = False
        self.in_text = False
        at = 0
        while (match := _TOKEN.search(content, at)) is not None:
            at = match.end()
            if match.lastgroup == "string":
                self.strings.append(match.span())
            elif match.lastgroup == "deep":
                end = _string_end(content, match.start())
                self.strings.append((match.start(), end or len(content)))
                self.cut_string = end is None
                at = end or len(content)
            elif match.lastgroup == "inline":
                picture = _inline_picture(content, match.start())
                if picture is not None:
                    self.pictures.append(picture)
                    at = picture[1]
            elif match.lastgroup == "text":
                self.in_text = match[0] == b"BT"


def content_hole(content: bytes) -> int | None:
    """Return how long a hole of zeros in a page's content is; None if there is none.

    Only inline pictures may have so many: no text is shown by them, and between operators they are what is missing.
    Behind the last operator nothing is.
    """
    content = content.rstrip(b"\0") or content
    runs = list(runs_of_zeros(content, 0, len(content), SMALL_HOLE))
    pictures = Scan(content).pictures if runs else []
    for begin, stop in runs:
        if not any(start <= begin and stop <= end for start, end in pictures):
            return stop - begin
    return None


def content_defect(content: bytes, *, ended: bool, whole: bool) -> str | None:
    """Return what is wrong with a page's content that was coded without a checksum; None if it is plausible.

    `ended`: its coding had its end mark. `whole`: it is all of the page's content, and not a part of it, which may end
    anywhere.
    """
    if not whole and len(content.translate(None, _USUAL)) <= len(content) * _MOST_STRANGE:
        return None
    scan = Scan(content)
    if whole and (scan.cut_string or (scan.in_text and not ended)):
        return "ends too early"
    outside = bytearray()
    at = 0
    for start, end in sorted(scan.pictures + scan.strings):
        outside += content[at:start]
        at = max(at, end)
    outside += content[at:]
    strange = sum(len(run) for run in _STRANGE.findall(outside.replace(b"\0", b"")))
    return "is no page content" if strange > len(outside) * _MOST_STRANGE else None


def uses(content: bytes, names: set[str]) -> Iterator[str]:
    """Yield those of the names that a page's content uses, as a font or a picture."""
    for name in names:
        word = re.escape(name.encode("utf-8", "replace"))
        if re.search(rb"/" + word + rb"[\0\t\n\f\r ]++(?:[-+.0-9]++[\0\t\n\f\r ]++Tf|Do)(?![A-Za-z])", content):
            yield name


def _string_end(content: bytes, start: int) -> int | None:
    depth = 0
    for match in _PARENTHESIS.finditer(content, start):
        depth += {b"(": 1, b")": -1}.get(match[0], 0)
        if not depth:
            return match.end()
    return None


def _inline_picture(content: bytes, start: int) -> tuple[int, int] | None:
    """Return from where to where the inline picture that begins at `start` goes (ISO 32000-1, 8.9.7).

    An unfiltered one is exactly as long as its size says; a filtered one ends at the first `EI`.
    """
    head = _INLINE.match(content, start)
    if head is None:
        return None
    at = head.end()
    if _FILTERED.search(head[1]) is not None:
        end = _SOME_END.search(content, at)
        return (start, end.end()) if end is not None else None
    numbers = {_NAMES.get(entry[1], "BPC"): int(entry[2]) for entry in _ENTRY.finditer(head[1])}
    space = _SPACE_OF.search(head[1])
    bits = numbers.get("BPC", 8) * (_COLORS.get(space[1], 1) if space is not None else 1)
    if _MASK.search(head[1]) is not None:
        bits = 1
    length = (numbers.get("W", 0) * bits + 7) // 8 * numbers.get("H", 0)
    end = _END_OF_INLINE.match(content, at + length)
    return (start, end.end()) if end is not None else None
