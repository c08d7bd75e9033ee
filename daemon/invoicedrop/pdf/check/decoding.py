"""Undoing the codings of streams whose content is read: LZW, ASCII85, hexadecimal, run lengths, predictors.

(ISO 32000-1, 7.4.) What pages are drawn by is checked by it, as those codings have no checksum: a viewer shows nothing,
or half, of what cannot be decoded.
"""

import base64
import re
from typing import Any, Final, NamedTuple

from invoicedrop.pdf.check.filters import (
    ASCII85,
    ASCII_HEX,
    CHECKSUM,
    FLATE,
    NO_CHECKSUM,
    OK,
    TOO_MUCH,
    Budget,
    filters_of,
    inflate,
)
from invoicedrop.pdf.check.syntax import Malformed
from invoicedrop.pdf.check.verdict import Refused

LZW: Final = frozenset({"LZWDecode", "LZW"})
RUN_LENGTH: Final = frozenset({"RunLengthDecode", "RL"})
_CLEAR, _END, _LONGEST = 256, 257, 4096
_PREDICTORS: Final = range(5)
_SPACE: Final = b" \t\n\r\v\f\0"
_END_OF_85: Final = re.compile(rb"~[\0\t\n\f\r ]*+>?")


class Decoded(NamedTuple):
    """What a stream's bytes stand for; `ended` if its coding has an end mark and that was there, or needs none."""

    data: bytes
    ended: bool = True


def decode(dictionary: dict[str, Any], data: bytes, most: int, *, strict: bool = False) -> Decoded:
    """Return the content of a stream with this dictionary; at most `most` bytes.

    `strict` is for what pages are drawn by: some viewers forgive an unknown predictor only in a cross-reference.

    Raises:
        Malformed: it is not what its filters say, or they are not filters of text.
        Refused: it expands to more.

    """
    parameters = dictionary.get("DecodeParms", dictionary.get("DP"))
    all_parameters = parameters if isinstance(parameters, list) else [parameters]
    ended = True
    for number, name in enumerate(filters_of(dictionary)):
        own = all_parameters[number] if number < len(all_parameters) else None
        own = own if isinstance(own, dict) else {}
        if name in ASCII85:
            data, whole = undo_ascii85(data)
        elif name in ASCII_HEX:
            data, whole = undo_hex(data)
        elif name in LZW:
            data, whole = undo_lzw(data, most, early=own.get("EarlyChange", 1) != 0)
        elif name in RUN_LENGTH:
            data, whole = undo_run_length(data, most)
        elif name in FLATE:
            data, whole = _undo_flate(data, most), True
        else:
            raise Malformed("no filter of text")
        ended = ended and whole
        if name in FLATE or name in LZW:
            data = _undo_predictor(data, own, strict=strict)
    return Decoded(data, ended)


def _undo_flate(data: bytes, most: int) -> bytes:
    state, _, content = inflate(data, 0, len(data), Budget(most), keep=most)
    if state == TOO_MUCH:
        raise Refused("damaged", "one of its streams expands beyond reason")
    if state not in (OK, CHECKSUM, NO_CHECKSUM):
        raise Malformed("no whole Flate data")
    return content


def undo_ascii85(encoded: bytes) -> Decoded:
    """Return what ASCII85 text stands for; its end mark may be broken over two lines, or lack its last character.

    Raises:
        Malformed: it is no such text.

    """
    mark = _END_OF_85.search(encoded, 2 if encoded.startswith(b"<~") else 0)
    body = encoded[: mark.start()] if mark is not None else encoded
    try:
        return Decoded(base64.a85decode(body.strip(_SPACE).removeprefix(b"<~"), ignorechars=_SPACE), mark is not None)
    except ValueError:
        raise Malformed("no ASCII85") from None


def undo_hex(encoded: bytes) -> Decoded:
    """Return what hexadecimal text stands for.

    Raises:
        Malformed: it is no such text.

    """
    body, mark, _ = encoded.partition(b">")
    digits = body.translate(None, _SPACE)
    try:
        return Decoded(bytes.fromhex((digits + b"0" * (len(digits) % 2)).decode("ascii")), bool(mark))
    except ValueError:
        raise Malformed("no hexadecimal digits") from None


def undo_run_length(encoded: bytes, most: int) -> Decoded:
    """Return what run lengths stand for (ISO 32000-1, 7.4.5).

    Raises:
        Malformed: the last run is not whole.
        Refused: it expands to more than `most` bytes.

    """
    out = bytearray()
    at = 0
    while at < len(encoded):
        length = encoded[at]
        if length == 128:  # noqa: PLR2004 - the end
            return Decoded(bytes(out))
        count = length + 1 if length < 128 else 1  # noqa: PLR2004 - bytes as they are, or one that is repeated
        run = encoded[at + 1 : at + 1 + count]
        if len(run) < count:
            raise Malformed("a run is not whole")
        out += run if length < 128 else run * (257 - length)  # noqa: PLR2004 - see above
        at += 1 + count
        _check_size(len(out), most)
    return Decoded(bytes(out), ended=False)


def undo_lzw(encoded: bytes, most: int, *, early: bool = True) -> Decoded:
    """Return what LZW codes stand for (ISO 32000-1, 7.4.4); with `early`, codes get longer one code early.

    Raises:
        Malformed: a code stands for nothing.
        Refused: it expands to more than `most` bytes.

    """
    singles = [bytes([byte]) for byte in range(256)] + [b"", b""]
    table = list(singles)
    out: list[bytes] = []
    size = bits = held = 0
    width = 9
    before = b""
    for byte in encoded:
        held = held << 8 | byte
        bits += 8
        if bits < width:
            continue
        bits -= width
        code = held >> bits
        held &= (1 << bits) - 1
        if code == _END:
            return Decoded(b"".join(out))
        if code == _CLEAR:
            table, width, before = list(singles), 9, b""
            continue
        if code < len(table):
            entry = table[code]
        elif code == len(table) and before:
            entry = before + before[:1]
        else:
            raise Malformed("a code that stands for nothing")
        out.append(entry)
        size += len(entry)
        _check_size(size, most)
        if before and len(table) < _LONGEST:
            table.append(before + entry[:1])
        before = entry
        width = min(12, max(9, (len(table) + early).bit_length()))
    return Decoded(b"".join(out), ended=False)


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise Refused("damaged", "one of its streams expands beyond reason")


def _undo_predictor(data: bytes, parameters: dict[str, Any], *, strict: bool) -> bytes:
    """Undo a predictor (ISO 32000-1, 7.4.4.4) of samples of 8 bits: texts and tables have no others."""
    predictor, colors, columns = (parameters.get(key, 1) for key in ("Predictor", "Colors", "Columns"))
    if not all(isinstance(number, int) and number >= 1 for number in (predictor, colors, columns)):
        raise Malformed("wrong predictor")
    width = columns * colors
    if predictor == 1:
        return data
    if width > len(data):
        raise Malformed("rows that are longer than the data")
    above = bytes(width)
    if predictor < 10:  # noqa: PLR2004 - TIFF's
        return b"".join(_unpredicted(1, data[at : at + width], above, colors) for at in range(0, len(data), width))
    rows = []
    for begin in range(0, len(data), width + 1):
        row = data[begin + 1 : begin + width + 1]
        if strict and data[begin] not in _PREDICTORS:
            raise Malformed("unknown predictor")
        if len(row) == width:
            above = _unpredicted(data[begin], row, above, colors)
            rows.append(above)
    return b"".join(rows)


def _unpredicted(kind: int, row: bytes, above: bytes, step: int) -> bytes:
    """Return a row without its PNG predictor; of an unknown kind, as it is, as viewers do."""
    if kind == 2:  # noqa: PLR2004 - "up", the one that everybody uses for tables
        return bytes([(a + b) & 0xFF for a, b in zip(row, above, strict=True)])
    if kind not in (1, 3, 4):
        return row
    out = bytearray(row)
    for at, byte in enumerate(row):
        left = out[at - step] if at >= step else 0
        up, corner = above[at], (above[at - step] if at >= step else 0)
        if kind == 1:
            guess = left
        elif kind == 3:  # noqa: PLR2004 - "average"
            guess = (left + up) // 2
        else:
            guess = _nearest(left + up - corner, left, up, corner)
        out[at] = (byte + guess) & 0xFF
    return bytes(out)


def _nearest(wanted: int, *values: int) -> int:
    """Return the first of the values that are nearest to the wanted one (Paeth's predictor)."""
    return min(values, key=lambda value: abs(wanted - value))
