"""Whether objects lie beside their places because something was taken out of the file or put into it."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from invoicedrop.pdf.check.filters import filters_of
from invoicedrop.pdf.check.objects import Piece
from invoicedrop.pdf.check.syntax import Data
from invoicedrop.pdf.check.verdict import Refused

_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_MISCOUNTED: Final = re.compile(rb"[\x80-\xff\r]")
"""Bytes that a generator misses when it counts characters, or a line end as one."""
_SLOPPY: Final = 2
"""Different distances by which a careless generator misses its objects."""
_DOUBLED: Final = 16
"""Bytes that are not twice there by chance."""


def judge_moves(data: Data, moves: Mapping[int, int], pieces: Sequence[Piece]) -> None:
    """Refuse a file whose objects lie where they do because something was taken out of it or put into it.

    `moves` is by how much objects lie beside their places, by where they are; `pieces` are all objects, in file order.
    All of them beside their places by the same distance are a generator's carelessness, or a header that lost or got
    some junk; all behind one with letters beyond ASCII in it, a generator's that counts characters instead of bytes.

    Raises:
        Refused: something was.

    """
    distances = set(moves.values())
    if not moves or (len(distances) == 1 and len(moves) == len(pieces)):
        return
    if max(distances) < 0:
        raise Refused("damaged", "bytes are missing from its middle, or its line ends have been converted")
    if len(distances) > _SLOPPY and min(distances) > 0 and _BARE_LF.search(data) is None:
        raise Refused("damaged", "its line ends have been converted, as by a transfer in text mode")


def bytes_were_added(data: Data, moves: Mapping[int, int], pieces: Sequence[Piece], table: int) -> bool:
    """Whether bytes were put into one place of a file: all behind one object, the table too, has moved as far.

    `moves` and `pieces` are as above; `table` is by how much the table lies beside its place. A generator that counts
    characters instead of bytes, or a line end as one byte, misses as much where there are letters or line ends.
    """
    unmoved = [piece for piece in pieces if piece.start not in moves]
    if set(moves.values()) != {table} or table <= 0 or not unmoved or unmoved[-1].start > min(moves):
        return False
    changed, following = unmoved[-1], min(moves)
    text: bytes = data[changed.start : following]
    if _is_doubled(text, table):
        return True
    size = changed.stream_end - changed.stream
    if changed.dictionary is not None and (filters_of(changed.dictionary) or changed.dictionary.get("Length") == size):
        text = data[changed.start : changed.stream] + data[changed.stream_end : following]
    return len(_MISCOUNTED.findall(text)) < table


def _is_doubled(data: bytes, size: int) -> bool:
    """Whether `size` bytes stand there twice, one right behind the other."""
    if size < _DOUBLED:
        return False
    for at in range(0, len(data) - size, size):
        # One of these places lies within the first copy, if there is one; how far does that go, backward and forward?
        before, behind = data[max(0, at - size) : at], data[at : at + size]
        same = _common(before[::-1], data[max(0, at - size) + size : at + size][::-1])
        if same + _common(behind, data[at + size : at + 2 * size]) >= size:
            return True
    return False


def _common(one: bytes, other: bytes) -> int:
    """Return how many bytes both begin with."""
    for number, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return number
    return min(len(one), len(other))
