"""Whether a JPEG picture is whole, as far as that shows without decoding it (ITU T.81).

Its segments must follow each other, its codes may contain no stray markers, a progressive picture's scans must build
on each other (a hole that swallows whole scans shows there), and no scan may contain more zero bits than its blocks
could be the code of.
"""

import re
from typing import Final, NamedTuple

from invoicedrop.pdf.check.holes import HOLE, runs_of_zeros
from invoicedrop.pdf.check.syntax import Data

_AC_HOLE: Final = 256
"""Zero bytes in a row that no progressive AC scan has: an encoder counts empty blocks instead (T.81, G.1.2.2)."""
_SOF: Final = frozenset({0xC0, 0xC1, 0xC2})
_SOF2, _DHT, _EOI, _SOS, _FIRST_SEGMENT, _STUFFED = 0xC2, 0xC4, 0xD9, 0xDA, 0xC0, 0x00
_RESTARTS: Final = range(0xD0, 0xD8)
_AC: Final = 1
_RESTART: Final = re.compile(rb"\xff[\xd0-\xd7]")
_MOST_UNITS: Final = 500_000
"""Units of a scan whose codes are counted: a picture of 32 million samples."""


class _Defect(ValueError):  # noqa: N818 - it describes the picture
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
        )

    def units(self, selected: list[int]) -> tuple[int, list[int]]:
        """Return how many units a scan of these components has, and of how many blocks of each (T.81, A.2)."""
        horizontal = max(component.horizontal for component in self.components.values())
        vertical = max(component.vertical for component in self.components.values())
        chosen = [self.components[component] for component in selected]
        if len(chosen) == 1:
            across = -(-self.width * chosen[0].horizontal // (8 * horizontal))
            down = -(-self.height * chosen[0].vertical // (8 * vertical))
            return across * down, [1]
        units = -(-self.width // (8 * horizontal)) * -(-self.height // (8 * vertical))
        return units, [component.horizontal * component.vertical for component in chosen]


class _Table(NamedTuple):
    """A Huffman table: the symbol whose code is all zeros, how long that code is, and all of it (T.81, B.2.4.2)."""

    symbol: int
    bits: int
    counts: bytes
    symbols: bytes

    def pattern(self) -> str:
        """Return an expression for one DC difference: a code, and the bits that it announces (T.81, F.1.2.1)."""
        choices = []
        code = place = 0
        for length, count in enumerate(self.counts, 1):
            for symbol in self.symbols[place : place + count]:
                choices.append(f"{code:0{length}b}" + (f"[01]{{{symbol}}}" if symbol else ""))
                code += 1
            place += count
            code <<= 1
        return f"(?:{'|'.join(choices)})"


def jpeg_defect(data: Data, start: int, end: int) -> str | None:
    """Return what is wrong with the JPEG between two offsets ("has a hole"); None if it is whole."""
    try:
        _walk(data, start, end)
    except _Defect as defect:
        return str(defect)
    return None


def _walk(data: Data, start: int, end: int) -> None:
    at = data.find(b"\xff\xd8", start, min(end, start + 16)) + 2
    if at < start + 2:
        raise _Defect("has no beginning")
    frame: _Frame | None = None
    tables: dict[int, _Table] = {}
    precision: dict[tuple[int, int], int] = {}
    scans = 0
    while at < end:
        marker, at = _marker(data, at, end)
        if marker == _EOI:
            if not scans:
                raise _Defect("has no picture in it")
            return
        length = int.from_bytes(data[at : at + 2], "big")
        if marker < _FIRST_SEGMENT or length < 2 or at + length > end:  # noqa: PLR2004 - the length counts itself
            raise _Defect("has a bad segment")
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
    raise _Defect("ends before its picture does")


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
        raise _Defect("has a bad frame")
    components = {}
    for at in range(6, 6 + 3 * segment[5], 3):
        components[segment[at]] = _Component(max(1, segment[at + 1] >> 4), max(1, segment[at + 1] & 15))
    if not components:
        raise _Defect("has a bad frame")
    height, width = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
    return _Frame(marker == _SOF2, height, width, components)


def _tables(segment: bytes) -> dict[int, _Table]:
    tables = {}
    at = 0
    while at + 17 < len(segment):
        counts = segment[at + 1 : at + 17]
        bits = next((index + 1 for index, count in enumerate(counts) if count), 16)
        end = at + 17 + sum(counts)
        tables[segment[at]] = _Table(segment[at + 17], bits, counts, segment[at + 17 : end])
        at = end
    return tables


def _check_scan(
    data: Data,
    begin: int,
    end: int,
    frame: _Frame,
    header: bytes,
    tables: dict[int, _Table],
    precision: dict[tuple[int, int], int],
) -> None:
    """Check that a scan builds on those before it, and has no hole."""
    count = header[0] if header else 0
    if len(header) < 4 + 2 * count or not count:
        raise _Defect("has a bad scan")
    selected = list(header[1 : 1 + 2 * count : 2])
    if not frame.components.keys() >= set(selected):
        raise _Defect("has a bad scan")
    first, last, approximation = header[1 + 2 * count : 4 + 2 * count]
    before, after = approximation >> 4, approximation & 15
    if frame.progressive:
        for key in ((component, place) for component in selected for place in range(first, min(last, 63) + 1)):
            if precision.get(key, before) != before:
                raise _Defect("lacks a scan")
            precision[key] = after
    run = max((stop - at for at, stop in runs_of_zeros(data, begin, end)), default=0)
    if run < HOLE:
        return
    if frame.progressive and first:
        whole = run < _AC_HOLE
    else:
        whole = run * 8 <= frame.blocks(selected) * _bits(header, count, tables, frame, before)
    if whole and frame.progressive and not first and not before:
        used = [tables[header[at] >> 4] for at in range(2, 2 + 2 * count, 2)]
        whole = _differences_fit(data[begin:end], frame, selected, used)
    if not whole:
        raise _Defect("has a hole")


def _differences_fit(codes: bytes, frame: _Frame, selected: list[int], tables: list[_Table]) -> bool:
    """Whether a scan of DC differences holds exactly as many as the picture has blocks.

    Only such a scan can be right with long runs of zeros, and only here a check is cheap: its codes are an expression.
    """
    units, blocks = frame.units(selected)
    if _RESTART.search(codes) or units > _MOST_UNITS or len(codes) > _MOST_UNITS:
        return True
    codes = codes.replace(b"\xff\x00", b"\xff")
    unit = "".join(table.pattern() * number for table, number in zip(tables, blocks, strict=True))
    bits = format(int.from_bytes(codes, "big"), f"0{len(codes) * 8}b")
    match = re.match(f"(?:{unit}){{{units}}}", bits)
    return match is not None and len(bits) - match.end() < 8  # noqa: PLR2004 - bits of padding to a whole byte


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
