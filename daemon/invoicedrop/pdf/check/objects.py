"""The walk over a file, from its first byte to its last: each must be object, table, space or comment.

What is forgiven, because generators do it and viewers do not care: missing `endobj`, a wrong `/Length` of a stream
whose end shows without it, white space anywhere, a few stray words. In a file whose tables are exact (`structure`), an
object reaches no further than where the next one begins; whatever else is odd there is noted in it, for `needs`.
"""

import re
from bisect import bisect_right
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from invoicedrop.pdf.check.filters import CHECKSUM, FLATE, NO_CHECKSUM, OK, Budget, filters_of, inflate
from invoicedrop.pdf.check.holes import Holes
from invoicedrop.pdf.check.lenient import read_leniently
from invoicedrop.pdf.check.syntax import Data, Malformed, Ref, parse, skip_space, tokens_end
from invoicedrop.pdf.check.verdict import Refused
from invoicedrop.pdf.check.xref import OBJECT, Section, section_at, stream_start

_MOST_OBJECTS: Final = 500_000
_NEXT: Final = re.compile(
    rb"(?<![0-9])[0-9]{1,10}[\0\t\n\f\r ]++[0-9]{1,5}[\0\t\n\f\r ]++obj(?![A-Za-z])"
    rb"|(?<![a-z])xref(?![a-z])|trailer(?![a-z])|startxref(?![a-z])"
)
"""Where the walk goes on behind something that is no object and no table."""
STARTXREF: Final = re.compile(rb"startxref[\0\t\n\f\r ]*+\+?([0-9]{1,15})")
_ENDSTREAM: Final = re.compile(rb"[\0\t\n\f\r ]*+endstream")
_ENDOBJ: Final = re.compile(rb"(?:[\0\t\n\f\r ]++|%[^\r\n]*+)*+endobj")
_SWALLOWED: Final = re.compile(rb"[0-9]{1,10}[\0\t\n\f\r ]++[0-9]{1,5}[\0\t\n\f\r ]++\Z")
_STRAY: Final = re.compile(rb"(?:[\0\t\n\f\r ]++|endobj|endstream|%[^\r\n]*+)*+")
"""Words left over between objects by careless editors."""
_HEADER_LINE: Final = 64
"""Bytes in which the binary mark behind the header passes although it does not begin with a percent sign."""
_KEYWORD: Final = re.compile(rb"endobj|stream|xref|trailer|startxref|\Z")
_BODY_END: Final = re.compile(rb"endobj|(?:>|\A)[\0\t\n\f\r ]*+(stream)[\r\n]")
_WHOLE_END: Final = re.compile(rb"endstream[\0\t\n\f\r ]*+endobj")
_STRINGS: Final = re.compile(rb"\((?:[^\\()]++|\\[\s\S])*+\)|%[^\r\n]*+")
_BRACKETS: Final = re.compile(rb"<<|>>|[\[\]]")
_DEEP: Final = 500
"""Levels of arrays and dictionaries in one object: what makes viewers crash is deeper, no real object is."""
_LINE_END: Final = 2
NO_LINE_END: Final = "has no line end behind the word stream"
"""An oddity on which all viewers show nothing."""
_BUDGET: Final = 536_870_912
"""Bytes that one stream of wrong length may expand to."""
_REST: Final = 64
"""Bytes that may stand between the end of the data and `endstream`."""


class Piece(NamedTuple):
    """An indirect object as it lies in the file. `dictionary` is None, and `stream` 0, if it has no stream.

    `end` is where it ends, all of it. `oddity` is what is wrong with it, in words that a sentence about it can go on
    with ("has an error"); None if nothing is.
    """

    number: int
    generation: int
    start: int
    body: int
    body_end: int
    dictionary: dict[str, Any] | None
    stream: int
    stream_end: int
    end: int
    oddity: str | None


class Walk:
    """A walk over `data` from the header to the end-of-file marker.

    `sections` are the tables and trailers that have been read, by offset; those that the walk meets are added.
    `length` finds the integer that a stream's /Length refers to. `boundaries` are where objects and tables begin, in
    order, if all that is known for certain; None if not. `ends` are the words `startxref`, with their numbers, that the
    walk met.
    """

    def __init__(
        self,
        data: Data,
        *,
        header: int,
        end: int,
        holes: Holes,
        sections: dict[int, Section],
        length: Callable[[Ref, int], int | None],
        boundaries: list[int] | None,
    ) -> None:
        self._data = data
        self._size = len(data)
        self._header = header
        self._end = end
        self._holes = holes
        self._length = length
        self._sections = sections
        self._boundaries = boundaries
        self._pieces: list[Piece] = []
        self.ends: list[re.Match[bytes]] = []

    def run(self) -> list[Piece]:
        """Return the objects in file order.

        Raises:
            Refused: something cannot be read.

        """
        at = self._header
        while True:
            at = skip_space(self._data, at)
            if at >= self._size or at > self._end:
                return self._pieces
            if (match := OBJECT.match(self._data, at)) is not None:
                at = self._object(match)
            elif self._data[at : at + 4] == b"xref":
                at = self._table(at)
            elif (match := STARTXREF.match(self._data, at)) is not None:
                self.ends.append(match)
                at = match.end()
            elif self._data[at : at + 7] == b"trailer":
                at = self._trailer(at)
            else:
                following = _NEXT.search(self._data, at + 1, self._limit(at))
                end = min(following.start() if following is not None else self._limit(at), self._end)
                self._gap(at, end)
                at = max(end, at + 1)
            if len(self._pieces) > _MOST_OBJECTS:
                raise Refused("damaged", f"it has more than {_MOST_OBJECTS} objects")

    def _limit(self, at: int) -> int:
        """Return where, behind `at`, the next object or table is known to begin."""
        boundaries = self._boundaries or []
        index = bisect_right(boundaries, at)
        return boundaries[index] if index < len(boundaries) else self._size

    def _table(self, at: int) -> int:
        section = self._sections.get(at)
        if section is None:
            try:
                section = section_at(self._data, at)
            except Malformed:
                raise self._holes.refusal("a cross-reference table is damaged", at, at + 20_000) from None
            self._sections[at] = section
        return section.end

    def _trailer(self, at: int) -> int:
        """Read a trailer that has no table (in a file mended by hand)."""
        try:
            trailer, end = parse(self._data, at + 7)
        except Malformed:
            trailer = None
        if not isinstance(trailer, dict):
            raise self._holes.refusal("a trailer is damaged", at, at + 7)
        self._sections[at] = Section(at, end, {}, trailer)
        return end

    def _gap(self, start: int, end: int) -> None:
        """Judge a stretch that is neither object nor table: only what honest generators leave may be there."""
        if self._boundaries is not None:
            return  # nothing was lost there; `streams` looks for holes
        behind_header = start <= self._header + _HEADER_LINE and end - start <= _HEADER_LINE
        if not behind_header and _STRAY.fullmatch(self._data, start, end) is None:
            raise self._holes.refusal("something between its objects cannot be read", start, end)

    def _object(self, head: re.Match[bytes]) -> int:
        data = self._data
        number, generation, body = int(head[1]), int(head[2]), head.end()
        limit = self._limit(head.start())
        at = tokens_end(data, body, limit)
        dictionary, stream, stream_end = None, 0, 0
        oddity = None
        # No endobj: the next object's numbers were taken for this one's.
        swallowed = _SWALLOWED.search(data[max(body, at - 40) : at]) if data[at : at + 3] == b"obj" else None
        if swallowed is None and at < limit and not self._ends_well(body, at):
            oddity = "has an error"
            if self._boundaries is not None:
                match = _BODY_END.search(data, at, limit)
                at = match.start(match.lastindex or 0) if match is not None else limit
        end = at
        word = data[at : at + 6] if at < limit else b""
        if word == b"stream" and self._ends_well(body, at):
            dictionary, damage = self._dictionary(number, body, at)
            oddity = oddity or damage
            stream = stream_start(data, at)
            if stream == at + len(word):
                oddity = NO_LINE_END
            stream_end, end = self._stream_end(number, dictionary, stream, limit)
            match = _ENDOBJ.match(data, end)
            end = match.end() if match is not None else end
        elif word == b"endobj":
            end = at + 6
        elif swallowed is not None:
            at = end = max(body, at - 40) + swallowed.start()
        if not stream and not _balanced(data[body:at]):
            oddity = oddity or "has brackets that do not fit"
        if oddity is not None and self._boundaries is None:
            raise self._holes.refusal(f"object {number} {oddity}", head.start(), at + 1)
        if at - body > _DEEP and _depth(data[body:at]) > _DEEP:
            raise Refused("damaged", f"object {number} is nested too deep")
        self._pieces.append(
            Piece(number, generation, head.start(), body, at, dictionary, stream, stream_end, end, oddity)
        )
        return end

    def _ends_well(self, body: int, at: int) -> bool:
        """Whether an object whose tokens end at `at` goes on, or ends, with a word that may stand there."""
        word = _KEYWORD.match(self._data, at)
        if word is None or word[0] != b"stream":
            return word is not None
        bracket: int = self._data.rfind(b">>", body, at)
        return bracket >= 0 and skip_space(self._data, bracket + 2) == at

    def _dictionary(self, number: int, body: int, end: int) -> tuple[dict[str, Any], str | None]:
        """Return a stream's dictionary, and what is wrong with it."""
        try:
            dictionary, _ = parse(self._data, body, end)
        except Malformed:
            dictionary = None
        if isinstance(dictionary, dict):
            return dictionary, None
        if self._boundaries is not None:
            dictionary, damage = read_leniently(self._data, body, end)
            return (dictionary if isinstance(dictionary, dict) else {}), damage or "has an error"
        raise self._holes.refusal(f"the dictionary of object {number} has an error", body, body + 1)

    def _stream_end(self, number: int, dictionary: dict[str, Any], start: int, limit: int) -> tuple[int, int]:
        """Return where a stream's data ends, and where its `endstream` does."""
        data = self._data
        length = dictionary.get("Length")
        if isinstance(length, Ref):
            length = self._length(length, start)
        if isinstance(length, int) and 0 <= length <= limit - start:
            match = _ENDSTREAM.match(data, start + length, limit)
            if match is not None:
                return start + length, match.end()
        whole = _WHOLE_END.search(data, start, limit) if self._boundaries is not None else None
        keyword = whole.start() if whole is not None else data.find(b"endstream", start, limit)
        if keyword < 0:
            raise self._holes.refusal(f"object {number} ends before its data does", start, limit)
        end = keyword
        if data[end - 1 : end] == b"\n":
            end -= 1
        if data[end - 1 : end] == b"\r":
            end -= 1
        end = max(end, start)
        if self._boundaries is None and not self._plausible(dictionary, length, start, end, keyword):
            raise self._holes.refusal(f"object {number} is not as long as it says", start, keyword)
        return end, keyword + 9

    def _plausible(self, dictionary: dict[str, Any], length: Any, start: int, end: int, keyword: int) -> bool:
        """Whether a stream whose length is wrong or unknown ends at `end` all the same."""
        if isinstance(length, int) and abs(length - (end - start)) <= _LINE_END:
            return True  # the line end before `endstream`, counted though it should not be, or the reverse
        first = next(iter(filters_of(dictionary)), None)
        if first in FLATE:
            state, at, _ = inflate(self._data, start, keyword, Budget(_BUDGET))
            return state in (OK, CHECKSUM, NO_CHECKSUM) and keyword - at <= _REST
        return length is None


def _balanced(body: bytes) -> bool:
    if b"(" in body or b"%" in body:
        body = _STRINGS.sub(b"", body)
    return body.count(b"<<") == body.count(b">>") and body.count(b"[") == body.count(b"]")


def _depth(body: bytes) -> int:
    """Return how deep arrays and dictionaries are nested."""
    if body.count(b"[") + body.count(b"<<") <= _DEEP:
        return 0
    depth = deepest = 0
    for match in _BRACKETS.finditer(_STRINGS.sub(b"", body)):
        depth += 1 if match[0] in (b"<<", b"[") else -1
        deepest = max(deepest, depth)
    return deepest
