"""The current objects of a file, as values."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from invoicedrop.pdf.check.lenient import read_leniently
from invoicedrop.pdf.check.structure import Layout
from invoicedrop.pdf.check.syntax import Malformed, Ref, parse, tokens_end

_INDEX: Final = re.compile(rb"[\0\t\n\f\r ]*+([0-9]{1,10})[\0\t\n\f\r ]++([0-9]{1,10})(?![0-9])")
_LONGEST_CHAIN: Final = 32
"""References to references that are followed."""


class ObjectStream(NamedTuple):
    """A decompressed object stream: its text, and where in it each object begins, by number."""

    text: bytes
    offsets: dict[int, int]


def read_object_stream(dictionary: Mapping[str, Any], text: bytes, *, strict: bool) -> ObjectStream:
    """Read an object stream's index; if `strict`, tokens must be all that it has.

    Raises:
        Malformed: it cannot be read.

    """
    first, count = dictionary.get("First"), dictionary.get("N")
    if not isinstance(first, int) or not isinstance(count, int) or not 0 <= first <= len(text):
        raise Malformed("has no index")
    offsets = {}
    at = 0
    for _ in range(count):
        match = _INDEX.match(text, at, first)
        if match is None:
            raise Malformed("has a damaged index")
        offsets[int(match[1])] = first + int(match[2])
        at = match.end()
    if any(offset > len(text) for offset in offsets.values()) or (strict and tokens_end(text, first) < len(text)):
        raise Malformed("has an error")
    return ObjectStream(text, offsets)


class Objects:
    """The current objects of a file, by number, parsed when they are asked for.

    `streams` are the object streams, by number.
    """

    def __init__(self, layout: Layout, streams: Mapping[int, ObjectStream]) -> None:
        self.layout = layout
        self.streams = streams
        self._parsed: dict[int, Any] = {}

    def resolve(self, value: Any) -> Any:
        """Follow references to the value itself; None if there is none."""
        for _ in range(_LONGEST_CHAIN):
            if not isinstance(value, Ref):
                return value
            value = self.value(value.number)
        return None

    def stream_number(self, value: Any) -> int | None:
        """Return the number of the stream that a reference leads to; None if it leads to none."""
        for _ in range(_LONGEST_CHAIN):
            if not isinstance(value, Ref):
                return None
            piece = self.layout.current.get(value.number)
            if piece is not None and piece.dictionary is not None:
                return value.number
            value = self.value(value.number)
        return None

    def value(self, number: int) -> Any:
        """Return an object; a stream's dictionary for a stream, None if there is no such object."""
        if number not in self._parsed:
            self._parsed[number] = self._read(number)
        return self._parsed[number]

    def _read(self, number: int) -> Any:
        data = self.layout.data
        place = self.layout.places.get(number)
        piece = self.layout.current.get(number)
        if piece is not None:
            if piece.dictionary is not None:
                return piece.dictionary
            try:
                return parse(data, piece.body, piece.body_end)[0]
            except Malformed:
                return read_leniently(data, piece.body, piece.body_end)[0]
        stream = self.streams.get(-place) if place is not None and place < 0 else None
        if stream is None or number not in stream.offsets:
            return None
        try:
            return parse(stream.text, stream.offsets[number])[0]
        except Malformed:
            return read_leniently(stream.text, stream.offsets[number], len(stream.text))[0]

    def numbers(self) -> Iterator[int]:
        """Yield the numbers of all current objects."""
        yield from self.layout.places.keys() | self.layout.current.keys()
