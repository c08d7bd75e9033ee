"""Whether a stream's bytes are whole: checksums, ends, and runs of zeros where none can be.

Most of an invoice's bytes are compressed with Flate, whose Adler-32 checksum (RFC 1950) shows any change. For JPEG see
`jpeg`; for the rest there is what its coding cannot contain.
"""

import base64
import re
from collections.abc import Sequence
from typing import Any, Final

from zlib_ng import zlib_ng

from invoicedrop.pdf.check.holes import HOLE
from invoicedrop.pdf.check.syntax import Data, Name

_LARGE_HOLE: Final = 1024
_SLICE: Final = 65_536
_AT_ONCE: Final = 262_144
"""Bytes that are made of compressed ones at once: more would cost memory, and time for getting it."""

OK: Final = "ok"
CHECKSUM: Final = "checksum"
"""All the data is there, but its checksum is wrong or missing."""
BROKEN: Final = "broken"
SHORT: Final = "short"
"""The data ends before it is complete."""
TOO_MUCH: Final = "too much"


class Budget:
    """How many more bytes the streams of a file may expand to: `left`."""

    def __init__(self, size: int) -> None:
        self.left = size


def inflate(data: Data, start: int, end: int, budget: Budget, *, keep: int = 0) -> tuple[str, int, bytes]:
    """Decompress a Flate stream and return its state, where it ended, and up to `keep` bytes of it."""
    state, at, kept = _inflate(data, start, end, budget, keep, zlib_ng.MAX_WBITS)
    if state != OK and zlib_header(data[start : start + 2]):
        # Was it the checksum alone? Then the same data without its frame is whole.
        raw, raw_at, raw_kept = _inflate(data, start + 2, end, budget, keep, -zlib_ng.MAX_WBITS)
        if raw == OK:
            return CHECKSUM, min(end, raw_at + 4), raw_kept
    return state, at, kept


def zlib_header(first: bytes) -> bool:
    """Whether these two bytes begin zlib data (RFC 1950, 2.2)."""
    return len(first) == 2 and first[0] & 0x0F == 8 and int.from_bytes(first, "big") % 31 == 0  # noqa: PLR2004


_FLUSHED: Final = re.compile(rb"\x00\x00\xff\xff[\r\n]{0,2}\Z")


def _inflate(data: Data, start: int, end: int, budget: Budget, keep: int, bits: int) -> tuple[str, int, bytes]:
    inflater = zlib_ng.decompressobj(bits)
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
    except zlib_ng.error:  # type: ignore[misc] # its stub lacks the base class
        return BROKEN, at, b""
    if not inflater.eof:
        # Some writers flush instead of finishing: an empty block is the last one (RFC 1951, 3.2.4), without a checksum.
        return OK if _FLUSHED.search(data[max(start, end - 6) : end]) else SHORT, at, b"".join(kept)
    return OK, at - len(inflater.unused_data), b"".join(kept)


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
    """Whether an XML text has bytes that no writer makes: neither UTF-8 nor letters of Latin-1 in words."""
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
    """Return what ASCII85 text encodes, or None if it is no such text."""
    body, _, _ = encoded.partition(b"~>")
    try:
        return base64.a85decode(body.removeprefix(b"<~"), ignorechars=b" \t\n\r\v\f\0")
    except ValueError:
        return None


def undo_hex(encoded: bytes) -> bytes | None:
    """Return what hexadecimal text encodes, or None if it is no such text."""
    body, _, _ = encoded.partition(b">")
    digits = body.translate(None, b" \t\n\r\f\0")
    try:
        return bytes.fromhex((digits + b"0" * (len(digits) % 2)).decode("ascii"))
    except ValueError:
        return None
