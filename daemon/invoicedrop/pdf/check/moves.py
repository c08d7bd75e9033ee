"""Whether objects lie beside their places because something was taken out of the file or put into it."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from invoicedrop.pdf.check.objects import Piece
from invoicedrop.pdf.check.syntax import Data, Malformed, Ref, parse
from invoicedrop.pdf.check.verdict import Refused
from invoicedrop.pdf.check.xref import integer_at

_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_MISCOUNTED: Final = re.compile(rb"[\x80-\xff\r]")
"""Bytes that a generator misses when it counts characters, or a line end as one."""
_SLOPPY: Final = 2
"""Different distances by which a careless generator misses its objects."""
_DOUBLED: Final = 16
"""Bytes that are not twice there by chance."""
_SECTOR: Final = 512
"""Bytes that are lost together where a disk or a file system loses some; who edits an object takes out less."""


def judge_moves(data: Data, moves: Mapping[int, int], pieces: Sequence[Piece], *, complete: bool) -> None:
    """Refuse a file whose objects lie where they do because something was taken out of it or put into it.

    `moves` is by how much objects lie beside their places, by where they are; `pieces` are all objects, in file order.
    `complete`: each entry of the tables has an object. All of them beside their places by the same distance are a
    generator's carelessness, or a header that lost or got some junk; all behind one, somebody's who changed that one.

    Raises:
        Refused: something was.

    """
    distances = set(moves.values())
    if not moves or (len(distances) == 1 and len(moves) == len(pieces)):
        return
    if max(distances) < 0 and not (complete and _is_edited(data, moves, pieces)):
        raise Refused("damaged", "bytes are missing from its middle, or its line ends have been converted")
    if len(distances) > _SLOPPY and min(distances) > 0 and _BARE_LF.search(data) is None:
        raise Refused("damaged", "its line ends have been converted, as by a transfer in text mode")


def bytes_were_added(data: Data, moves: Mapping[int, int], pieces: Sequence[Piece], table: int) -> bool:
    """Whether bytes were put into one place of a file, and not by somebody who changed the object there.

    Then all behind that object, the table too, has moved as far. `moves` and `pieces` are as above; `table` is by how
    much the table lies beside its place.
    """
    one_place = set(moves.values()) == {table} and _changed(moves, pieces) is not None
    return table > 0 and one_place and not _is_edited(data, moves, pieces)


def _changed(moves: Mapping[int, int], pieces: Sequence[Piece]) -> Piece | None:
    """Return the object behind which all have moved, by the same distance, and none before; None if there is none."""
    unmoved = [piece for piece in pieces if piece.start not in moves]
    if len(set(moves.values())) == 1 and unmoved and unmoved[-1].start < min(moves):
        return unmoved[-1]
    return None


def _is_edited(data: Data, moves: Mapping[int, int], pieces: Sequence[Piece]) -> bool:
    """Whether one object was changed in an editor, or with a tool that leaves the table as it is.

    What damage does is to put the same bytes there twice, to take a sector out of a long array, to leave an object that
    has an error, or a stream that has as many bytes more or less than it says as all behind it has moved.
    """
    changed = _changed(moves, pieces)
    if changed is None:
        return False
    following = min(moves)
    more = moves[following]
    if (more > 0 and _is_doubled(data[changed.start : following], more)) or not _is_readable(data, changed):
        return False
    if changed.dictionary is None:
        return more > -_SECTOR
    return not _is_damaged(data, changed, pieces, more)


def _is_readable(data: Data, piece: Piece) -> bool:
    """Whether an object has no error."""
    try:
        parse(data, piece.body, piece.body_end)
    except Malformed:
        return False
    return True


def _is_damaged(data: Data, changed: Piece, pieces: Sequence[Piece], more: int) -> bool:
    """Whether a stream has `more` bytes than it says (or less), and it is not its generator that cannot count.

    Generators count characters instead of bytes, or a line end as one byte. One that forgets a line end behind a stream
    does so behind each.
    """
    starts = {piece.number: piece.start for piece in pieces}
    surplus = _surplus(data, changed, starts)
    end = data.find(b"endstream", changed.stream_end)
    line_end = len(_line_end(data, end))
    if surplus is None or more not in (surplus, min(surplus + line_end, 0)):
        return False
    if more < 0:
        return True
    behind = data[end - line_end - more : end - line_end]
    if not behind.strip(b"\0\t\n\f\r "):
        streams = [piece for piece in pieces if piece is not changed and piece.dictionary is not None]
        return any(_surplus(data, piece, starts) == 0 for piece in streams)
    is_picture = changed.dictionary is not None and changed.dictionary.get("Subtype") == "Image"
    return is_picture or len(_MISCOUNTED.findall(data[changed.stream : end])) < more


def _surplus(data: Data, piece: Piece, starts: Mapping[int, int]) -> int | None:
    """Return how many bytes a stream has more than it says, one line end in front of `endstream` left out.

    `starts` is where the objects are, by number. None if it does not say how many it has.
    """
    length = (piece.dictionary or {}).get("Length")
    if isinstance(length, Ref):
        length = integer_at(data, starts.get(length.number, -1), length)
    end = data.find(b"endstream", piece.stream_end)
    return end - len(_line_end(data, end)) - piece.stream - length if isinstance(length, int) else None


def _line_end(data: Data, end: int) -> bytes:
    """Return the line end in front of `end`."""
    return next((ending for ending in (b"\r\n", b"\n", b"\r") if data[end - len(ending) : end] == ending), b"")


def _is_doubled(data: bytes, size: int) -> bool:
    """Whether `size` bytes stand there twice, one right behind the other, and do not repeat something shorter."""
    count = len(data) - size
    if size < _DOUBLED or count < size:
        return False
    # As one large number each, they are compared at once.
    differences = (int.from_bytes(data[:count], "big") ^ int.from_bytes(data[size:], "big")).to_bytes(count, "big")
    at = differences.find(bytes(size))
    while at >= 0:
        block = data[at : at + size]
        if (block * 2).find(block, 1) == size:
            return True
        at = differences.find(bytes(size), at + size // 2)
    return False
