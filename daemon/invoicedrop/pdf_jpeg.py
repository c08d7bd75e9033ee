"""Whether a JPEG picture is whole, as far as that shows without decoding it (ITU T.81). Runs in the child process.

Its segments must follow each other, its codes may contain no stray markers, a progressive picture's scans must build
on each other (a hole that swallows whole scans shows there), and no scan may contain more zero bits than its blocks
could be the code of.
"""

from typing import Final, NamedTuple

from invoicedrop.pdf_holes import HOLE, runs_of_zeros
from invoicedrop.pdf_syntax import Data

_AC_HOLE: Final = 256
"""Zero bytes in a row that no progressive AC scan has: an encoder counts empty blocks instead (T.81, G.1.2.2)."""
_SOF: Final = frozenset({0xC0, 0xC1, 0xC2})
_SOF2, _DHT, _EOI, _SOS, _FIRST_SEGMENT, _STUFFED = 0xC2, 0xC4, 0xD9, 0xDA, 0xC0, 0x00
_RESTARTS: Final = range(0xD0, 0xD8)
_AC: Final = 1


class Trouble(ValueError):  # noqa: N818 - what it is about a picture
    """What is wrong with a picture."""


class _Component(NamedTuple):
    horizontal: int
    vertical: int


class _Frame(NamedTuple):
    """The frame header: what the picture is made of."""

    progressive: bool
    height: int
    width: int
    components: dict[int, _Component]

    def blocks(self, selected: list[int]) -> int:
        """Return how many blocks of 8 by 8 samples a scan of these components has."""
        horizontal = max(component.horizontal for component in self.components.values())
        vertical = max(component.vertical for component in self.components.values())
        across = -(-self.width // (8 * horizontal)) + 1
        down = -(-(self.height or 65_535) // (8 * vertical)) + 1
        return sum(
            across * down * self.components[component].horizontal * self.components[component].vertical
            for component in selected
            if component in self.components
        )


class _Table(NamedTuple):
    """What matters of a Huffman table: the symbol whose code is all zeros, and how long that code is."""

    symbol: int
    bits: int


def jpeg(data: Data, start: int, end: int) -> str | None:
    """Say what is wrong with a JPEG, or None."""
    try:
        _walk(data, start, end)
    except Trouble as trouble:
        return str(trouble)
    return None


def _walk(data: Data, start: int, end: int) -> None:
    at = data.find(b"\xff\xd8", start, min(end, start + 16)) + 2
    if at < start + 2:
        raise Trouble("has no beginning")
    frame: _Frame | None = None
    tables: dict[int, _Table] = {}
    precision: dict[tuple[int, int], int] = {}
    scans = 0
    while at < end:
        marker, at = _marker(data, at, end)
        if marker == _EOI:
            if not scans:
                raise Trouble("has no picture in it")
            return
        length = int.from_bytes(data[at : at + 2], "big")
        if marker < _FIRST_SEGMENT or length < 2 or at + length > end:  # noqa: PLR2004 - the length counts itself
            raise Trouble("has a bad segment")
        segment = data[at + 2 : at + length]
        at += length
        if marker in _SOF:
            frame = _frame(marker, segment)
        elif marker == _DHT:
            tables |= _tables(segment)
        elif marker == _SOS:
            scans += 1
            begin, at = at, _scan_end(data, at, end)
            if frame is not None:
                _check_scan(data, begin, at, frame, segment, tables, precision)
    raise Trouble("ends before its picture does")


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
        if following != _STUFFED and following not in _RESTARTS:
            return at
        at += 2


def _frame(marker: int, segment: bytes) -> _Frame:
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:  # noqa: PLR2004 - T.81, B.2.2
        raise Trouble("has a bad frame")
    components = {}
    for at in range(6, 6 + 3 * segment[5], 3):
        components[segment[at]] = _Component(max(1, segment[at + 1] >> 4), max(1, segment[at + 1] & 15))
    if not components:
        raise Trouble("has a bad frame")
    height, width = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
    return _Frame(marker == _SOF2, height, width, components)


def _tables(segment: bytes) -> dict[int, _Table]:
    found = {}
    at = 0
    while at + 17 < len(segment):
        counts = segment[at + 1 : at + 17]
        bits = next((index + 1 for index, count in enumerate(counts) if count), 16)
        found[segment[at]] = _Table(segment[at + 17], bits)
        at += 17 + sum(counts)
    return found


def _check_scan(
    data: Data,
    begin: int,
    end: int,
    frame: _Frame,
    header: bytes,
    tables: dict[int, _Table],
    precision: dict[tuple[int, int], int],
) -> None:
    """See that a scan builds on those before it, and has no hole."""
    count = header[0] if header else 0
    if len(header) < 4 + 2 * count or not count:
        raise Trouble("has a bad scan")
    selected = list(header[1 : 1 + 2 * count : 2])
    first, last, approximation = header[1 + 2 * count : 4 + 2 * count]
    before, after = approximation >> 4, approximation & 15
    if frame.progressive:
        for component in selected:
            for coefficient in range(first, min(last, 63) + 1):
                if precision.get((component, coefficient), before) != before:
                    raise Trouble("lacks a scan")
                precision[component, coefficient] = after
    run = max((stop - at for at, stop in runs_of_zeros(data, begin, end)), default=0)
    if run < HOLE:
        return
    if frame.progressive and first:
        if run >= _AC_HOLE:
            raise Trouble("has a hole")
        return
    if run * 8 > frame.blocks(selected) * _bits(header, count, tables, frame, before):
        raise Trouble("has a hole")


def _bits(header: bytes, count: int, tables: dict[int, _Table], frame: _Frame, before: int) -> int:
    """Return the most zero bits that the code of an unchanged block has in this scan; 0 if that has other bits."""
    if before:
        return 1  # one more bit of each DC coefficient
    most = 0
    for at in range(2, 2 + 2 * count, 2):
        dc = tables.get(header[at] >> 4)
        ac = tables.get(_AC << 4 | header[at] & 15)
        if dc is None or dc.symbol:
            return 0
        bits = dc.bits
        if not frame.progressive:
            if ac is None or ac.symbol:
                return 0
            bits += ac.bits
        most = max(most, bits)
    return most
