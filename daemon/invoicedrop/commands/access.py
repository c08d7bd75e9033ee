"""How a command (not the daemon) reaches the ledger and the API: beside a daemon that may be at work on both.

A command uses the same bucket at Channable as the daemon, so it starts with the level that the ledger remembers, and
where the rate limit is used up (HTTP 429) it waits instead of failing.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from invoicedrop.channable.client import ApiClient
from invoicedrop.channable.project import Project
from invoicedrop.channable.rate_limit import RateLimiter
from invoicedrop.circuit_breaker import CircuitBreaker
from invoicedrop.errors import LedgerUnavailable, Paused, Unanswered
from invoicedrop.ledger.buckets import BucketLevel
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.logs import hide
from invoicedrop.service.rate_limiters import remembered_limiter
from invoicedrop.settings.inbox import Inbox
from invoicedrop.settings.load import token_reader
from invoicedrop.timing import Timing

TIMING: Final = Timing(first_probe=0.5)
"""A person waits for a command: its first probe comes sooner than the daemon's."""


@contextmanager
def open_project(inbox: Inbox, ledger: Ledger | None, *, timing: Timing = TIMING) -> Iterator[Project]:
    """Reach the Channable project of `inbox`, for reading; the token is kept out of the log.

    A read waits while the company's rate limit is used up. `trouble` puts what it raises into words.

    Raises:
        LedgerUnavailable: the ledger cannot be read now.

    """
    rate_limiter = remembered_limiter(inbox, ledger)
    client = ApiClient.open(
        inbox.api_url,
        token_reader(inbox, hide),
        rate_limiter,
        request_timeout=inbox.request_timeout,
        connections=1,
        network=inbox.network,
    )
    breaker = CircuitBreaker(lambda _detail, _seconds: None, timing=timing)
    try:
        yield Project(client, inbox.company_id, inbox.project_id, breaker, patience=timing.rate_limit_patience)
    finally:
        client.close()
        if ledger is not None and not ledger.is_shared and inbox.requests_per_second > 0:
            with suppress(LedgerUnavailable):
                _remember(rate_limiter, inbox, ledger)


def trouble(project: Project, error: Paused | Unanswered) -> str:
    """Return why the API could not be asked, in words for a person."""
    return project.breaker.detail or error.detail


def _remember(rate_limiter: RateLimiter, inbox: Inbox, ledger: Ledger) -> None:
    """Write down the level of the bucket, for the next command and the next start of the daemon."""
    remembered = ledger.buckets.level(inbox.account)
    if remembered is not None:
        if 0 < remembered.at - time.time() <= TIMING.bucket_ahead:
            # The daemon is at work and has written down that it may be full: that covers this command's share.
            return
        rate_limiter.restore(*remembered)
    ledger.buckets.remember(inbox.account, BucketLevel(*rate_limiter.level()))
