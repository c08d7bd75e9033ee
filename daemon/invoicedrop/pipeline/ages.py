"""How old an invoice's trouble is, although somebody may set the clock meanwhile.

The ledger keeps moments by the wall clock, the only one that outlives a process. What this process has watched itself
it knows by the monotonic clock, which nobody can set; so an age grows by no more than that while it runs. A clock that
jumps forward makes nothing overdue, and one that is set back keeps nothing for ever.
"""


def age(since: float, *, now: float, started: float, watched: float) -> float:
    """Return how long ago `since` was, in seconds.

    Args:
        since: a moment by the wall clock, perhaps of an earlier life of this service.
        now: the wall clock.
        started: the wall clock when this process started.
        watched: for how long this process has watched the invoice, by the monotonic clock.

    """
    if since > now:
        # Written by a clock that was ahead: only what was watched is known.
        return watched
    earlier = max(0.0, started - since)
    return min(now - since, earlier + watched)
