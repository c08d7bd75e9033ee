"""Whether a file has a hole outside of its streams (those are checked in `streams`, each by what its coding allows)."""

from invoicedrop.pdf.check.holes import HOLE, outside_strings, runs_of_zeros
from invoicedrop.pdf.check.objects import Piece
from invoicedrop.pdf.check.structure import Layout
from invoicedrop.pdf.check.verdict import Refused


def check_holes(layout: Layout) -> None:
    """Refuse runs of zeros in objects (but in their strings), in tables, and in what is encrypted.

    Between objects that are all where the tables say, they are something that the generator left there.

    Raises:
        Refused: there is one.

    """
    seen = -1
    for run in layout.holes.runs:
        piece = layout.piece_at(run[0])
        if run[0] >= layout.end:
            return
        if piece is not None and run[0] < piece.body_end:
            if piece.start != seen:
                seen = piece.start
                check_object_hole(layout, piece, HOLE)
        elif (where := _hole(layout, piece, run[0])) is not None:
            raise Refused("incomplete", f"{where} has a hole of {run[1] - run[0]} zeros at {run[0]}")


def check_object_hole(layout: Layout, piece: Piece, shortest: int) -> None:
    """Refuse a run of zeros between the tokens of an object, of `shortest` or more.

    Raises:
        Refused: there is one.

    """
    runs = runs_of_zeros(layout.data, piece.body, piece.body_end, shortest)
    for start, end in outside_strings(layout.data, piece.body, piece.body_end, runs):
        raise Refused("incomplete", f"object {piece.number} has a hole of {end - start} zeros at {start}")


def _hole(layout: Layout, piece: Piece | None, at: int) -> str | None:
    """Return in what a run of zeros at `at`, outside of the tokens of objects, is a hole; None if it may be right."""
    if piece is not None and piece.dictionary is not None and piece.stream <= at < piece.stream_end:
        encrypted = layout.encrypted and piece.dictionary.get("Type") != "XRef"
        return f"object {piece.number}" if encrypted else None
    if any(section.start <= at < section.end for section in layout.sections):
        return "a cross-reference table"
    return None if layout.exact else "the part between two objects"
