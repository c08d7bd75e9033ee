"""One step of an invoice's way, as the ledger keeps it: what happened when, and why.

Steps are written with the change of the entry that they explain, in one transaction, and kept as long as the entry. A
step that is repeated (a try, or a deferral for the same reason) is one row that counts: an outage of days fills no
ledger. What a person does by moving an invoice back begins a new round, with rows of its own.
"""

import re
import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from invoicedrop.printable import storable

_MOST_WORDS: Final = 500
"""Characters of a step's words that are kept."""
_VARIABLE: Final = re.compile(r"\w*\d\w*")
"""What differs from try to try in the words of one reason: numbers, times, the ids of requests."""


class StepKind(StrEnum):
    """What happened; the words of a step say more."""

    FOUND = "found"
    """Its file was found in the drop folder, under the name that the words are."""
    RETRIED = "retried"
    """A person moved it back from the failed folder; the words are the reasons that this waives."""
    WAITED = "waited"
    """It waited with all others of its inbox, for what the words say, until `last_at`."""
    CHECKED = "checked"
    """The PDF passed its check."""
    ORDER_SEEN = "order_seen"
    """The order was looked at: channel, status, how many invoices it has."""
    SENT = "sent"
    """A try to upload it began."""
    NOT_TAKEN = "not_taken"
    """That try was certainly not taken."""
    DEFERRED = "deferred"
    """It was put off."""
    ASKED = "asked"
    """In doubt, the order was looked at, and does not have it so far."""
    ACCEPTED = "accepted"
    """There is a receipt; the words say how, where it was not the answer to an upload."""
    FILED = "filed"
    """It was moved to the processed folder, as the words say; without words, somebody had taken it away."""
    DUPLICATE = "duplicate"
    """The same PDF came again, under the name that the words are, and was filed without being sent."""
    REJECTED = "rejected"
    """It cannot be sent: the reason, and its words."""
    FAILED = "failed"
    """It was moved to the failed folder, as the words say."""
    CONFIRMED = "confirmed"
    """The order shows it, and no trouble."""
    QUESTIONED = "questioned"
    """The order shows trouble; its words, which may name people, are in the entry."""


_FOR_EACH_REASON: Final = frozenset({StepKind.DEFERRED, StepKind.NOT_TAKEN, StepKind.ORDER_SEEN, StepKind.WAITED})
"""Steps that are told apart by their words, but for what differs from try to try."""
_FOR_EACH_NAME: Final = frozenset({StepKind.FOUND, StepKind.DUPLICATE})
"""Steps that are told apart by all of their words. The others happen once in a round, or are counted."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step. Times are seconds since the epoch: when it first happened, and when last, if it happened `times`.

    `round` counts how often a person had moved the invoice back before.
    """

    kind: StepKind
    at: float
    words: str | None = None
    times: int = 1
    last_at: float | None = None
    round: int = 0


def values_of_step(step: Step, round_number: int) -> dict[str, Any]:
    """Return what a step's row holds, by column; the invoice's id is the database's."""
    words = None if step.words is None else storable(step.words)[:_MOST_WORDS]
    return {
        "kind": step.kind,
        "at": step.at,
        "last_at": step.last_at,
        "words": words,
        "round": round_number,
        "alike": _alike(step.kind, words),
    }


def _alike(kind: StepKind, words: str | None) -> int:
    """Return a number that is the same for steps that are counted together."""
    if kind in _FOR_EACH_REASON:
        words = _VARIABLE.sub("#", words or "")
    elif kind not in _FOR_EACH_NAME:
        words = None
    return zlib.crc32((words or "").encode())
