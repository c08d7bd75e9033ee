"""Whether what the objects hold is whole: each stream by its own coding, each object stream by its index.

Runs in the child process. What an object says is left to `pdf_document`.
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
from invoicedrop.pdf.check.jpeg import jpeg
from invoicedrop.pdf.check.objects import Piece
from invoicedrop.pdf.check.structure import Layout
from invoicedrop.pdf.check.syntax import tokens_end
from invoicedrop.pdf.check.verdict import Refused

_EXPANDED: Final = 1_073_741_824
"""Bytes that all streams together may expand to: four pages as pictures at 720 dots per inch, seen in the wild, are
600 MB."""
_KEPT: Final = 33_554_432
"""Bytes of an object stream, or of an XML text, that are looked into."""
_LARGEST_ASCII: Final = 4_194_304
_INDEX: Final = re.compile(rb"[\0\t\n\f\r ]*+([0-9]{1,10})[\0\t\n\f\r ]++([0-9]{1,10})(?![0-9])")


_TEXTS: Final = ("Metadata", "EmbeddedFile")
_KINDS: Final = ("ObjStm", *_TEXTS)
"""What is looked into; all else is only seen to be whole."""


class ObjectStream(NamedTuple):
    """A decompressed object stream: its text, and where in it each object begins, by number."""

    text: bytes
    offsets: dict[int, int]


class Contents:
    """The streams of a file, checked. `object_streams` by number; `texts` are its XML texts (metadata, e-invoice).

    Raises:
        Refused: a stream is damaged, half-copied, or expands beyond reason.

    """

    def __init__(self, layout: Layout, *, encrypted: bool) -> None:
        self._layout = layout
        self._data = layout.data
        self._encrypted = encrypted
        self._budget = Budget(_EXPANDED)
        self._checksums_wrong: list[int] = []
        self._checksums_right = 0
        self.object_streams: dict[int, ObjectStream] = {}
        self.texts: list[bytes] = []
        self._holes()
        for piece in layout.pieces:
            if piece.dictionary is not None and not self._unreadable(piece.dictionary):
                self._check(piece, piece.dictionary, layout.data, piece.stream, piece.stream_end)
        self.judge_checksums()

    def _unreadable(self, dictionary: dict[str, Any]) -> bool:
        """Say whether a stream is encrypted (a cross-reference stream never is)."""
        return self._encrypted and dictionary.get("Type") != "XRef"

    def check_decrypted(self, piece: Piece, data: bytes) -> None:
        """Check a stream of an encrypted file, its bytes decrypted."""
        if piece.dictionary is not None:
            self._check(piece, piece.dictionary, data, 0, len(data))

    def judge_checksums(self) -> None:
        """Refuse wrong checksums; but a generator that writes none, or all of them wrong, is forgiven as viewers do."""
        wrong = len(self._checksums_wrong)
        if wrong and (self._checksums_right or wrong == 1):
            raise Refused("damaged", f"the checksum of the stream of object {self._checksums_wrong[0]} is wrong")

    def _check(self, piece: Piece, dictionary: dict[str, Any], data: Any, start: int, end: int) -> None:
        filters = filters_of(dictionary)
        if start >= end or "FFilter" in dictionary or "Crypt" in filters:
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
            trouble = jpeg(data, start, end)
            if trouble is not None:
                raise self._damaged(piece, f"(a JPEG picture) {trouble}")
        elif first is None and kind in _KINDS:
            text = data[start : min(end, start + _KEPT)]
            if kind != "ObjStm" and b"<?x" in text[:64] and unprintable_text(text):
                raise self._damaged(piece, "(an XML text) has bytes that no text has")
        if kind == "ObjStm":
            self._object_stream(piece, dictionary, text)
        elif kind in _TEXTS and b"<" in text[:64] and self._layout.current.get(piece.number) == piece:
            self.texts.append(text)

    def _undo_ascii(self, piece: Piece, name: str | None, encoded: bytes) -> bytes:
        undone = (undo_ascii85 if name in ASCII85 else undo_hex)(encoded)
        if undone is None:
            raise self._damaged(piece, "cannot be read")
        return undone

    def _inflate(self, piece: Piece, data: Any, start: int, end: int, keep: int) -> bytes:
        state, _, text = inflate(data, start, end, self._budget, keep=keep)
        if state == OK:
            self._checksums_right += 1
        elif state == CHECKSUM:
            self._checksums_wrong.append(piece.number)
        elif state == TOO_MUCH:
            raise Refused("damaged", f"its streams expand to more than {_EXPANDED // 1_048_576} MB")
        else:
            raise self._damaged(piece, "is not complete" if state == "short" else "cannot be decompressed")
        return text

    def _object_stream(self, piece: Piece, dictionary: dict[str, Any], text: bytes) -> None:
        """Read an object stream's index, and see that tokens are all it has."""
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

    def _holes(self) -> None:
        """Refuse runs of zeros where none can be: between and in objects, and inside what is compressed."""
        pieces = self._layout.pieces
        starts = [piece.start for piece in pieces]
        for begin, end in self._layout.holes.runs:
            if begin >= self._layout.end:
                continue  # padding behind the end
            at = bisect_right(starts, begin) - 1
            piece = pieces[at] if at >= 0 else None
            if piece is None or piece.dictionary is None or not piece.stream <= begin < piece.stream_end:
                raise Refused("incomplete", f"a hole of {end - begin} zeros at {begin}")
            head = self._data[piece.stream : min(piece.stream + 512, begin)]
            first = next(iter(filters_of(piece.dictionary)), None)
            shortest = HOLE if self._unreadable(piece.dictionary) else shortest_hole(piece.dictionary, first, head)
            if shortest is not None and end - begin >= shortest:
                raise Refused("incomplete", f"a hole of {end - begin} zeros at {begin}")

    def _damaged(self, piece: Piece, what: str) -> Refused:
        detail = f"the stream of object {piece.number} {what}"
        return self._layout.holes.verdict(detail, piece.stream, piece.stream_end)


def _kind(dictionary: dict[str, Any]) -> Any:
    """Return a stream's type; an embedded file need not have one (ISO 32000-1, table 45)."""
    kind = dictionary.get("Type")
    if kind is None and ("Params" in dictionary or dictionary.get("Subtype") in ("text/xml", "application/xml")):
        return "EmbeddedFile"
    return kind
