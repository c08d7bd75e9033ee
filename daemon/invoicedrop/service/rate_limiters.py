"""One rate limiter for each company, however many inboxes it has; the ledger remembers its bucket across a restart."""

import time

from invoicedrop.channable.rate_limit import RateLimiter
from invoicedrop.ledger.ledger import BucketLevel, Ledger
from invoicedrop.settings.models import Inbox
from invoicedrop.timing import DEFAULT_TIMING, Timing


def remembered_limiter(inbox: Inbox, ledger: Ledger | None, timing: Timing = DEFAULT_TIMING) -> RateLimiter:
    """Return a rate limiter that starts with the level of the company's bucket that the ledger remembers.

    Raises:
        LedgerUnavailable: the ledger cannot be read now.

    """
    limiter = RateLimiter(inbox.requests_per_second, inbox.burst, timing=timing)
    bucket = ledger.bucket(inbox.account) if ledger is not None else None
    if bucket is not None:
        limiter.restore(*bucket)
    return limiter


class RateLimiters:
    """The rate limiters of all companies, by account. Every method may raise LedgerUnavailable, but for `close`."""

    def __init__(self, ledger: Ledger, timing: Timing) -> None:
        self._ledger = ledger
        self._timing = timing
        self._limiters: dict[str, RateLimiter] = {}
        self._reserved_until: dict[str, float] = {}  # by the monotonic clock

    def limiter_of(self, inbox: Inbox) -> RateLimiter:
        """Return the rate limiter of the inbox's company; a new one begins with what the ledger remembers."""
        if inbox.account not in self._limiters:
            self._limiters[inbox.account] = remembered_limiter(inbox, self._ledger, self._timing)
        return self._limiters[inbox.account]

    def reserve(self, inbox: Inbox) -> None:
        """Write down, before the bucket is used, that it may be full, so that a crash does not spend it twice."""
        now = time.monotonic()
        if inbox.requests_per_second <= 0 or self._reserved_until.get(inbox.account, now) > now:
            return
        ahead = self._timing.bucket_ahead
        self._ledger.remember_bucket(inbox.account, BucketLevel(float(inbox.burst), time.time() + ahead))
        self._reserved_until[inbox.account] = now + ahead

    def close(self) -> None:
        """Let nothing new leave: whoever waits for a rate limit is woken by an error."""
        for limiter in self._limiters.values():
            limiter.close()

    def save(self) -> None:
        """Write down what is in each bucket now."""
        for account, limiter in self._limiters.items():
            self._ledger.remember_bucket(account, BucketLevel(*limiter.level()))
