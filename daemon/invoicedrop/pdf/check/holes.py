"""Runs of zero bytes: what an interrupted copy leaves where the rest of a file should be.

Zeros are data in a string, in a picture, in an attachment, and behind a proper end. Between the tokens of an object
PDF takes them for white space, and a viewer shows what is left: there they are a hole.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from invoicedrop.pdf.check.syntax import Data, string_end
from invoicedrop.pdf.check.verdict import Refused

HOLE: Final = 128
"""Zero bytes in a row that are a hole and no accident, where text or codes belong."""
SMALL_HOLE: Final = 32
"""Zero bytes in a row that are a hole between the tokens of what a page needs: nobody writes so much white space."""
_ZEROS: Final = re.compile(rb"\0++")
_STRING_OR_COMMENT: Final = re.compile(rb"\(|%[^\r\n]*+")


class Holes(NamedTuple):
    """The long runs of zero bytes in a file, as offsets; some may be right, inside a picture for instance."""

    runs: list[tuple[int, int]]

    def refusal(self, detail: str, start: int, end: int) -> Refused:
        """Return the refusal for an error between two offsets: half-copied if there is a hole, damaged if not."""
        if any(begin < end and start < stop for begin, stop in self.runs):
            return Refused("incomplete", f"{detail}; there is a hole of zeros")
        return Refused("damaged", detail)


def find_holes(data: Data) -> Holes:
    """Return the long runs of zero bytes in a file."""
    return Holes(list(runs_of_zeros(data, 0, len(data))))


def runs_of_zeros(data: Data, start: int, end: int, shortest: int = HOLE) -> Iterator[tuple[int, int]]:
    """Yield where each run of at least `shortest` zero bytes between two offsets begins and ends."""
    zeros = bytes(shortest)
    at = data.find(zeros, start, end)
    while at >= 0:
        match = _ZEROS.match(data, at, end)
        stop = match.end() if match is not None else at + shortest
        yield at, stop
        at = data.find(zeros, stop, end)


def outside_strings(data: Data, start: int, end: int, runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield those runs of zeros, in file order, that do not lie in one literal string of the object given."""
    at = string_start = start
    for run in runs:
        while at <= run[0] and (match := _STRING_OR_COMMENT.search(data, at, end)) is not None:
            string_start, at = match.start(), match.end()
            if match[0] == b"(":
                at = string_end(data, match.start(), end) or end
        if not (data[string_start : string_start + 1] == b"(" and string_start < run[0] and run[1] < at):
            yield run
