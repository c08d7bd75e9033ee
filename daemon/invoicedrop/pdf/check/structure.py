"""The file as a whole: header, end, and every object where the tables say.

This is the part that a viewer skips, and why viewers and lenient libraries accept damaged files: they look only at
what they need for a page. Runs in the child process.

What is forgiven, because generators do it and viewers do not care: junk before the header and a little after the end,
a `startxref` or a table that points beside its objects (as long as each is found), incremental updates, linearised
and hybrid files, and what `pdf_walk` tells.
"""

import re
from typing import Any, Final

from invoicedrop.pdf.check.holes import HOLE, Holes
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


class Layout:
    """What lies where in a file.

    `pieces` are all its objects in file order, `current` those in force, by number (older revisions lie in the file
    too); `places` and `trailer` are what the tables say, offsets there being `shift` too small; `misplaced` counts the
    objects that are not where the tables say.

    Raises:
        Refused: the file is no PDF, half-copied, or damaged.

    """

    def __init__(self, data: Data) -> None:
        self.data = data
        self.size = len(data)
        self.holes = Holes(data)
        self.header, self.version = _header(data)
        self.end = _end(data)
        self.shift = 0
        self.places: dict[int, int | None] = {}
        self.trailer: dict[str, Any] = {}
        self._sections: dict[int, Section] = {}
        self.recovered = not self._read_tables()
        walk = Walk(
            data,
            header=self.header,
            end=self.end,
            holes=self.holes,
            sections=self._sections,
            length=self._length,
        )
        self.pieces = walk.pieces
        if self.recovered:
            self._recover()
        self.current: dict[int, Piece] = {}
        self.misplaced = self._compare()

    @property
    def lost_carriage_returns(self) -> bool:
        """Whether it looks as if every CR LF had become an LF; careless writers make such files, too."""
        return any(section.short for section in self._sections.values()) and self.data.find(b"\r\n") < 0

    def _read_tables(self) -> bool:
        """Follow the tables from `startxref`; say whether that went well."""
        at = self.data.rfind(b"startxref", 0, self.end)
        match = STARTXREF.match(self.data, at) if at >= 0 else None
        if match is None:
            raise self.holes.verdict("there is no startxref before the end", max(0, self.end - _JUNK_BEHIND), self.end)
        for shift in (0, self.header) if self.header else (0,):
            self.shift = shift
            try:
                sections = chain(int(match[1]), self._section)
            except Malformed:
                continue
            self.places, self.trailer = merged(sections)
            return "Root" in self.trailer
        self.shift = 0
        return False

    def _section(self, offset: int) -> Section:
        at = offset + self.shift
        if not 0 <= at < self.size:
            raise Malformed("outside the file")
        section = section_at(self.data, at)
        self._sections[section.start] = section
        return section

    def _length(self, reference: Ref, stream: int) -> int | None:
        """Return the integer that a stream's length refers to: where the table says, else behind the stream."""
        place = self.places.get(reference.number)
        found = integer_at(self.data, place + self.shift, reference) if place is not None and place > 0 else None
        if found is None:
            words = b"%d %d obj" % reference
            at = self.data.find(b"\n" + words, stream) + 1
            found = integer_at(self.data, at or self.data.find(words), reference)
        return found

    def _recover(self) -> None:
        """Take the tables as they lie in the file, the last one as the newest; that is what viewers do."""
        found = dict(self._sections)
        for piece in self.pieces:
            if piece.dictionary is not None and piece.dictionary.get("Type") == "XRef":
                try:
                    found[piece.start] = section_at(self.data, piece.start)
                except Malformed:
                    detail = "a cross-reference stream is damaged"
                    raise self.holes.verdict(detail, piece.start, piece.stream_end) from None
        self.places, self.trailer = merged([found[start] for start in sorted(found, reverse=True)])
        if "Root" not in self.trailer:
            raise self.holes.verdict("the trailer is missing", 0, self.end)

    def _compare(self) -> int:
        """Find each object in force, where the tables say or, where they are wrong, the last one in the file."""
        last = {piece.number: piece for piece in self.pieces}
        by_start = {piece.start: piece for piece in self.pieces}
        moved: list[int] = []
        for number, place in self.places.items():
            if place is None or place < 0:
                continue
            found = by_start.get(place + self.shift)
            if found is None or found.number != number:
                found = last.get(number)
                if found is None:
                    continue  # an entry for nothing: whatever refers to it gets null
                moved.append(found.start - place - self.shift)
            self.current[number] = found
        if self.recovered:
            self.current |= {number: piece for number, piece in last.items() if self.places.get(number) is None}
            self._judge_moves(moved)
        return len(moved)

    def _judge_moves(self, moved: list[int]) -> None:
        """Refuse a file whose objects lie where they do because something was taken out of it or put into it.

        All objects beside their places by the same distance are a generator's carelessness, or a header that lost or
        got some junk.
        """
        if not moved:
            return
        distances = set(moved)
        same = len(distances) == 1 and len(moved) == len(self.current)
        if not same and max(distances) < 0:
            raise Refused("damaged", "bytes are missing from its middle, or its line ends have been converted")
        if len(distances) > _SLOPPY and min(distances) > 0 and _BARE_LF.search(self.data) is None:
            raise Refused("damaged", "its line ends have been converted, as by a transfer in text mode")


def _header(data: Data) -> tuple[int, str]:
    """Return where the header is, and the version that it tells."""
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
