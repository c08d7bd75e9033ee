"""Whether what the objects hold is whole: each stream by its own coding, each object stream by its index.

What the objects mean is left to `document`.
"""

import re
from bisect import bisect_right
from typing import Any, Final, NamedTuple

from invoicedrop.pdf.check.filters import (
    ASCII85,
    ASCII_HEX,
    CHECKSUM,
    DCT,
    FLATE,
    OK,
    SHORT,
    TOO_MUCH,
    Budget,
    filters_of,
    inflate,
    shortest_hole,
    undo_ascii85,
    undo_hex,
    unprintable_text,
)
from invoicedrop.pdf.check.holes import HOLE
from invoicedrop.pdf.check.jpeg import jpeg_defect
from invoicedrop.pdf.check.objects import Piece
from invoicedrop.pdf.check.structure import Layout
from invoicedrop.pdf.check.syntax import Data, tokens_end
from invoicedrop.pdf.check.verdict import Refused

MOST_EXPANDED: Final = 1_073_741_824
"""Bytes that all streams together may expand to: four pages as pictures at 720 dots per inch, seen in the wild, are
600 MB."""
_KEPT: Final = 33_554_432
"""Bytes of an object stream, or of an XML text, that are read."""
_LARGEST_ASCII: Final = 4_194_304
_INDEX: Final = re.compile(rb"[\0\t\n\f\r ]*+([0-9]{1,10})[\0\t\n\f\r ]++([0-9]{1,10})(?![0-9])")
_TEXTS: Final = ("Metadata", "EmbeddedFile")
_KINDS: Final = ("ObjStm", *_TEXTS)
"""Types of streams that are read; all others are only checked to be whole."""


class ObjectStream(NamedTuple):
    """A decompressed object stream: its text, and where in it each object begins, by number."""

    text: bytes
    offsets: dict[int, int]


class Contents:
    """What the streams of a file hold, as far as they have been checked.

    `object_streams` are by number; `texts` are the XML texts (metadata, e-invoice). What an encrypted file holds is
    added as its streams are decrypted. All streams together may expand to `most_expanded` bytes.
    """

    def __init__(self, layout: Layout, most_expanded: int) -> None:
        self._layout = layout
        self._most_expanded = most_expanded
        self._budget = Budget(most_expanded)
        self._checksums_wrong: list[int] = []
        self._checksums_right = 0
        self.object_streams: dict[int, ObjectStream] = {}
        self.texts: list[bytes] = []

    def check(self, piece: Piece, data: Data, start: int, end: int) -> None:
        """Check the stream of `piece`, if it has one: its bytes are those of `data` between the two offsets.

        Raises:
            Refused: it is damaged, half-copied, or expands beyond reason.

        """
        dictionary = piece.dictionary
        if dictionary is None or start >= end:
            return
        filters = filters_of(dictionary)
        if "FFilter" in dictionary or "Crypt" in filters:
            return
        first = filters[0] if filters else None
        kind = _kind(dictionary)
        text = b""
        if first in ASCII85 | ASCII_HEX and len(filters) > 1 and filters[1] in FLATE and end - start <= _LARGEST_ASCII:
            data = self._undo_ascii(piece, first, data[start:end])
            start, end, first = 0, len(data), filters[1]
        if first in FLATE:
            wanted = kind in _KINDS and len(filters) == 1
            text = self._inflate(piece, data, start, end, _KEPT if wanted else 0)
        elif first in DCT:
            defect = jpeg_defect(data, start, end)
            if defect is not None:
                raise self._damaged(piece, f"(a JPEG picture) {defect}")
        elif first is None and kind in _KINDS:
            text = self._uncompressed(piece, kind, data, start, end)
        if kind == "ObjStm":
            self._object_stream(piece, dictionary, text)
        elif kind in _TEXTS and b"<" in text[:64] and self._layout.current.get(piece.number) == piece:
            self.texts.append(text)

    def judge_checksums(self) -> None:
        """Judge the checksums of all streams checked so far.

        A generator that writes none, or all of them wrong, is forgiven as viewers do.

        Raises:
            Refused: one is wrong.

        """
        wrong = len(self._checksums_wrong)
        if wrong and (self._checksums_right or wrong == 1):
            raise Refused("damaged", f"the checksum of the stream of object {self._checksums_wrong[0]} is wrong")

    def _undo_ascii(self, piece: Piece, name: str | None, encoded: bytes) -> bytes:
        undone = (undo_ascii85 if name in ASCII85 else undo_hex)(encoded)
        if undone is None:
            raise self._damaged(piece, "cannot be read")
        return undone

    def _inflate(self, piece: Piece, data: Data, start: int, end: int, keep: int) -> bytes:
        state, _, text = inflate(data, start, end, self._budget, keep=keep)
        if state == OK:
            self._checksums_right += 1
        elif state == CHECKSUM:
            self._checksums_wrong.append(piece.number)
        elif state == TOO_MUCH:
            raise Refused("damaged", f"its streams expand to more than {self._most_expanded // 1_048_576} MB")
        else:
            raise self._damaged(piece, "is not complete" if state == SHORT else "cannot be decompressed")
        return text

    def _uncompressed(self, piece: Piece, kind: str, data: Data, start: int, end: int) -> bytes:
        text: bytes = data[start : min(end, start + _KEPT)]
        if kind != "ObjStm" and b"<?x" in text[:64] and unprintable_text(text):
            raise self._damaged(piece, "(an XML text) has bytes that no text has")
        return text

    def _object_stream(self, piece: Piece, dictionary: dict[str, Any], text: bytes) -> None:
        """Read an object stream's index, and check that tokens are all it has."""
        first, count = dictionary.get("First"), dictionary.get("N")
        if not isinstance(first, int) or not isinstance(count, int) or not 0 <= first <= len(text):
            raise self._damaged(piece, "(an object stream) has no index")
        offsets = {}
        at = 0
        for _ in range(count):
            match = _INDEX.match(text, at, first)
            if match is None:
                raise self._damaged(piece, "(an object stream) has a damaged index")
            offsets[int(match[1])] = first + int(match[2])
            at = match.end()
        if tokens_end(text, first) < len(text) or any(offset > len(text) for offset in offsets.values()):
            raise self._damaged(piece, "(an object stream) has an error")
        self.object_streams[piece.number] = ObjectStream(text, offsets)

    def _damaged(self, piece: Piece, what: str) -> Refused:
        detail = f"the stream of object {piece.number} {what}"
        return self._layout.holes.refusal(detail, piece.stream, piece.stream_end)


def read_contents(layout: Layout, most_expanded: int) -> Contents:
    """Check every stream that is not encrypted, and return what they hold.

    Raises:
        Refused: a stream is damaged, half-copied, or expands beyond reason.

    """
    _check_holes(layout)
    contents = Contents(layout, most_expanded)
    for piece in layout.pieces:
        if piece.dictionary is not None and not _is_encrypted(layout, piece.dictionary):
            contents.check(piece, layout.data, piece.stream, piece.stream_end)
    contents.judge_checksums()
    return contents


def _is_encrypted(layout: Layout, dictionary: dict[str, Any]) -> bool:
    """Whether a stream is encrypted (a cross-reference stream never is)."""
    return layout.encrypted and dictionary.get("Type") != "XRef"


def _check_holes(layout: Layout) -> None:
    """Refuse runs of zeros where none can be: between and in objects, and inside what is compressed."""
    starts = [piece.start for piece in layout.pieces]
    for begin, end in layout.holes.runs:
        if begin >= layout.end:
            continue  # padding behind the end
        at = bisect_right(starts, begin) - 1
        piece = layout.pieces[at] if at >= 0 else None
        if piece is None or piece.dictionary is None or not piece.stream <= begin < piece.stream_end:
            raise Refused("incomplete", f"a hole of {end - begin} zeros at {begin}")
        head = layout.data[piece.stream : min(piece.stream + 512, begin)]
        first = next(iter(filters_of(piece.dictionary)), None)
        encrypted = _is_encrypted(layout, piece.dictionary)
        shortest = HOLE if encrypted else shortest_hole(piece.dictionary, first, head)
        if shortest is not None and end - begin >= shortest:
            raise Refused("incomplete", f"a hole of {end - begin} zeros at {begin}")


def _kind(dictionary: dict[str, Any]) -> Any:
    """Return a stream's type; an embedded file need not have one (ISO 32000-1, table 45)."""
    kind = dictionary.get("Type")
    if kind is None and ("Params" in dictionary or dictionary.get("Subtype") in ("text/xml", "application/xml")):
        return "EmbeddedFile"
    return kind
