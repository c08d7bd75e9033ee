"""Whether a stream's bytes are whole: checksums, ends, and runs of zeros where none can be. Runs in the child.

Most of an invoice's bytes are compressed with Flate, whose Adler-32 checksum (RFC 1950) tells of any change. For
JPEG there are its markers (ITU T.81); for the rest, what its coding cannot contain.
"""

import base64
import re
import zlib
from collections.abc import Sequence
from typing import Any, Final

from invoicedrop.pdf_syntax import Data, Name

HOLE: Final = 128
"""So many zero bytes in a row, where text or codes belong, are a hole and not an accident."""
_LARGE_HOLE: Final = 1024
_SLICE: Final = 65_536
_AT_ONCE: Final = 262_144
"""Compressed bytes taken, and bytes made of them, at once: more would cost memory, and time for getting it."""

OK: Final = "ok"
CHECKSUM: Final = "checksum"
"""All the data is there, but its checksum is wrong or missing."""
BROKEN: Final = "broken"
SHORT: Final = "short"
"""The data ends before it is complete."""
TOO_MUCH: Final = "too much"


class Budget:
    """How much all streams of a file may expand to, in bytes."""

    def __init__(self, size: int) -> None:
        self.left = size


def inflate(data: Data, start: int, end: int, budget: Budget, *, keep: int = 0) -> tuple[str, int, bytes]:
    """Decompress a Flate stream and return its state, where it ended, and up to `keep` bytes of it."""
    state, at, kept = _inflate(data, start, end, budget, keep, zlib.MAX_WBITS)
    if state != OK and zlib_header(data[start : start + 2]):
        # Was it the checksum alone? Then the same data without its frame is whole.
        raw, raw_at, raw_kept = _inflate(data, start + 2, end, budget, keep, -zlib.MAX_WBITS)
        if raw == OK:
            return CHECKSUM, min(end, raw_at + 4), raw_kept
    return state, at, kept


def zlib_header(first: bytes) -> bool:
    """Say whether these two bytes begin zlib data (RFC 1950, 2.2)."""
    return len(first) == 2 and first[0] & 0x0F == 8 and int.from_bytes(first, "big") % 31 == 0  # noqa: PLR2004


_FLUSHED: Final = re.compile(rb"\x00\x00\xff\xff[\r\n]{0,2}\Z")


def _inflate(data: Data, start: int, end: int, budget: Budget, keep: int, bits: int) -> tuple[str, int, bytes]:
    inflater = zlib.decompressobj(bits)
    kept: list[bytes] = []
    at = start
    try:
        with memoryview(data) as view:
            while at < end and not inflater.eof:
                stop = min(end, at + _SLICE)
                with view[at:stop] as piece:
                    out = inflater.decompress(piece, _AT_ONCE)
                at = stop
                while out:
                    budget.left -= len(out)
                    if budget.left < 0:
                        return TOO_MUCH, at, b""
                    if keep > 0:
                        kept.append(out[:keep])
                        keep -= len(out)
                    if len(out) < _AT_ONCE:
                        break
                    out = inflater.decompress(inflater.unconsumed_tail, _AT_ONCE)
    except zlib.error:
        return BROKEN, at, b""
    if not inflater.eof:
        # Some writers flush instead of finishing: an empty block is the last one (RFC 1951, 3.2.4), without a checksum.
        return OK if _FLUSHED.search(data[max(start, end - 6) : end]) else SHORT, at, b"".join(kept)
    return OK, at - len(inflater.unused_data), b"".join(kept)


_DHT, _SOS, _EOI, _SOF2 = 0xC4, 0xDA, 0xD9, 0xC2
_AC = 1


def jpeg(data: Data, start: int, end: int) -> str | None:
    """Say what is wrong with a JPEG, or None: its segments, the codes between them, and its end (ITU T.81, annex B)."""
    at = data.find(b"\xff\xd8", start, min(end, start + 16)) + 2
    if at < start + 2:
        return "has no beginning"
    scans = 0
    progressive = False
    tables: dict[int, bool] = {}
    while at < end:
        marker, at = _marker(data, at, end)
        if marker == _EOI:
            return None if scans else "has no picture in it"
        length = int.from_bytes(data[at : at + 2], "big")
        if marker < 0xC0 or length < 2 or at + length > end:  # noqa: PLR2004 - markers of segments; a length counts itself
            return "has a bad segment"
        progressive |= marker == _SOF2
        if marker == _DHT:
            tables |= _zero_codes(data[at + 2 : at + length])
        at += length
        if marker == _SOS:
            scans += 1
            begin, at = at, _scan_end(data, at, end)
            if not (any if progressive else all)(tables.values()) and data.find(bytes(HOLE), begin, at) >= 0:
                return "has a hole"
    return "ends before its picture does"


def _marker(data: Data, at: int, end: int) -> tuple[int, int]:
    """Return the marker that stands at `at`, and where it ends; 0 if there is none."""
    begin = at
    while at < end and data[at] == 0xFF:  # noqa: PLR2004 - a marker's first byte, which may be repeated
        at += 1
    return (data[at], at + 1) if begin < at < end else (0, at)


def _scan_end(data: Data, at: int, end: int) -> int:
    """Return where the codes that begin here end: at the next marker that is no restart, or at `end`."""
    while True:
        at = data.find(b"\xff", at, end)
        if at < 0 or at + 1 >= end:
            return end
        following = data[at + 1]
        if following != 0 and not 0xD0 <= following <= 0xD7:  # noqa: PLR2004 - a stuffed byte, a restart
            return at
        at += 2


def _zero_codes(tables: bytes) -> dict[int, bool]:
    """Say of each of these Huffman tables whether a row of zero bits is what an even area looks like in it.

    The code of all zeros belongs to a table's first symbol. Only if that is "no difference" (DC) and "end of block"
    (AC), a long run of zero bytes is an honest white area; with the standard luminance table (T.81, annex K) it is not.
    """
    found = {}
    at = 0
    while at + 17 < len(tables):
        kind_and_number = tables[at]
        symbol = tables[at + 17]
        found[kind_and_number] = symbol & 0x0F == 0 if kind_and_number >> 4 == _AC else symbol == 0
        at += 17 + sum(tables[at + 1 : at + 17])
    return found


def filters_of(dictionary: dict[str, Any]) -> Sequence[str]:
    """Return the names of a stream's filters, in the order in which they are undone."""
    value = dictionary.get("Filter", dictionary.get("F"))
    if isinstance(value, Name):
        return (value,)
    if isinstance(value, list):
        return [item for item in value if isinstance(item, Name)]
    return ()


FLATE: Final = frozenset({"FlateDecode", "Fl"})
DCT: Final = frozenset({"DCTDecode", "DCT"})
ASCII85: Final = frozenset({"ASCII85Decode", "A85"})
ASCII_HEX: Final = frozenset({"ASCIIHexDecode", "AHx"})
_NO_ZEROS: Final = {
    # Filter: the shortest run of zero bytes that its coding cannot have.
    "CCITTFaxDecode": HOLE,
    "CCF": HOLE,
    "LZWDecode": HOLE,
    "LZW": HOLE,
    "ASCII85Decode": HOLE,
    "A85": HOLE,
    "ASCIIHexDecode": HOLE,
    "AHx": HOLE,
    "RunLengthDecode": _LARGE_HOLE,
    "RL": _LARGE_HOLE,
    "JBIG2Decode": _LARGE_HOLE,
    "JPXDecode": _LARGE_HOLE,
}
_PRINTED: Final = re.compile(rb"[\t\n\f\r -~]{64}")


def shortest_hole(dictionary: dict[str, Any], first: str | None, head: bytes) -> int | None:
    """Return how many zero bytes in a row are a hole in such a stream; None if any number may be right.

    `first` is its first filter, `head` its first bytes.
    """
    if first is not None:
        return _NO_ZEROS.get(first)
    if dictionary.get("Type") == "Metadata" or _PRINTED.search(head):
        return HOLE
    return None


def unprintable_text(text: bytes) -> bool:
    """Say whether an XML text has bytes that no writer makes: neither UTF-8 nor letters of Latin-1 in words."""
    if text.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0<" in text[:16] or b"<\0" in text[:16]:
        return False  # UTF-16
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return _STRANGE.search(_LATIN_LETTER.sub(b"", text)) is not None
    return _CONTROL.search(text) is not None


_LATIN_LETTER: Final = re.compile(rb"(?<=[A-Za-z])[\xc0-\xff]|[\xc0-\xff](?=[a-z])")
_STRANGE: Final = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f-\xff]")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1f]")


def undo_ascii85(encoded: bytes) -> bytes | None:
    """Return what ASCII85 text stands for, or None if it is none."""
    body, _, _ = encoded.partition(b"~>")
    try:
        return base64.a85decode(body.removeprefix(b"<~"), ignorechars=b" \t\n\r\v\f\0")
    except ValueError:
        return None


def undo_hex(encoded: bytes) -> bytes | None:
    """Return what hexadecimal text stands for, or None if it is none."""
    body, _, _ = encoded.partition(b">")
    digits = body.translate(None, b" \t\n\r\f\0")
    try:
        return bytes.fromhex((digits + b"0" * (len(digits) % 2)).decode("ascii"))
    except ValueError:
        return None
