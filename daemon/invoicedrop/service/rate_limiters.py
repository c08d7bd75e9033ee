"""One rate limiter for each company, however many inboxes it has; the ledger remembers its bucket across a restart."""

import threading
import time
from typing import Final

from invoicedrop.channable.rate_limit import RateLimiter, usable
from invoicedrop.ledger.buckets import BucketLevel
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.settings.inbox import Inbox
from invoicedrop.timing import DEFAULT_TIMING, Timing

_SHORTEST_WAIT: Final = 0.01


def remembered_limiter(inbox: Inbox, ledger: Ledger | None, timing: Timing = DEFAULT_TIMING) -> RateLimiter:
    """Return a rate limiter that starts with the level of the company's bucket that the ledger remembers.

    Raises:
        LedgerUnavailable: the ledger cannot be read now.

    """
    limiter = _new_limiter(inbox, ledger, timing)
    bucket = ledger.buckets.level(inbox.account) if ledger is not None else None
    if bucket is not None:
        limiter.restore(*bucket)
    return limiter


class SharedBucket:
    """A company's bucket in a shared ledger, which all daemons and commands use. Thread-safe.

    Room is taken for several requests at once (what is used in a second, at the most), so that not each costs a write.
    """

    def __init__(self, ledger: Ledger, inbox: Inbox, capacity: float) -> None:
        self._ledger = ledger
        self._account = inbox.account
        self._rate = inbox.requests_per_second
        self._capacity = capacity
        self._lock = threading.Lock()
        self._left = 0

    def take(self) -> float:
        """Take room for one request and return 0, or return the seconds until there may be some."""
        with self._lock:
            if self._left == 0:
                most = max(1, int(self._rate))
                self._left, level = self._ledger.buckets.take_room(self._account, most, self._rate, self._capacity)
                if self._left == 0:
                    return max(_SHORTEST_WAIT, (level + 1 - self._capacity) / self._rate)
            self._left -= 1
            return 0.0

    def fill(self) -> None:
        """The bucket is full, as the API says."""
        with self._lock:
            self._left = 0
        self._ledger.buckets.fill(self._account, self._capacity)


def _new_limiter(inbox: Inbox, ledger: Ledger | None, timing: Timing) -> RateLimiter:
    share = None
    if ledger is not None and ledger.is_shared and inbox.requests_per_second > 0:
        share = SharedBucket(ledger, inbox, usable(inbox.requests_per_second, inbox.burst, timing))
    return RateLimiter(inbox.requests_per_second, inbox.burst, timing=timing, share=share)


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
            # A shared ledger may not be reached yet, and says of each request whether there is room.
            make = _new_limiter if self._ledger.is_shared else remembered_limiter
            self._limiters[inbox.account] = make(inbox, self._ledger, self._timing)
        return self._limiters[inbox.account]

    def reserve(self, inbox: Inbox) -> None:
        """Write down, before the bucket is used, that it may be full, so that a crash does not spend it twice."""
        if self._ledger.is_shared:
            return
        now = time.monotonic()
        if inbox.requests_per_second <= 0 or self._reserved_until.get(inbox.account, now) > now:
            return
        ahead = self._timing.bucket_ahead
        self._ledger.buckets.remember(inbox.account, BucketLevel(float(inbox.burst), time.time() + ahead))
        self._reserved_until[inbox.account] = now + ahead

    def close(self) -> None:
        """Let nothing new leave: whoever waits for a rate limit is woken by an error."""
        for limiter in self._limiters.values():
            limiter.close()

    def save(self) -> None:
        """Write down what is in each bucket now."""
        if self._ledger.is_shared:
            return
        for account, limiter in self._limiters.items():
            self._ledger.buckets.remember(account, BucketLevel(*limiter.level()))
