"""The file as a whole: every byte of it is header, object, table or space, and every object where the table says.

This is the part that a viewer skips, and why viewers and lenient libraries accept damaged files: they look only at
what they need for a page. Here the file is walked from its first byte to its last, in the order in which it lies.
Runs in the child process.

What is forgiven, because generators do it and viewers do not care: junk before the header and after the end, a
`startxref` or a table that points beside its objects (as long as each is found), missing `endobj`, wrong `/Length` of
a stream whose own end tells where it ends, white space anywhere, incremental updates, linearised and hybrid files.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from invoicedrop.pdf_syntax import BODY, SPACE, Data, Malformed, Name, Ref, Refused, parse

_HEADER_WITHIN: Final = 1024
_TAIL_WITHIN: Final = 1024
_HOLE: Final = 128
_MOST_OBJECTS: Final = 200_000

_OBJECT: Final = re.compile(rb"([0-9]{1,10})[\0\t\n\f\r ]++([0-9]{1,5})[\0\t\n\f\r ]++obj(?![A-Za-z])")
_NEXT: Final = re.compile(
    rb"(?<![0-9])[0-9]{1,10}[\0\t\n\f\r ]++[0-9]{1,5}[\0\t\n\f\r ]++obj(?![A-Za-z])|(?<![a-z])xref\b|\btrailer\b|\bstartxref\b"
)
_STREAM: Final = re.compile(rb"stream(?:\r\n|\n|\r(?!\n)| *+\r?\n)?")
_ENDSTREAM: Final = re.compile(rb"[\0\t\n\f\r ]*+endstream")
_ENDOBJ: Final = re.compile(rb"[\0\t\n\f\r ]*+endobj")
_STARTXREF: Final = re.compile(rb"startxref[\0\t\n\f\r ]*+([0-9]{1,15})")
_SECTION: Final = re.compile(rb"[\0\t\n\f\r ]*+([0-9]{1,10})[\0\t\n\f\r ]++([0-9]{1,10})[\0\t\n\f\r ]*+(?=[0-9]{1,10}[\0\t\n\f\r ]++[0-9]{1,10}[\0\t\n\f\r ]*+[nf]|trailer|[0-9]++[\0\t\n\f\r ]++[0-9]++[\0\t\n\f\r ]++[0-9])")
_ENTRY: Final = re.compile(rb"[\0\t\n\f\r ]*+([0-9]{1,10})[\0\t\n\f\r ]++([0-9]{1,10})[\0\t\n\f\r ]*+([nf])")
_INTEGER_OBJECT: Final = re.compile(rb"[\0\t\n\f\r ]*+([0-9]{1,10})[\0\t\n\f\r ]*+endobj")


class Piece(NamedTuple):
    """An indirect object as it lies in the file; `stream` and `stream_end` are 0 if it has no stream."""

    number: int
    generation: int
    start: int
    body: int
    body_end: int
    stream: int
    stream_end: int


class Table(NamedTuple):
    """A cross-reference table as it lies in the file: its entries (number -> offset, in use only) and its trailer."""

    start: int
    entries: dict[int, int]
    trailer: dict[str, Any]


class Layout:
    """What the walk found. `pieces` in file order, `tables` by offset, `shift` what is to be added to offsets."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.size = len(data)
        self.header, self.version = _header(data)
        self.end = _tail(data)
        self.pieces: list[Piece] = []
        self.places: dict[int, list[int]] = {}
        self.tables: dict[int, Table] = {}
        self.zeros = list(_runs_of_zeros(data, _HOLE))
        self._integers: dict[int, int | None] = {}
        self._walk()

    # --- the walk

    def _walk(self) -> None:
        at = self.header + 5
        at = _end_of_line(self.data, at)
        while True:
            match = SPACE.match(self.data, at)
            at = match.end() if match else at
            if at >= self.size:
                return
            found = _OBJECT.match(self.data, at)
            if found is not None:
                at = self._object(found)
            elif self.data[at : at + 4] == b"xref":
                at = self._table(at)
            elif self.data[at : at + 7] == b"trailer":
                at = self._trailer(at, at + 7)
            elif (start := _STARTXREF.match(self.data, at)) is not None:
                at = start.end()
            else:
                at = self._junk(at)
            if len(self.pieces) > _MOST_OBJECTS:
                raise Refused("damaged", f"more than {_MOST_OBJECTS} objects")
