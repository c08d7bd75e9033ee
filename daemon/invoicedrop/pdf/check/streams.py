"""Whether what the objects hold is whole: each stream by its own coding, and by what it is needed for.

What the objects mean is left to others. A stream that nothing needs may be anything, unless it looks like damage.
"""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple, Protocol

from invoicedrop.pdf.check.content import content_defect, content_hole, uses
from invoicedrop.pdf.check.decoding import Decoded, decode
from invoicedrop.pdf.check.filters import (
    CHECKSUM,
    DCT,
    FLATE,
    NO_CHECKSUM,
    OK,
    SHORT,
    TOO_MUCH,
    Budget,
    filters_of,
    inflate,
    shortest_hole,
    unknown_filter,
)
from invoicedrop.pdf.check.holes import HOLE, runs_of_zeros
from invoicedrop.pdf.check.jpeg import jpeg_defect
from invoicedrop.pdf.check.needs import Role
from invoicedrop.pdf.check.objects import Piece
from invoicedrop.pdf.check.structure import Layout
from invoicedrop.pdf.check.syntax import Data, Malformed, Name
from invoicedrop.pdf.check.values import ObjectStream, read_object_stream
from invoicedrop.pdf.check.verdict import KINDER, Refused
from invoicedrop.pdf.check.xml_text import unprintable_text

MOST_EXPANDED: Final = 1_073_741_824
"""Bytes that all streams together may expand to: four pages as pictures at 720 dots per inch, seen in the wild, are
600 MB."""
_KEPT: Final = 33_554_432
"""Bytes of an object stream, or of an XML text, that are read."""
_MOST_DECODED: Final = 4_194_304
"""Bytes of coded content that are decoded: those codings have no fast decoder here."""
_TEXTS: Final = ("Metadata", "EmbeddedFile")
_XML: Final = re.compile(rb"(?:\xef\xbb\xbf)?[\t\n\r ]*+<[?!A-Za-z]")
_TYPE1: Final = re.compile(rb"%!")
"""A font program that is a text."""
_CLOSED: Final = re.compile(rb">[\t\n\r ]*+\0*+\Z")
_HEAD: Final = 2
_ZLIB_HEADS: Final = (b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")
"""What zlib data begins with, in all that is common (RFC 1950, 2.2), and no content of a page."""
_SHORT: Final = 40
"""Bytes of a compressed stream that may hold nothing."""


class Cipher(Protocol):
    """What decrypts the streams of an encrypted file."""

    def decrypted(self, piece: Piece) -> bytes:
        """Return the bytes of a stream, its filters not undone."""


class StreamData(NamedTuple):
    """Where the bytes of a stream are, decrypted, its filters not undone."""

    data: Data
    start: int
    end: int


class Streams:
    """The streams of a file. `cipher` is None if it is not encrypted; `left` is how many bytes may be decrypted.

    `texts` are the XML texts (metadata, e-invoice). All streams together may expand to `most_expanded` bytes.
    """

    def __init__(self, layout: Layout, cipher: Cipher | None, *, left: int, most_expanded: int) -> None:
        self._layout = layout
        self._cipher = cipher
        self._left = left
        self._most_expanded = most_expanded
        self._budget = Budget(most_expanded)
        self._checksums_wrong: list[int] = []
        self._checksums_right = 0
        self._checked: set[int] = set()
        self.texts: list[bytes] = []

    def raw(self, piece: Piece) -> StreamData | None:
        """Return where the bytes of a stream are; None if there are none, or too many that are encrypted."""
        dictionary = piece.dictionary
        if dictionary is None or piece.stream >= piece.stream_end or "FFilter" in dictionary:
            return None
        if self._cipher is None or dictionary.get("Type") == "XRef":
            return StreamData(self._layout.data, piece.stream, piece.stream_end)
        if self._layout.current.get(piece.number) is not piece or "Crypt" in filters_of(dictionary):
            return None
        self._left -= piece.stream_end - piece.stream
        if self._left < 0:
            return None
        data = self._cipher.decrypted(piece)
        return StreamData(data, 0, len(data))

    def object_streams(self) -> dict[int, ObjectStream]:
        """Read and return the object streams, by number.

        Raises:
            Refused: one is damaged.

        """
        streams = {}
        for piece in self._layout.pieces:
            if piece.dictionary is not None and piece.dictionary.get("Type") == "ObjStm":
                raw = self.raw(piece)
                if raw is not None:
                    self._checked.add(piece.start)
                    streams[piece.number] = self._object_stream(piece, piece.dictionary, raw)
        return streams

    def check(self, roles: Mapping[int, Role], parts: AbstractSet[int]) -> None:
        """Check every stream. `roles` and `parts` are those of `Needs`.

        Raises:
            Refused: one is damaged, half-copied, or expands beyond reason.

        """
        for piece in self._layout.pieces:
            if piece.dictionary is None or piece.start in self._checked:
                continue
            role = roles.get(piece.number) if self._layout.current.get(piece.number) is piece else None
            raw = self.raw(piece)
            if raw is not None:
                if role is Role.CONTENT and not _is_plain_flate(piece.dictionary):
                    self._check_content(piece, piece.dictionary, raw, whole=piece.number not in parts)
                self._check(piece, piece.dictionary, raw, role)
        self._judge_checksums()

    def draws_nothing(self, piece: Piece) -> bool:
        """Whether a page's content has no operator that draws."""
        if piece.stream_end - piece.stream > _SHORT + HOLE:
            return False
        content = self.content(piece)
        return content is not None and len(content.strip()) < 4  # noqa: PLR2004 - `/a Do` has more, `q Q` has less

    def content(self, piece: Piece) -> bytes | None:
        """Return the content of a stream that a page is drawn by; None if it is too much, or cannot be read."""
        raw = self.raw(piece)
        try:
            return decode(piece.dictionary or {}, raw.data[raw.start : raw.end], _KEPT).data if raw is not None else b""
        except Malformed:
            return None

    def names_used(self, roles: dict[int, Role], names: set[str]) -> set[str]:
        """Return those of the names that some content uses, as a font or a picture."""
        used: set[str] = set()
        for number, role in roles.items():
            piece = self._layout.current.get(number)
            if role is Role.CONTENT and piece is not None and piece.dictionary is not None:
                used.update(uses(self.content(piece) or b"", names))
        return used

    def _check(self, piece: Piece, dictionary: dict[str, Any], raw: StreamData, role: Role | None) -> None:
        filters = filters_of(dictionary)
        first = filters[0] if filters else None
        kind = _kind(dictionary, role)
        text = b""
        if first in FLATE:
            text = self._inflate(piece, raw, role, _KEPT if kind in _TEXTS and len(filters) == 1 else _HEAD)
            if role is Role.CONTENT and _is_plain_flate(dictionary) and text[:_HEAD] in _ZLIB_HEADS:
                raise self._damaged(piece, "(the content of a page) is compressed twice")
        elif first in DCT:
            defect = jpeg_defect(*raw)
            if defect is not None and not self._is_forgiven(piece, role):
                raise self._damaged(piece, f"(a JPEG picture) {defect}")
        elif first is not None:
            self._check_coded(piece, dictionary, raw, role)
        elif kind in _TEXTS:
            text = raw.data[raw.start : min(raw.end, raw.start + _KEPT)]
            self._check_text(piece, text)
        elif _TYPE1.match(raw.data, raw.start, raw.end) is not None:
            self._check_hole(piece, raw, role, HOLE)
        if kind in _TEXTS and b"<" in text[:64] and self._layout.current.get(piece.number) is piece:
            self.texts.append(text)

    def _check_coded(self, piece: Piece, dictionary: dict[str, Any], raw: StreamData, role: Role | None) -> None:
        """Check a stream whose first coding has no checksum: for holes, and by the one inside it."""
        first, *inner = filters_of(dictionary)
        if role in (Role.PICTURE, Role.FONT) and (name := unknown_filter(dictionary)) is not None:
            raise self._damaged(piece, f"({role.value}) is coded in a way that no viewer knows: {name[:40]!a}")
        self._check_hole(piece, raw, role, shortest_hole(first))
        if role is not None and inner and inner[0] in FLATE and raw.end - raw.start <= _MOST_DECODED:
            self._decoded(piece, dictionary, raw)

    def _check_content(self, piece: Piece, dictionary: dict[str, Any], raw: StreamData, *, whole: bool) -> None:
        """Check what a page is drawn by, where no checksum tells that it is whole."""
        if raw.end - raw.start > _MOST_DECODED:
            return
        filters = filters_of(dictionary)
        decoded, ended = self._decoded(piece, dictionary, raw)
        if (hole := content_hole(decoded)) is not None:
            where = f" at {piece.stream}" if self._cipher is None else ""
            raise Refused(
                "incomplete", f"object {piece.number} (the content of a page) has a hole of {hole} zeros{where}"
            )
        if not FLATE & set(filters):
            defect = content_defect(decoded, ended=ended or not filters, whole=whole and bool(filters))
            if defect is not None:
                raise self._damaged(piece, f"(the content of a page) {defect}")

    def _decoded(self, piece: Piece, dictionary: dict[str, Any], raw: StreamData) -> Decoded:
        strict = dictionary.get("Type") != "ObjStm"
        try:
            return decode(dictionary, raw.data[raw.start : raw.end], _KEPT, strict=strict)
        except Malformed:
            raise self._damaged(piece, "cannot be decoded") from None

    def _inflate(self, piece: Piece, raw: StreamData, role: Role | None, keep: int) -> bytes:
        state, _, text = inflate(*raw, self._budget, keep=keep)
        if state == OK:
            self._checksums_right += 1
        elif state == CHECKSUM or (state == NO_CHECKSUM and not self._layout.exact):
            self._checksums_wrong.append(piece.number)
        elif state == TOO_MUCH:
            raise Refused("damaged", f"its streams expand to more than {self._most_expanded // 1_048_576} MB")
        elif state != NO_CHECKSUM:
            if self._is_forgiven(piece, role):
                return b""  # it never was what it says, or nobody reads it
            if state == SHORT:
                raise self._damaged(
                    piece, "ends in the middle" + (f" of {role.value}" if role is not None else ""), role
                )
            raise self._damaged(piece, "cannot be decompressed", role)
        return text

    def _judge_checksums(self) -> None:
        """Judge the checksums of all streams: a generator that writes all of them wrong is forgiven as viewers do.

        They are all wrong, too, if every CR has become an LF, or the reverse; then there is only one of the two.
        """
        wrong = len(self._checksums_wrong)
        if wrong and (self._checksums_right or wrong == 1 or not self._has_both_line_ends()):
            raise Refused(
                "damaged",
                f"the checksum of object {self._checksums_wrong[0]} does not fit its data; {KINDER}",
            )

    def _has_both_line_ends(self) -> bool:
        data = self._layout.data
        return bool(data.find(b"\r") >= 0 <= data.find(b"\n"))

    def _check_text(self, piece: Piece, text: bytes) -> None:
        """Check an XML text that is not compressed: zeros are right behind its end only."""
        if _XML.match(text) is None:
            return
        if _CLOSED.search(text) is not None:
            text = text.rstrip(b"\0")
        for start, end in runs_of_zeros(text, 0, len(text)):
            raise Refused("incomplete", f"object {piece.number} (an XML text) has a hole of {end - start} zeros")
        if unprintable_text(text):
            raise self._damaged(piece, "(an XML text) has bytes that no text has")

    def _check_hole(self, piece: Piece, raw: StreamData, role: Role | None, shortest: int | None) -> None:
        if shortest is None:
            return
        for start, end in runs_of_zeros(*raw):
            # An object that is nothing but zeros is its generator's own, if nothing needs it.
            if end - start >= shortest and (role is not None or start > raw.start or end < raw.end):
                detail = f"object {piece.number} has a hole of {end - start} zeros"
                raise Refused("incomplete", detail)

    def _object_stream(self, piece: Piece, dictionary: dict[str, Any], raw: StreamData) -> ObjectStream:
        if _is_plain_flate(dictionary):
            text = self._inflate(piece, raw, Role.OTHER, _KEPT)
        else:
            text = self._decoded(piece, dictionary, raw).data
        try:
            return read_object_stream(dictionary, text, strict=not self._layout.exact)
        except Malformed as e:
            raise self._damaged(piece, f"(a collection of objects) {e}") from None

    def _damaged(self, piece: Piece, what: str, role: Role | None = Role.OTHER) -> Refused:
        detail = f"object {piece.number} {what}"
        if role is None and not self._has_hole(piece):
            detail += f"; {KINDER}"
        return self._layout.holes.refusal(detail, piece.stream, piece.stream_end)

    def _is_forgiven(self, piece: Piece, role: Role | None) -> bool:
        """Whether a stream that cannot be read is its generator's own: nothing needs it, and nothing was lost."""
        return self._layout.exact and role is None and not self._has_hole(piece)

    def _has_hole(self, piece: Piece) -> bool:
        """Whether a stream has a long run of zeros, and is not made of nothing else."""
        return any(
            begin < piece.stream_end and piece.stream < end and (piece.stream < begin or end < piece.stream_end)
            for begin, end in self._layout.holes.runs
        )


def _is_plain_flate(dictionary: dict[str, Any]) -> bool:
    return filters_of(dictionary) in (("FlateDecode",), ("Fl",)) and not {"DecodeParms", "DP"} & dictionary.keys()


def _kind(dictionary: dict[str, Any], role: Role | None) -> Any:
    """Return a stream's type; an embedded file need not have one (ISO 32000-1, table 45)."""
    kind = dictionary.get("Type")
    if isinstance(kind, Name) and kind in _TEXTS:
        return kind
    if role is Role.ATTACHMENT or dictionary.get("Subtype") in ("text/xml", "application/xml"):
        return "EmbeddedFile"
    if role is None and "Params" in dictionary:
        return "EmbeddedFile"
    return kind
