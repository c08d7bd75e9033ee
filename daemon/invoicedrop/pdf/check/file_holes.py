"""Whether a file has a hole outside of its streams (those are checked in `streams`, each by what its coding allows)."""

from invoicedrop.pdf.check.holes import SMALL_HOLE, in_a_string, runs_of_zeros
from invoicedrop.pdf.check.objects import Piece
from invoicedrop.pdf.check.structure import Layout
from invoicedrop.pdf.check.verdict import Refused


def check_holes(layout: Layout) -> None:
    """Refuse runs of zeros in objects (but in their strings), in tables, and in what is encrypted.

    Between objects that are all where the tables say, they are something that the generator left there.

    Raises:
        Refused: there is one.

    """
    for run in layout.holes.runs:
        if run[0] < layout.end and (where := _hole(layout, run)) is not None:
            raise Refused("incomplete", f"{where} has a hole of {run[1] - run[0]} zeros at {run[0]}")


def check_object_hole(layout: Layout, piece: Piece) -> None:
    """Refuse a smaller run of zeros between the tokens of an object that a page needs.

    Raises:
        Refused: there is one.

    """
    for run in runs_of_zeros(layout.data, piece.body, piece.body_end, SMALL_HOLE):
        if not in_a_string(layout.data, piece.body, piece.body_end, run):
            raise Refused("incomplete", f"object {piece.number} has a hole of {run[1] - run[0]} zeros at {run[0]}")


def _hole(layout: Layout, run: tuple[int, int]) -> str | None:
    """Return in what a run of zeros is a hole; None if it may be right."""
    at = run[0]
    piece = layout.piece_at(at)
    if piece is not None and piece.dictionary is not None and piece.stream <= at < piece.stream_end:
        encrypted = layout.encrypted and piece.dictionary.get("Type") != "XRef"
        return f"object {piece.number}" if encrypted else None
    if piece is not None and at < piece.body_end:
        is_text = in_a_string(layout.data, piece.body, piece.body_end, run)
        return None if is_text else f"object {piece.number}"
    if any(section.start <= at < section.end for section in layout.sections):
        return "a cross-reference table"
    return None if layout.exact else "the part between two objects"
