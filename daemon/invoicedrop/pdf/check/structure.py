"""The file as a whole: header, end, and every object where the tables say.

This is the part that a viewer skips, and why viewers and lenient libraries accept damaged files: they look only at
what they need for a page.

Where header, `startxref` and every entry of the tables are exact, no byte was lost or added on the way: what is odd in
such a file is its generator's own, and `objects` forgives it outside of what a page needs (`needs`). In other files
less is forgiven: junk before the header, a `startxref` or a table that points beside its objects (as long as each is
found). What stands behind the end does not matter, unless it is the beginning of an update.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from invoicedrop.pdf.check.holes import HOLE, Holes, find_holes
from invoicedrop.pdf.check.moves import bytes_were_added, judge_moves
from invoicedrop.pdf.check.objects import STARTXREF, Piece, Walk
from invoicedrop.pdf.check.syntax import Data, Malformed, Ref, skip_space
from invoicedrop.pdf.check.verdict import Refused
from invoicedrop.pdf.check.xref import OBJECT, Section, chain, integer_at, merged, section_at

_HEADER_WITHIN: Final = 1024
"""Bytes from the start in which Acrobat looks for the header, and so does everybody else."""
_HEADER_LENGTH: Final = 8
_END_WITHIN: Final = 1024
"""Bytes behind `startxref` in which the end-of-file marker stands."""
_VERSION: Final = re.compile(rb"%PDF-([0-9]\.[0-9])")
_MARKER: Final = b"%%EOF"
_UPDATE: Final = re.compile(
    rb"(?<![0-9])[0-9]{1,10}[\0\t\n\f\r ]++[0-9]{1,5}[\0\t\n\f\r ]++obj(?![A-Za-z])"
    rb"|xref[\0\t\n\f\r ]++[0-9]|trailer[\0\t\n\f\r ]*+<<|startxref[\0\t\n\f\r ]*+[0-9]"
    rb"|endstream[\0\t\n\f\r ]++endobj|endobj[\0\t\n\f\r ]*+(?:[0-9]|\Z)"
    rb"|(?:\A|(?<=[\r\n\0]))[0-9]{1,10} [0-9]{1,5}(?: o?b?)?\Z"
)
"""What an update is made of (or the rest of a file that was written over), its first line cut off included."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What lies where in a file.

    `version` is the header's; `end` is the offset of the last end-of-file marker. `pieces` are all objects in file
    order, `current` those in force, by number (older revisions lie in the file too). `places` and `trailer` are what
    the tables say; offsets there are too small by `shift`. `sections` are the tables. `exact`: see the module;
    `bytes_added`: see `moves`.
    """

    data: Data
    holes: Holes
    version: str
    end: int
    pieces: list[Piece]
    current: dict[int, Piece]
    places: dict[int, int | None]
    trailer: dict[str, Any]
    sections: list[Section]
    shift: int
    exact: bool
    bytes_added: bool

    @property
    def encrypted(self) -> bool:
        """Whether the file is encrypted."""
        return "Encrypt" in self.trailer

    def piece_at(self, at: int) -> Piece | None:
        """Return the last object that begins at or before an offset."""
        index = bisect_right(self.pieces, at, key=_start) - 1
        return self.pieces[index] if index >= 0 else None


def _start(piece: Piece) -> int:
    return piece.start


class _Tables(NamedTuple):
    """What the cross-reference tables say, newer ones overriding older; empty if they cannot be followed."""

    places: dict[int, int | None]
    trailer: dict[str, Any]
    shift: int
    boundaries: list[int] | None
    """Where objects and tables begin, if every entry is exact."""


def read_layout(data: Data) -> Layout:
    """Read where everything lies in a file.

    Raises:
        Refused: it is no PDF, half-copied, or damaged.

    """
    holes = find_holes(data)
    header, version = _header(data)
    startxref = _startxref(data)
    sections: dict[int, Section] = {}
    tables = _linked_tables(data, header, startxref, sections)
    exact = tables.boundaries is not None
    end = _end(data, startxref, exact=exact)
    length = partial(_length, data, tables)
    walk = Walk(
        data, header=header, end=end, holes=holes, sections=sections, length=length, boundaries=tables.boundaries
    )
    pieces = walk.run()
    if exact and any(_is_written_over(data, tables, match) for match in walk.ends):
        raise Refused("damaged", "it was written over a longer file, and the rest of that is still there")
    if not exact and any(section.miscounted for section in sections.values()):
        raise holes.refusal("a cross-reference table has fewer or more entries than it says", 0, len(data))
    recovered = "Root" not in tables.trailer
    if recovered:
        tables = _Tables(*_lying_tables(data, end, holes, sections, pieces), tables.shift, None)
    current, moves = _objects_in_force(tables, pieces)
    if recovered:
        last = {piece.number: piece for piece in pieces}
        current |= {number: piece for number, piece in last.items() if tables.places.get(number) is None}
        complete = all(number in current for number, place in tables.places.items() if place is not None and place > 0)
        judge_moves(data, moves, sorted(current.values(), key=_start), complete=complete)
    table = max((section.start for section in sections.values()), default=0) - int(startxref[1]) - tables.shift
    return Layout(
        data=data,
        holes=holes,
        version=version,
        end=end,
        pieces=pieces,
        current=current,
        places=tables.places,
        trailer=tables.trailer,
        sections=list(sections.values()),
        shift=tables.shift,
        exact=exact,
        bytes_added=not exact and bytes_were_added(data, moves, sorted(current.values(), key=_start), table),
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


def _startxref(data: Data) -> re.Match[bytes]:
    """Return the last `startxref` with its number: that is where reading begins.

    Raises:
        Refused: there is none.

    """
    at = last = data.rfind(b"startxref")
    while at >= 0:
        match = STARTXREF.match(data, at)
        if match is not None:
            return match
        at = data.rfind(b"startxref", 0, at)
    if data.find(_MARKER) < 0 or last >= 0:
        raise Refused("incomplete", "the end-of-file marker is missing")
    raise Refused("damaged", "there is no startxref before the end")


def _end(data: Data, startxref: re.Match[bytes], *, exact: bool) -> int:
    """Return where the last end-of-file marker is. What stands there instead may be anything, if the file is exact."""
    end: int = data.find(_MARKER, startxref.end(), startxref.end() + _END_WITHIN)
    if end < 0:
        behind = data[startxref.end() : startxref.end() + _END_WITHIN].strip(b"\0\t\n\f\r ")
        if not exact or _MARKER.startswith(behind):
            raise Refused("incomplete", "the end-of-file marker is missing")
        end = startxref.end() - len(_MARKER)
    if _UPDATE.search(data, end + len(_MARKER)) is not None:
        raise Refused("incomplete", "the end of its last update is missing")
    return end


def _linked_tables(data: Data, header: int, startxref: re.Match[bytes], sections: dict[int, Section]) -> _Tables:
    """Follow the tables from `startxref`; every section that is read is added to `sections`."""
    for shift in (0, header) if header else (0,):
        try:
            linked = chain(int(startxref[1]), len(data), partial(_section, data, shift, sections))
        except Malformed:
            continue
        places, trailer = merged(linked)
        boundaries = None
        if "Root" in trailer and all(_is_there(data, number, place, shift) for number, place in places.items()):
            own = {place + shift for section in linked for place in section.places.values() if place and place > 0}
            boundaries = sorted(own | {section.start for section in linked})
        return _Tables(places, trailer, shift, boundaries)
    return _Tables({}, {}, 0, None)


def _is_there(data: Data, number: int, place: int | None, shift: int) -> bool:
    """Whether an object lies where its entry says; one at 0 is free, however it is marked."""
    if place is None or place <= 0:
        return True
    match = OBJECT.match(data, place + shift) if place < len(data) else None
    return match is not None and int(match[1]) == number


def _is_written_over(data: Data, tables: _Tables, end: re.Match[bytes]) -> bool:
    """Whether a whole file ends at this `startxref` that lies over a longer one, of which the rest is there.

    It is no earlier revision of what is read: no table leads back to its own, and behind it is the rest of an object.
    """
    table, boundaries = int(end[1]) + tables.shift, tables.boundaries or []
    if table in boundaries or table > end.start():
        return False
    try:
        section_at(data, table)
    except Malformed:
        return False
    behind = skip_space(data, end.end())
    return behind not in boundaries and OBJECT.match(data, behind) is None


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


def _objects_in_force(tables: _Tables, pieces: Iterable[Piece]) -> tuple[dict[int, Piece], dict[int, int]]:
    """Find each object where the tables say or, where they are wrong, the last one in the file.

    Also returned is by how much each of those lies beside its place, by where it is.
    """
    last = {piece.number: piece for piece in pieces}
    by_start = {piece.start: piece for piece in pieces}
    current: dict[int, Piece] = {}
    moves: dict[int, int] = {}
    for number, place in tables.places.items():
        if place is None or place < 0 or (place == 0 and tables.boundaries is not None):
            continue
        piece = by_start.get(place + tables.shift)
        if piece is None or piece.number != number:
            piece = last.get(number)
            if piece is None:
                continue  # an entry for nothing: whatever refers to it gets null
            moves[piece.start] = piece.start - place - tables.shift
        current[number] = piece
    return current, moves
