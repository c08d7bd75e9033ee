"""The file as a whole: every byte of it is header, object, table or space, and every object where the table says.

This is the part that a viewer skips, and why viewers and lenient libraries accept damaged files: they look only at
what they need for a page. Here the file is walked from its first byte to its last, in the order in which it lies.
Runs in the child process.

What is forgiven, because generators do it and viewers do not care: junk before the header and a little after the
end, a `startxref` or a table that points beside its objects (as long as each is found), missing `endobj`, a wrong
`/Length` where the stream itself tells where it ends, white space anywhere, incremental updates, linearised and
hybrid files.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from invoicedrop.pdf_streams import CHECKSUM, FLATE, HOLE, OK, Budget, filters_of, inflate
from invoicedrop.pdf_syntax import BODY, SPACE, Data, Malformed, Ref, Refused, parse, string_end
from invoicedrop.pdf_xref import OBJECT, STREAM, Section, chain, integer_at, merged, section_at

_HEADER_WITHIN: Final = 1024
"""Bytes from the start in which Acrobat looks for the header, and so does everybody else."""
_JUNK_BEHIND: Final = 1024
_MOST_OBJECTS: Final = 500_000
_NEXT: Final = re.compile(
    rb"(?<![0-9])[0-9]{1,10}[\0\t\n\f\r ]++[0-9]{1,5}[\0\t\n\f\r ]++obj(?![A-Za-z])"
    rb"|(?<![a-z])xref(?![a-z])|trailer(?![a-z])|startxref(?![a-z])"
)
"""Where the walk goes on behind something that it does not know."""
_STARTXREF: Final = re.compile(rb"startxref[\0\t\n\f\r ]*+([0-9]{1,15})")
_ENDSTREAM: Final = re.compile(rb"[\0\t\n\f\r ]*+endstream")
_ENDOBJ: Final = re.compile(rb"(?:[\0\t\n\f\r ]++|%[^\r\n]*+)*+endobj")
_SWALLOWED: Final = re.compile(rb"[0-9]{1,10}[\0\t\n\f\r ]++[0-9]{1,5}[\0\t\n\f\r ]++\Z")
_STRAY: Final = re.compile(rb"(?:[\0\t\n\f\r ]++|endobj|endstream|%[^\r\n]*+)*+")
"""Words left over between objects by careless editors."""
_HEADER_LINE: Final = 64
"""Bytes in which the binary mark behind the header is let pass although it does not begin with a percent sign."""
_KEYWORD: Final = re.compile(rb"xref|trailer|startxref|\Z")
_STRINGS: Final = re.compile(rb"\((?:[^\\()]++|\\[\s\S])*+\)|%[^\r\n]*+")
_VERSION: Final = re.compile(rb"%PDF-([0-9]\.[0-9])")
_ZEROS: Final = re.compile(rb"\0*+")
_LIKE_PDF: Final = re.compile(rb"[0-9]+(?:[\0\t\n\f\r ]|\Z)")


_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_SLOPPY: Final = 2
"""Different distances by which a careless generator misses its objects."""


class Piece(NamedTuple):
    """An indirect object as it lies in the file. `dictionary` is None, and `stream` 0, if it has no stream."""

    number: int
    generation: int
    start: int
    body: int
    body_end: int
    dictionary: dict[str, Any] | None
    stream: int
    stream_end: int


class Layout:
    """What the walk found: `pieces` in file order, `places` and `trailer` as the tables have them.

    `current` are the pieces in force, by number (older revisions lie in the file too); `misplaced` counts those that are
    not where the tables say; `zeros` are the long runs of zero bytes.

    Raises:
        Refused: the file is no PDF, half-copied, or damaged.

    """

    def __init__(self, data: Data) -> None:
        self.data = data
        self.size = len(data)
        self.zeros = list(_runs_of_zeros(data))
        self.header, self.version = _header(data)
        self.end = _end(data)
        self.pieces: list[Piece] = []
        self._sections: dict[int, Section] = {}
        self.shift = 0
        self.places: dict[int, int | None] = {}
        self.trailer: dict[str, Any] = {}
        self.recovered = not self._read_tables()
        self._walk()
        if self.recovered:
            self._recover()
        self._compare()

    # --- tables

    def _read_tables(self) -> bool:
        """Follow the tables from `startxref`; say whether that went well."""
        at = self.data.rfind(b"startxref", 0, self.end)
        match = _STARTXREF.match(self.data, at) if at >= 0 else None
        if match is None:
            raise self._damaged("there is no startxref before the end", 0, 0)
        start = int(match[1])
        for shift in (0, self.header) if self.header else (0,):
            self.shift = shift
            try:
                sections = chain(start, self._section)
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

    def _recover(self) -> None:
        """Take the tables as they lie in the file, the last one as the newest; that is what viewers do."""
        sections = []
        for start in sorted(self._sections, reverse=True):
            sections.append(self._sections[start])
        for piece in reversed(self.pieces):
            if piece.dictionary is not None and piece.dictionary.get("Type") == "XRef":
                try:
                    sections.append(section_at(self.data, piece.start))
                except Malformed:
                    raise self._damaged("a cross-reference stream is damaged", piece.start, piece.stream_end) from None
        self.places, self.trailer = merged(sections)
        if "Root" not in self.trailer:
            raise self._damaged("the trailer is missing", 0, 0)

    def _compare(self) -> None:
        """Find each object's current state, where the tables say or, where they are wrong, the last one in the file."""
        last: dict[int, Piece] = {}
        by_start: dict[int, Piece] = {}
        for piece in self.pieces:
            last[piece.number] = by_start[piece.start] = piece
        self.current: dict[int, Piece] = {}
        moved: list[int] = []
        for number, place in self.places.items():
            if place is None or place < 0:
                continue
            found = by_start.get(place + self.shift)
            if found is None or found.number != number:
                found = last.get(number)
                if found is not None:
                    moved.append(found.start - place - self.shift)
            if found is not None:
                self.current[number] = found
        if self.recovered:
            for number, piece in last.items():
                if self.places.get(number) is None:
                    self.current[number] = piece
        self.misplaced = len(moved)
        if self.recovered and moved:
            self._judge_moves(moved)

    def _judge_moves(self, moved: list[int]) -> None:
        """Refuse a file whose objects lie where they do because something was taken out of it or put into it.

        All objects beside their places by the same distance are a generator's carelessness, or a header that lost or got
        some junk.
        """
        same = len(set(moved)) == 1 and len(moved) == len(self.current)
        if not same and all(distance < 0 for distance in moved):
            raise Refused("damaged", "bytes are missing from its middle, or its line ends have been converted")
        if len(set(moved)) > _SLOPPY and all(distance > 0 for distance in moved) and not _BARE_LF.search(self.data):
            raise Refused("damaged", "its line ends have been converted, as by a transfer in text mode")

    @property
    def lost_carriage_returns(self) -> bool:
        """Whether it looks as if every CR LF had become an LF: careless writers make such files, careful ones do not."""
        return any(section.short for section in self._sections.values()) and self.data.find(b"\r\n") < 0

    # --- the walk

    def _walk(self) -> None:
        at = self.header
        while True:
            at = SPACE.match(self.data, at).end()
            if at >= self.size or at > self.end:
                return
            found = OBJECT.match(self.data, at)
            if found is not None:
                at = self._object(found)
            elif self.data[at : at + 4] == b"xref":
                at = self._table(at)
            elif (match := _STARTXREF.match(self.data, at)) is not None:
                at = match.end()
            elif self.data[at : at + 7] == b"trailer":
                at = self._trailer(at)
            else:
                following = _NEXT.search(self.data, at + 1)
                end = min(following.start() if following is not None else self.size, self.end)
                self._gap(at, end)
                at = end
            if len(self.pieces) > _MOST_OBJECTS:
                raise Refused("damaged", f"it has more than {_MOST_OBJECTS} objects")

    def _table(self, at: int) -> int:
        section = self._sections.get(at)
        if section is None:
            try:
                section = section_at(self.data, at)
            except Malformed:
                raise self._damaged("a cross-reference table is damaged", at, at + 20_000) from None
            self._sections[at] = section
        return section.end

    def _trailer(self, at: int) -> int:
        """Read a trailer that has no table (a hand-made or mended file; `_recover` takes it)."""
        try:
            trailer, end = parse(self.data, at + 7)
        except Malformed:
            trailer = None
        if not isinstance(trailer, dict):
            raise self._damaged("a trailer is damaged", at, at + 7)
        self._sections[at] = Section(at, end, {}, trailer)
        return end

    def _gap(self, start: int, end: int) -> None:
        """Judge a stretch that is neither object nor table: only what is known from honest generators may be there."""
        behind_header = start <= self.header + _HEADER_LINE and end - start <= _HEADER_LINE
        if not behind_header and _STRAY.fullmatch(self.data, start, end) is None:
            raise self._damaged("something between its objects cannot be read", start, end)

    def _object(self, found: re.Match[bytes]) -> int:
        data = self.data
        number, generation, body = int(found[1]), int(found[2]), found.end()
        at = self._body_end(body)
        dictionary, stream, stream_end = None, 0, 0
        end = at
        word = data[at : at + 6]
        if word == b"stream":
            dictionary = self._dictionary(number, body)
            stream = STREAM.match(data, at).end()
            stream_end, end = self._stream_end(number, dictionary, stream)
            match = _ENDOBJ.match(data, end)
            end = match.end() if match is not None else end
        elif word == b"endobj":
            end = at + 6
        elif word[:3] == b"obj" and (swallowed := _SWALLOWED.search(data[max(body, at - 40) : at])) is not None:
            # No endobj: the next object's numbers were taken for this one's.
            at = end = max(body, at - 40) + swallowed.start()
        elif _KEYWORD.match(data, at) is None:
            raise self._damaged(f"object {number} has an error", found.start(), at + 1)
        if not stream and not _balanced(data[body:at]):
            raise self._damaged(f"object {number} is not balanced", found.start(), at)
        self.pieces.append(Piece(number, generation, found.start(), body, at, dictionary, stream, stream_end))
        return end

    def _body_end(self, at: int) -> int:
        """Return where an object's tokens end."""
        while True:
            at = BODY.match(self.data, at).end()
            if self.data[at : at + 1] != b"(":
                return at
            end = string_end(self.data, at)  # nested deeper than the expression follows
            if end is None:
                return at
            at = end

    def _dictionary(self, number: int, body: int) -> dict[str, Any]:
        try:
            dictionary, _ = parse(self.data, body)
        except Malformed:
            dictionary = None
        if not isinstance(dictionary, dict):
            raise self._damaged(f"the dictionary of object {number} has an error", body, body + 1)
        return dictionary

    def _stream_end(self, number: int, dictionary: dict[str, Any], start: int) -> tuple[int, int]:
        """Return where a stream's data ends, and where its `endstream` does."""
        data = self.data
        length = dictionary.get("Length")
        if isinstance(length, Ref):
            length = self._integer(length, start)
        if isinstance(length, int) and 0 <= length <= self.size - start:
            match = _ENDSTREAM.match(data, start + length)
            if match is not None:
                return start + length, match.end()
        keyword = data.find(b"endstream", start)
        if keyword < 0:
            raise self._damaged(f"the stream of object {number} does not end", start, self.size)
        end = keyword
        if data[end - 1 : end] == b"\n":
            end -= 1
        if data[end - 1 : end] == b"\r":
            end -= 1
        end = max(end, start)
        if not self._plausible(dictionary, length, start, end, keyword):
            raise self._damaged(f"the stream of object {number} is not as long as it should be", start, keyword)
        return end, keyword + 9

    def _plausible(self, dictionary: dict[str, Any], length: Any, start: int, end: int, keyword: int) -> bool:
        """Say whether a stream whose length is wrong or unknown ends at `end` all the same."""
        if isinstance(length, int) and -2 <= length - (end - start) <= keyword - end + 2:  # the line end, counted or not
            return True
        first = next(iter(filters_of(dictionary)), None)
        if first in FLATE:
            state, at, _ = inflate(self.data, start, keyword, Budget(_BUDGET))
            return state in (OK, CHECKSUM) and keyword - at <= _REST
        return length is None

    def _integer(self, reference: Ref, behind: int) -> int | None:
        """Return the integer that `reference` stands for: where the table says, else behind the stream it is for."""
        place = self.places.get(reference.number)
        found = integer_at(self.data, place + self.shift, reference) if place is not None and place > 0 else None
        if found is None:
            at = self.data.find(b"\n%d %d obj" % reference, behind) + 1
            found = integer_at(self.data, at or self.data.find(b"%d %d obj" % reference), reference)
        return found

    # --- verdicts

    def _damaged(self, detail: str, start: int, end: int) -> Refused:
        """Return the verdict on trouble between two offsets: half-copied if zeros lie there, damaged if not."""
        if any(begin < end and start < stop for begin, stop in self.zeros):
            return Refused("incomplete", f"{detail}; there is a hole of zeros")
        return Refused("damaged", detail)


_BUDGET: Final = 536_870_912
_REST: Final = 64
"""Bytes that may stand between the end of the data and `endstream`."""


def _header(data: Data) -> tuple[int, str]:
    at = data.find(b"%PDF-", 0, _HEADER_WITHIN)
    if at < 0:
        if data[:HOLE].count(0) == min(HOLE, len(data)):
            raise Refused("incomplete", "it begins with zeros")
        raise Refused("not_a_pdf", "there is no PDF header")
    match = _VERSION.match(data, at)
    return at, match[1].decode("ascii") if match is not None else "?"


def _end(data: Data) -> int:
    """Return where the last end-of-file marker is."""
    at = data.rfind(b"%%EOF")
    if at < 0:
        raise Refused("incomplete", "the end-of-file marker is missing")
    behind = data[at + 5 : at + 5 + 65_536].strip(b"\0\t\n\f\r ")
    if _NEXT.search(behind) is not None or _LIKE_PDF.match(behind) is not None:
        raise Refused("incomplete", "the end of its last update is missing")
    if len(data) - at > _JUNK_BEHIND and (behind or len(data) - at > _ZEROS_BEHIND):
        raise Refused("incomplete", "too much stands behind the end-of-file marker")
    return at


_ZEROS_BEHIND: Final = 4096
"""Padding to whole blocks, as some host systems do."""


def _runs_of_zeros(data: Data) -> Iterator[tuple[int, int]]:
    zeros = bytes(HOLE)
    at = data.find(zeros)
    while at >= 0:
        end = _ZEROS.match(data, at).end()
        yield at, end
        at = data.find(zeros, end)


def _balanced(body: bytes) -> bool:
    if b"(" in body or b"%" in body:
        body = _STRINGS.sub(b"", body)
    return body.count(b"<<") == body.count(b">>") and body.count(b"[") == body.count(b"]")
