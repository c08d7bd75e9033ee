"""The file as a whole: header, end, and every object where the tables say.

This is the part that a viewer skips, and why viewers and lenient libraries accept damaged files: they look only at
what they need for a page.

What is forgiven, because generators do it and viewers do not care: junk before the header and a little behind the end,
a `startxref` or a table that points beside its objects (as long as each is found), incremental updates, linearised
and hybrid files, and what `objects` forgives.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from invoicedrop.pdf.check.holes import HOLE, Holes, find_holes
from invoicedrop.pdf.check.objects import NEXT, STARTXREF, Piece, Walk
from invoicedrop.pdf.check.syntax import Data, Malformed, Ref
from invoicedrop.pdf.check.verdict import Refused
from invoicedrop.pdf.check.xref import Section, chain, integer_at, merged, section_at

_HEADER_WITHIN: Final = 1024
"""Bytes from the start in which Acrobat looks for the header, and so does everybody else."""
_HEADER_LENGTH: Final = 8
_JUNK_BEHIND: Final = 1024
"""Bytes that may stand behind the end-of-file marker: Acrobat looks for it in the last 1024."""
_ZEROS_BEHIND: Final = 4096
"""Zero bytes that may stand there: padding to whole blocks, as some host systems do."""
_LOOKED_AT: Final = 65_536
_VERSION: Final = re.compile(rb"%PDF-([0-9]\.[0-9])")
_LIKE_PDF: Final = re.compile(rb"[0-9]+(?:[\0\t\n\f\r ]|\Z)")
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_SLOPPY: Final = 2
"""Different distances by which a careless generator misses its objects."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What lies where in a file.

    `version` is the header's; `end` is the offset of the last end-of-file marker. `pieces` are all objects in file
    order, `current` those in force, by number (older revisions lie in the file too). `places` and `trailer` are what
    the tables say; offsets there are too small by `shift`. `short_entries`: a table has entries of 19 bytes, not 20.
    """

    data: Data
    holes: Holes
    version: str
    end: int
    pieces: list[Piece]
    current: dict[int, Piece]
    places: dict[int, int | None]
    trailer: dict[str, Any]
    shift: int
    short_entries: bool

    @property
    def encrypted(self) -> bool:
        """Whether the file is encrypted."""
        return "Encrypt" in self.trailer

    @property
    def lost_carriage_returns(self) -> bool:
        """Whether it looks as if every CR LF had become an LF; careless writers make such files, too."""
        return self.short_entries and self.data.find(b"\r\n") < 0


class _Tables(NamedTuple):
    """What the cross-reference tables say, newer ones overriding older; empty if they cannot be followed."""

    places: dict[int, int | None]
    trailer: dict[str, Any]
    shift: int


def read_layout(data: Data) -> Layout:
    """Read where everything lies in a file.

    Raises:
        Refused: it is no PDF, half-copied, or damaged.

    """
    holes = find_holes(data)
    header, version = _header(data)
    end = _end(data)
    sections: dict[int, Section] = {}
    tables = _linked_tables(data, header, end, holes, sections)
    length = partial(_length, data, tables)
    pieces = Walk(data, header=header, end=end, holes=holes, sections=sections, length=length).run()
    recovered = "Root" not in tables.trailer
    if recovered:
        tables = _Tables(*_lying_tables(data, end, holes, sections, pieces), tables.shift)
    current, moves = _objects_in_force(tables, pieces)
    if recovered:
        last = {piece.number: piece for piece in pieces}
        current |= {number: piece for number, piece in last.items() if tables.places.get(number) is None}
        _judge_moves(data, moves, len(current))
    return Layout(
        data=data,
        holes=holes,
        version=version,
        end=end,
        pieces=pieces,
        current=current,
        places=tables.places,
        trailer=tables.trailer,
        shift=tables.shift,
        short_entries=any(section.short for section in sections.values()),
    )


def _header(data: Data) -> tuple[int, str]:
    """Return where the header is, and the version that it names."""
    at = data.find(b"%PDF-", 0, _HEADER_WITHIN)
    if at < 0:
        if b"%PDF-".startswith(data[:5]):
            raise Refused("incomplete", "it has only just begun")
        if len(data) > HOLE and not data[_HEADER_LENGTH:HOLE].strip(b"\0"):
            raise Refused("incomplete", "there are zeros where the header should be")
        raise Refused("not_a_pdf", "there is no PDF header")
    match = _VERSION.match(data, at)
    return at, match[1].decode("ascii") if match is not None else "?"


def _end(data: Data) -> int:
    """Return where the last end-of-file marker is."""
    at: int = data.rfind(b"%%EOF")
    if at < 0:
        raise Refused("incomplete", "the end-of-file marker is missing")
    behind = data[at + 5 : at + 5 + _LOOKED_AT].strip(b"\0\t\n\f\r ")
    if NEXT.search(behind) is not None or _LIKE_PDF.match(behind) is not None:
        raise Refused("incomplete", "the end of its last update is missing")
    rest = len(data) - at
    if rest > _ZEROS_BEHIND or (behind and rest > _JUNK_BEHIND):
        raise Refused("incomplete", "too much stands behind the end-of-file marker")
    return at


def _linked_tables(data: Data, header: int, end: int, holes: Holes, sections: dict[int, Section]) -> _Tables:
    """Follow the tables from `startxref`; every section that is read is added to `sections`."""
    at = data.rfind(b"startxref", 0, end)
    match = STARTXREF.match(data, at) if at >= 0 else None
    if match is None:
        raise holes.refusal("there is no startxref before the end", max(0, end - _JUNK_BEHIND), end)
    for shift in (0, header) if header else (0,):
        try:
            linked = chain(int(match[1]), partial(_section, data, shift, sections))
        except Malformed:
            continue
        return _Tables(*merged(linked), shift)
    return _Tables({}, {}, 0)


def _section(data: Data, shift: int, sections: dict[int, Section], offset: int) -> Section:
    at = offset + shift
    if not 0 <= at < len(data):
        raise Malformed("outside the file")
    section = section_at(data, at)
    sections[section.start] = section
    return section


def _length(data: Data, tables: _Tables, reference: Ref, stream: int) -> int | None:
    """Return the integer that a stream's length refers to: where the table says, else behind the stream."""
    place = tables.places.get(reference.number)
    length = integer_at(data, place + tables.shift, reference) if place is not None and place > 0 else None
    if length is None:
        words = b"%d %d obj" % reference
        at = data.find(b"\n" + words, stream) + 1
        length = integer_at(data, at or data.find(words), reference)
    return length


def _lying_tables(
    data: Data, end: int, holes: Holes, sections: dict[int, Section], pieces: Iterable[Piece]
) -> tuple[dict[int, int | None], dict[str, Any]]:
    """Take the tables as they lie in the file, the last one as the newest; that is what viewers do."""
    lying = dict(sections)
    for piece in pieces:
        if piece.dictionary is not None and piece.dictionary.get("Type") == "XRef":
            try:
                lying[piece.start] = section_at(data, piece.start)
            except Malformed:
                detail = "a cross-reference stream is damaged"
                raise holes.refusal(detail, piece.start, piece.stream_end) from None
    places, trailer = merged([lying[start] for start in sorted(lying, reverse=True)])
    if "Root" not in trailer:
        raise holes.refusal("the trailer is missing", 0, end)
    return places, trailer


def _objects_in_force(tables: _Tables, pieces: Iterable[Piece]) -> tuple[dict[int, Piece], list[int]]:
    """Find each object where the tables say or, where they are wrong, the last one in the file.

    Also returned is by how much each of those lies beside its place.
    """
    last = {piece.number: piece for piece in pieces}
    by_start = {piece.start: piece for piece in pieces}
    current: dict[int, Piece] = {}
    moves: list[int] = []
    for number, place in tables.places.items():
        if place is None or place < 0:
            continue
        piece = by_start.get(place + tables.shift)
        if piece is None or piece.number != number:
            piece = last.get(number)
            if piece is None:
                continue  # an entry for nothing: whatever refers to it gets null
            moves.append(piece.start - place - tables.shift)
        current[number] = piece
    return current, moves


def _judge_moves(data: Data, moves: list[int], objects: int) -> None:
    """Refuse a file whose objects lie where they do because something was taken out of it or put into it.

    All objects beside their places by the same distance are a generator's carelessness, or a header that lost or
    got some junk.
    """
    if not moves:
        return
    distances = set(moves)
    same = len(distances) == 1 and len(moves) == objects
    if not same and max(distances) < 0:
        raise Refused("damaged", "bytes are missing from its middle, or its line ends have been converted")
    if len(distances) > _SLOPPY and min(distances) > 0 and _BARE_LF.search(data) is None:
        raise Refused("damaged", "its line ends have been converted, as by a transfer in text mode")
