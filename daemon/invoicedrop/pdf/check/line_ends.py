"""Line ends that have been converted where nothing has moved by it, or nothing that matters.

A conversion that changes the length of a file shows in the places of its objects (`moves`) and in what cannot be
decompressed. What is left is a file of which only the table had CR LF, and one where each CR has become an LF, or the
reverse, in data that has no checksum.
"""

from collections import Counter
from typing import Final

from invoicedrop.pdf.check.filters import DCT, filters_of
from invoicedrop.pdf.check.structure import Layout
from invoicedrop.pdf.check.verdict import Refused

_SAMPLE: Final = 65_536
_OFTEN: Final = 8
"""How often each byte but one occurs in data so long that, by chance, that one is missing in one file of a million."""


def check_line_ends(layout: Layout, *, claims_pdfa: bool) -> None:
    """Refuse a file of which line ends have been converted.

    Raises:
        Refused: they have.

    """
    # Nothing that a viewer shows is wrong; but who writes PDF/A writes a table with line ends of two bytes.
    if (claims_pdfa and _lost_carriage_returns(layout)) or _one_became_the_other(layout):
        raise Refused("damaged", "its line ends have been converted, as by a transfer in text mode")


def _lost_carriage_returns(layout: Layout) -> bool:
    """Whether it looks as if every CR LF had become an LF; careless writers make such files, too."""
    short_entries = any(section.short for section in layout.sections)
    return not layout.exact and short_entries and layout.data.find(b"\r\n") < 0


def _one_became_the_other(layout: Layout) -> bool:
    """Whether data that looks random (encrypted, or a JPEG picture) has every byte often, but only one of CR and LF."""
    if layout.data.find(b"\r") >= 0 <= layout.data.find(b"\n"):
        return False
    counts: Counter[int] = Counter()
    left = _SAMPLE
    for piece in layout.pieces:
        dictionary = piece.dictionary or {}
        if (layout.encrypted and dictionary.get("Type") != "XRef") or DCT & set(filters_of(dictionary)[:1]):
            counts.update(layout.data[piece.stream : min(piece.stream_end, piece.stream + left)])
            left -= min(left, piece.stream_end - piece.stream)
    return len(counts) == 255 and min(counts.values()) >= _OFTEN  # noqa: PLR2004 - all bytes but one
