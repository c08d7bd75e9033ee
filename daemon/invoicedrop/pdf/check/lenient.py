"""Reading an object that has an error: what of it can be understood, and whether the error looks like damage.

Generators write words of their own where a number or a name belongs (`NaN`, `undefined`, `1,5`), and brackets too many:
viewers take the word for null and the bracket for nothing. Damage leaves bytes that no generator writes, texts that do
not end, and brackets that are not closed.
"""

import re
from typing import Any, Final

from invoicedrop.pdf.check.syntax import TOKEN, Data, Malformed, Name, name, scalar, skip_space, string_end

_NO_WORD: Final = re.compile(rb"[^!-~]")
_MOST_TOKENS: Final = 200_000


class _Reading:
    """What has been read of an object: `top` is what the innermost open bracket holds, `stack` what those around it do.

    `damage` is what looks like damage, in words that a sentence about the object can go on with.
    """

    def __init__(self) -> None:
        self.top: list[Any] = []
        self.stack: list[tuple[list[Any], bytes]] = []
        self.damage: str | None = None

    def take(self, kind: str | None, text: bytes) -> None:
        """Take a token."""
        if kind == "name":
            self.top.append(name(text))
        elif kind == "open":
            self.stack.append((self.top, text))
            self.top = []
        elif kind != "close":
            self._take_scalar(kind, text)
        elif self.stack:
            if (text == b"]") != (self.stack[-1][1] == b"["):
                self.damage = "has brackets that do not fit"
            self.close()

    def take_string(self, end: int | None) -> None:
        """Take a text with brackets inside, which ends at `end`, or does not."""
        self.top.append(None)
        if end is None:
            self.damage = "has a text that does not end"

    def _take_scalar(self, kind: str | None, text: bytes) -> None:
        try:
            self.top.append(scalar(kind, text))
        except Malformed:
            self.top.append(None)
            if _NO_WORD.search(text) is not None:
                self.damage = "has bytes where none can be"

    def close(self) -> None:
        """Close the innermost bracket."""
        inner = self.top
        self.top, opened = self.stack.pop()
        self.top.append(inner if opened == b"[" else _dictionary(inner))


def read_leniently(data: Data, start: int, end: int) -> tuple[Any, str | None]:
    """Return the value between two offsets as far as it can be understood, and what about it looks like damage."""
    reading = _Reading()
    at = start
    for _ in range(_MOST_TOKENS):
        match = TOKEN.match(data, at, end)
        if match is not None:
            at = match.end()
            reading.take(match.lastgroup, match[match.lastgroup or 0])
            continue
        at = skip_space(data, at)
        if at >= end:
            break
        if data[at : at + 1] == b"(":
            text_end = string_end(data, at, end)
            reading.take_string(text_end)
            at = text_end or end
        else:
            at += 1  # a bracket that closes nothing
    if reading.stack:
        reading.damage = reading.damage or "ends too early"
    while reading.stack:
        reading.close()
    return (reading.top[0] if reading.top else None), reading.damage


def _dictionary(items: list[Any]) -> dict[str, Any]:
    """Return a dictionary of what there is: values that have no key are left out."""
    entries: dict[str, Any] = {}
    at = 0
    while at + 1 < len(items):
        key = items[at]
        if type(key) is Name:
            entries[key] = items[at + 1]
            at += 1
        at += 1
    return entries
