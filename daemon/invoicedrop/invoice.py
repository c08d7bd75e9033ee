"""What an invoice is to us: where its order's number comes from, its states and their moves, and the API's receipt."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

OrderIdKind = Literal["channable", "marketplace"]
"""Whose order number a file's name begins with."""


class State(StrEnum):
    """How far an invoice has come; the ledger's states."""

    RECEIVED = "received"
    """Seen, and certainly not sent."""
    UPLOADING = "uploading"
    """It may have reached the API: a request was about to leave, and no answer has settled what became of it."""
    UPLOADED = "uploaded"
    """The API has it; the file is still to be moved."""
    PROCESSED = "processed"
    """The end of a good invoice."""
    REJECTED = "rejected"
    """It can never pass; the file is still to be moved."""
    FAILED = "failed"
    """The end of a bad invoice, until a person moves it back."""


MOVES: Final[Mapping[State, frozenset[State]]] = MappingProxyType(
    {
        # Staying is a move, too: an invoice that is put off is written anew in its state.
        # To `uploaded` without `uploading`: the same bytes went to this order under another name.
        State.RECEIVED: frozenset({State.RECEIVED, State.UPLOADING, State.UPLOADED, State.REJECTED}),
        # Back to `received`, or `rejected`: the request was certainly not taken.
        State.UPLOADING: frozenset({State.RECEIVED, State.UPLOADING, State.UPLOADED, State.REJECTED}),
        State.UPLOADED: frozenset({State.PROCESSED}),
        State.PROCESSED: frozenset(),
        # On to `uploading` or `uploaded`: another copy of it had passed its checks when this one was rejected.
        State.REJECTED: frozenset({State.UPLOADING, State.UPLOADED, State.REJECTED, State.FAILED}),
        # A person moved it back. Straight to `rejected`: its name, or its size, says so without reading it.
        State.FAILED: frozenset({State.RECEIVED, State.UPLOADING, State.REJECTED}),
    }
)
"""From each state the states that may come next; the ledger writes no others."""


class IllegalMoveError(RuntimeError):
    """An invoice was to go where its state does not lead: a mistake in this program, so no caller expects it."""


def require_legal_move(before: State, after: State) -> None:
    """Raise IllegalMoveError unless `after` may follow `before`."""
    if after not in MOVES[before]:
        raise IllegalMoveError(f"an invoice cannot go from {before} to {after}")


@dataclass(frozen=True, slots=True)
class Receipt:
    """The API's word that it took an invoice: its attachment id, and the message of a warning, if any."""

    attachment_id: int
    message: str | None = None
