"""Runs of zero bytes: what an interrupted copy leaves where the rest of a file should be. Runs in the child process."""

import re
from collections.abc import Iterator
from typing import Final

from invoicedrop.pdf.check.syntax import Data
from invoicedrop.pdf.check.verdict import Refused

HOLE: Final = 128
"""So many zero bytes in a row, where text or codes belong, are a hole and not an accident."""
_ZEROS: Final = re.compile(rb"\0++")


def runs_of_zeros(data: Data, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where each run of at least HOLE zero bytes between two offsets begins and ends."""
    zeros = bytes(HOLE)
    at = data.find(zeros, start, end)
    while at >= 0:
        match = _ZEROS.match(data, at, end)
        stop = match.end() if match is not None else at + HOLE
        yield at, stop
        at = data.find(zeros, stop, end)


class Holes:
    """The long runs of zero bytes of a file (`runs`); some may be right, inside a picture for instance."""

    def __init__(self, data: Data) -> None:
        self.runs = list(runs_of_zeros(data, 0, len(data)))

    def verdict(self, detail: str, start: int, end: int) -> Refused:
        """Return the verdict on trouble between two offsets: half-copied if a hole is there, damaged if not."""
        if any(begin < end and start < stop for begin, stop in self.runs):
            return Refused("incomplete", f"{detail}; there is a hole of zeros")
        return Refused("damaged", detail)
