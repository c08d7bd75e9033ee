"""Whether an XML text that is not compressed (metadata, an e-invoice) has bytes that no writer makes.

Writers that know nothing of UTF-8 put letters and signs of an 8-bit set into it, whatever it declares: in values,
letters in words, signs between them. A changed byte may stand anywhere: in a tag, inside a word, among blanks.
"""

import re
from typing import Final

_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_HIGH: Final = re.compile(rb"[\x80-\xff]++")
_APOSTROPHES: Final = b"\x92\xb4\xad\xb7"
"""Signs within words: apostrophes, the soft hyphen, the middle dot."""
_FIRST_LETTER: Final = 0xC0
_TIMES: Final = 0xD7
_MOST: Final = 2_000
"""Stretches of 8-bit letters that are looked at: a text with more of them is written in them."""


def unprintable_text(text: bytes) -> bool:
    """Whether an XML text has bytes that no writer makes."""
    if text.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0<" in text[:16] or b"<\0" in text[:16]:
        return False  # UTF-16
    if _CONTROL.search(text) is not None:
        return True
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        stretches = [match for match in _HIGH.finditer(text) if not _is_utf8(match[0])]
        return len(stretches) <= _MOST and any(_is_strange(text, match) for match in stretches)
    return False


def _is_utf8(stretch: bytes) -> bool:
    try:
        stretch.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_strange(text: bytes, stretch: re.Match[bytes]) -> bool:
    """Whether a stretch of 8-bit letters stands where none can be."""
    start, end = stretch.span()
    opened, closed = text.rfind(b"<", 0, start), text.rfind(b">", 0, start)
    if opened > closed:
        tag = text[opened:start]
        if tag.count(b'"') % 2 == 0 and tag.count(b"'") % 2 == 0:
            return True
    else:
        following = text.find(b"<", end)
        if -1 < text.find(b">", end) < following:
            return True  # its "<" is gone
        if text[closed + 1 : start].isspace() and text[end:following].isspace():
            return True  # among the blanks between two tags
    before, behind = text[start - 1 : start], text[end : end + 1]
    if len(stretch[0]) > 1:
        return False
    byte = stretch[0][0]
    if byte < _FIRST_LETTER:
        return before.isalpha() and behind.isalpha() and byte not in _APOSTROPHES
    return byte != _TIMES and before.isdigit() and behind.isdigit()
