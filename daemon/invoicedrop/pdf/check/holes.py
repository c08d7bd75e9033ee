"""Runs of zero bytes: what an interrupted copy leaves where the rest of a file should be."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from invoicedrop.pdf.check.syntax import Data
from invoicedrop.pdf.check.verdict import Refused

HOLE: Final = 128
"""Zero bytes in a row that are a hole and no accident, where text or codes belong."""
_ZEROS: Final = re.compile(rb"\0++")


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


def runs_of_zeros(data: Data, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where each run of at least HOLE zero bytes between two offsets begins and ends."""
    zeros = bytes(HOLE)
    at = data.find(zeros, start, end)
    while at >= 0:
        match = _ZEROS.match(data, at, end)
        stop = match.end() if match is not None else at + HOLE
        yield at, stop
        at = data.find(zeros, stop, end)
