"""Whether a stream's bytes are whole: checksums, ends, and runs of zeros where none can be.

Most of an invoice's bytes are compressed with Flate, whose Adler-32 checksum (RFC 1950) shows any change. For JPEG see
`jpeg`; for the rest there is what its coding cannot contain.
"""

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
"""All the data is there, but its checksum is wrong."""
NO_CHECKSUM: Final = "no checksum"
"""All the data is there, but its checksum is not, or not whole; some writers leave it out, or write zeros."""
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
    state, at, kept, _ = _inflate(data, start, end, budget, keep, zlib_ng.MAX_WBITS)
    if state != OK and zlib_header(data[start : start + 2]):
        # Was it the checksum alone? Then the same data without its frame is whole.
        raw, raw_at, raw_kept, checksum = _inflate(data, start + 2, end, budget, keep, -zlib_ng.MAX_WBITS)
        if raw == OK:
            behind = data[raw_at : min(end, raw_at + 4)]
            missing = _is_missing(behind, checksum) and any(data[raw_at - _ZEROS_BEFORE : raw_at])
            return (NO_CHECKSUM if missing else CHECKSUM), min(end, raw_at + 4), raw_kept
    return state, at, kept


def zlib_header(first: bytes) -> bool:
    """Whether these two bytes begin zlib data (RFC 1950, 2.2)."""
    return len(first) == 2 and first[0] & 0x0F == 8 and int.from_bytes(first, "big") % 31 == 0  # noqa: PLR2004


_FLUSHED: Final = re.compile(rb"\x00\x00\xff\xff[\r\n]{0,2}\Z")
_CHECKSUM_SIZE: Final = 4
_ZEROS_BEFORE: Final = 4
"""Zero bytes at the end of the data that a checksum of zeros is no checksum behind, but a part of their hole."""


def _is_missing(behind: bytes, checksum: int) -> bool:
    """Whether what stands behind the data is less than its checksum: bytes were left out, or line ends took them."""
    if len(behind) < _CHECKSUM_SIZE or not any(behind):
        return True
    whole = checksum.to_bytes(_CHECKSUM_SIZE, "big")
    present = behind.rstrip(b"\r\n")
    return len(present) < _CHECKSUM_SIZE and whole.startswith(present)


def _inflate(data: Data, start: int, end: int, budget: Budget, keep: int, bits: int) -> tuple[str, int, bytes, int]:
    """Decompress, and return the state, where it ended, up to `keep` bytes, and the checksum of raw data."""
    inflater = zlib_ng.decompressobj(bits)
    kept: list[bytes] = []
    checksum = 1
    at = start
    try:
        with memoryview(data) as view:
            while at < end and not inflater.eof:
                stop = min(end, at + _SLICE)
                with view[at:stop] as piece:
                    out = inflater.decompress(piece, _AT_ONCE)
                at = stop
                while out:
                    if bits < 0:
                        checksum = zlib_ng.adler32(out, checksum)
                    budget.left -= len(out)
                    if budget.left < 0:
                        return TOO_MUCH, at, b"", 0
                    if keep > 0:
                        kept.append(out[:keep])
                        keep -= len(out)
                    if len(out) < _AT_ONCE:
                        break
                    out = inflater.decompress(inflater.unconsumed_tail, _AT_ONCE)
    except zlib_ng.error:  # type: ignore[misc] # its stub lacks the base class
        return BROKEN, at, b"", 0
    if not inflater.eof:
        # Some writers flush instead of finishing: an empty block is the last one (RFC 1951, 3.2.4), without a checksum.
        state = OK if _FLUSHED.search(data[max(start, end - 6) : end]) else SHORT
        return state, at, b"".join(kept), checksum
    return OK, at - len(inflater.unused_data), b"".join(kept), checksum


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


_KNOWN: Final = FLATE | DCT | _NO_ZEROS.keys() | {"Crypt"}


def unknown_filter(dictionary: dict[str, Any]) -> str | None:
    """Return the first filter that no viewer knows, if there is one."""
    return next((name for name in filters_of(dictionary) if name not in _KNOWN), None)


def shortest_hole(first: str) -> int | None:
    """Return how many zero bytes in a row no data of this filter has; None if any number may be right."""
    return _NO_ZEROS.get(first)
