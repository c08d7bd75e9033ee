"""How long a conflict is waited for."""

from dataclasses import replace
from itertools import pairwise

from invoicedrop.ledger.ledger import Entry
from invoicedrop.pipeline.conflicts import in_words, next_delay
from invoicedrop.timing import DEFAULT_TIMING

_ENTRY = Entry(
    account="a", project_id=1, reference="8", sha256="ab" * 32, inbox="i", file="8.pdf", size=1, first_seen=0.0
)


def test_all_waits_together_are_an_hour_at_least() -> None:
    """Each wait is twice the one before, the first as of any trouble; together they are between one and two hours."""
    waits: list[float] = []
    entry = _ENTRY
    while (delay := next_delay(entry, DEFAULT_TIMING)) is not None:
        waits.append(delay)
        entry = replace(entry, delay=delay, detail=in_words("HTTP 409"))
    assert waits[0] == DEFAULT_TIMING.first_retry
    assert all(after == 2 * before for before, after in pairwise(waits))
    assert 3600 <= sum(waits) <= 7200


def test_what_was_waited_for_something_else_does_not_count() -> None:
    """After another trouble, however long, the hour begins with the conflict."""
    entry = replace(_ENTRY, delay=900.0, detail="HTTP 500 Internal Server Error")
    assert next_delay(entry, DEFAULT_TIMING) == DEFAULT_TIMING.first_retry
