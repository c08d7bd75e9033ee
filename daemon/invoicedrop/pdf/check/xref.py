"""Cross-reference tables and streams (ISO 32000-1, 7.5.4 and 7.5.8), and the chain of them from `startxref` back."""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from invoicedrop.pdf.check.decoding import decode
from invoicedrop.pdf.check.filters import filters_of
from invoicedrop.pdf.check.syntax import Data, Malformed, Ref, parse, skip_space

_MOST_ENTRIES: Final = 1_000_000
_MOST_SECTIONS: Final = 1_000
_LARGEST_STREAM: Final = 16_777_216
"""Bytes of a decompressed cross-reference stream: a million entries of 16 bytes."""

OBJECT: Final = re.compile(rb"([0-9]{1,10})[\0\t\n\f\r ]++([0-9]{1,5})[\0\t\n\f\r ]++obj(?![A-Za-z])")
_STREAM: Final = re.compile(rb"stream(?: *+\r?\n|\r)?")
_SUBSECTION: Final = re.compile(
    rb"[\0\t\n\f\r ]*+([0-9]{1,10})[\0\t\n\f\r ]++([0-9]{1,10})(?![0-9])[\0\t\n\f\r ]*+([nf](?![A-Za-z]))?"
)
_FIRST_ENTRY: Final = re.compile(rb"[\0\t\n\f\r ]*+0{1,10}[\0\t\n\f\r ]++65535[\0\t\n\f\r ]*+f")
"""The head of the list of free objects (ISO 32000-1, 7.5.4)."""
_ENTRY: Final = re.compile(rb"[\0\t\n\f\r ]*+([0-9]{1,20})[\0\t\n\f\r ]++([0-9]{1,10})[\0\t\n\f\r ]*+([nf])")
_REGULAR_ENTRIES: Final = re.compile(rb"(?:[0-9]{10} [0-9]{5} [nf](?: \r| \n|\r\n|\n\r))*+")
_SHORT_ENTRY: Final = re.compile(rb"[0-9]{10} [0-9]{5} [nf]\n(?:[0-9]{10} |trailer)")
_ENTRY_SIZE: Final = 20
_TRAILER: Final = re.compile(rb"[\0\t\n\f\r ]*+trailer")


class Section(NamedTuple):
    """One table or stream: where each object is, by its number, and the trailer dictionary.

    A place is the offset of an object that lies in the file, None if its number is free, and the number of its object
    stream, negative, if it lies in one. `short`: the table's entries have 19 bytes, not 20. `miscounted`: it has more
    or fewer entries than it says.
    """

    start: int
    end: int
    places: dict[int, int | None]
    trailer: dict[str, Any]
    short: bool = False
    miscounted: bool = False


def section_at(data: Data, at: int) -> Section:
    """Read the cross-reference table or stream at `at`.

    Raises:
        Malformed: there is none, or it cannot be read.

    """
    at = skip_space(data, at)
    if data[at : at + 4] == b"xref":
        return _table(data, at)
    match = OBJECT.match(data, at)
    if match is None:
        raise Malformed("no cross-reference here")
    return _stream(data, at, match.end())


def _table(data: Data, start: int) -> Section:
    at = start + 4
    places: dict[int, int | None] = {}
    short = miscounted = False
    while (match := _SUBSECTION.match(data, at)) is not None and match[3] is None:
        at = match.end()
        first, count = int(match[1]), int(match[2])
        if len(places) + count > _MOST_ENTRIES:
            raise Malformed("too many entries")
        if first == 1 and not places and _FIRST_ENTRY.match(data, at) is not None:
            first = 0  # the first object of a file has the number 0
        entries, regular_end = _regular_entries(data, at, count)
        if regular_end is None:
            short = short or _SHORT_ENTRY.match(data, at) is not None
        else:
            at = regular_end
        while (entry := _ENTRY.match(data, at)) is not None and len(places) + len(entries) < _MOST_ENTRIES:
            entries.append(int(entry[1]) if entry[3] == b"n" else None)
            at = entry.end()
        miscounted = miscounted or len(entries) != count
        places |= zip(range(first, first + len(entries)), entries, strict=True)
    match = _TRAILER.match(data, at)
    if match is None:
        raise Malformed("no trailer behind the table")
    trailer, end = parse(data, match.end())
    if not isinstance(trailer, dict):
        raise Malformed("the trailer is no dictionary")
    return Section(start, end, places, trailer, short, miscounted)


def _regular_entries(data: Data, at: int, count: int) -> tuple[list[int | None], int | None]:
    """Return the entries of a subsection, and where it ends, if all of them have the 20 bytes that they should have."""
    end = at + count * _ENTRY_SIZE
    regular = _REGULAR_ENTRIES.fullmatch(data, at, min(len(data), end))
    if regular is None or regular.end() != end:
        return [], None
    return [int(data[at : at + 10]) if data[at + 17] == ord("n") else None for at in range(at, end, _ENTRY_SIZE)], end


def _stream(data: Data, start: int, body: int) -> Section:
    trailer, at = parse(data, body)
    at = skip_space(data, at)
    if not isinstance(trailer, dict) or trailer.get("Type") != "XRef" or data[at : at + 6] != b"stream":
        raise Malformed("no cross-reference stream")
    at = stream_start(data, at)
    return Section(start, at, dict(_stream_entries(data, at, trailer)), trailer)


def stream_start(data: Data, keyword: int) -> int:
    """Return where a stream's data begins, its `stream` standing at `keyword`: behind one line end."""
    match = _STREAM.match(data, keyword)
    return match.end() if match is not None else keyword


def _stream_entries(data: Data, at: int, trailer: dict[str, Any]) -> Iterator[tuple[int, int | None]]:
    widths = trailer.get("W")
    if not (isinstance(widths, list) and len(widths) == 3 and all(isinstance(w, int) and 0 <= w <= 8 for w in widths)):  # noqa: PLR2004
        raise Malformed("wrong widths")
    rows = _rows(data, at, trailer, sum(widths))
    index = trailer.get("Index") or [0, trailer.get("Size")]
    if not isinstance(index, list) or not all(isinstance(number, int) for number in index):
        raise Malformed("wrong index")
    kind_end, value_end = widths[0], widths[0] + widths[1]
    for first, count in zip(index[::2], index[1::2], strict=False):
        for number, row in zip(range(first, first + count), rows, strict=False):
            kind = int.from_bytes(row[:kind_end], "big") if kind_end else 1
            value = int.from_bytes(row[kind_end:value_end], "big")
            yield number, None if kind == 0 else -value if kind == 2 else value  # noqa: PLR2004 - 2: in an object stream


def _rows(data: Data, at: int, trailer: dict[str, Any], width: int) -> Iterator[bytes]:
    """Yield the entries of a cross-reference stream."""
    if width == 0:
        raise Malformed("wrong widths")
    end = max(at, data.find(b"endstream", at))
    length = trailer.get("Length")
    if not filters_of(trailer) and isinstance(length, int):
        end = min(end, at + max(0, length))
    content = decode(trailer, data[at:end], _LARGEST_STREAM).data
    for begin in range(0, len(content) - width + 1, width):
        yield content[begin : begin + width]


def chain(start: int, size: int, read: Callable[[int], Section]) -> list[Section]:
    """Return the sections from `start` back through /XRefStm and /Prev, the newest first; loops are cut.

    Some writers put 0, or a place outside the file of `size` bytes, where there is no earlier section.

    Raises:
        Malformed: one of them cannot be read, or there are too many.

    """
    sections: list[Section] = []
    seen: set[int] = set()
    waiting = [start]
    while waiting:
        at = waiting.pop()
        if at in seen:
            continue
        seen.add(at)
        if len(sections) >= _MOST_SECTIONS:
            raise Malformed("too many cross-reference sections")
        section = read(at)
        sections.append(section)
        # The hybrid file's stream comes before what is older; the stack gives it first.
        waiting += [
            offset
            for key in ("Prev", "XRefStm")
            if isinstance(offset := section.trailer.get(key), int)
            and not isinstance(offset, bool)
            and 0 < offset < size
        ]
    return sections


def merged(sections: list[Section]) -> tuple[dict[int, int | None], dict[str, Any]]:
    """Return where each object is, and the trailer, of sections given newest first."""
    places: dict[int, int | None] = {}
    trailer: dict[str, Any] = {}
    for section in reversed(sections):
        places |= section.places
        trailer |= section.trailer
    return places, trailer


def integer_at(data: Data, at: int, reference: Ref) -> int | None:
    """Return the integer object `reference` if it lies at `at`."""
    match = _INTEGER.match(data, at) if 0 <= at < len(data) else None
    return int(match[2]) if match is not None and int(match[1]) == reference.number else None


_INTEGER: Final = re.compile(
    rb"[\0\t\n\f\r ]*+([0-9]{1,10})[\0\t\n\f\r ]++[0-9]{1,5}[\0\t\n\f\r ]++obj"
    rb"[\0\t\n\f\r ]*+([0-9]{1,12})[\0\t\n\f\r ]*+endobj"
)
