"""How long an invoice waits that conflicts with its order's state (HTTP 409): a twin is still being handled, perhaps.

It is tried again after its own backoff, for an hour or somewhat more; then it is refused. How long it has waited is
told by the ledger alone, by the last delay and what it was for: each is twice the one before, so that all of them
together are twice the last one. So neither a restart nor a clock that is set makes it shorter or longer.
"""

from typing import Final

from invoicedrop.ledger.ledger import Entry
from invoicedrop.timing import Timing

_WORDS: Final = "the order is not ready for this invoice"


def in_words(detail: str) -> str:
    """Return the detail of such a deferral, by which the next try knows it in the ledger."""
    return f"{_WORDS}: {detail}"


def next_delay(entry: Entry, timing: Timing) -> float | None:
    """Return the delay of an invoice that has met a conflict once more; None if it has waited long enough."""
    if not (entry.detail or "").startswith(_WORDS) or entry.delay <= 0:
        return timing.first_retry
    waited = 2 * entry.delay - timing.first_retry
    return None if waited >= timing.conflict_patience else 2 * entry.delay
