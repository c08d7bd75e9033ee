"""How a command (not the daemon) reaches the ledger and the API: beside a daemon that may be at work on both.

A command draws on the same bucket at Channable as the daemon, so it begins with what the ledger remembers of it, and
where the daemon has the better claim (HTTP 429) the command waits instead of failing.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from invoicedrop.channable.client import ApiClient, ApiResponse
from invoicedrop.channable.project import Project
from invoicedrop.channable.rate_limit import RateLimiter
from invoicedrop.circuit_breaker import CircuitBreaker
from invoicedrop.errors import LedgerUnavailable, Paused, Unanswered
from invoicedrop.ledger.ledger import BucketLevel, Ledger
from invoicedrop.logs import hide
from invoicedrop.settings.load import token_reader
from invoicedrop.settings.models import Inbox, Settings
from invoicedrop.system import permissions
from invoicedrop.timing import Timing

LEDGER: Final = "ledger.sqlite3"
"""The ledger's name in `state_dir` (outside contract)."""
_PATIENCE: Final = 120.0
"""Seconds that a command waits in all, for one request, while others use up the company's rate limit."""
_TIMING: Final = Timing(first_probe=0.5)
"""Seconds of the first such wait, where the API names none."""
_MARGIN: Final = 0.01
"""Seconds added to a wait, so that it is over when we come back."""
_RateLimiterT = TypeVar("_RateLimiterT", bound=RateLimiter)


@contextmanager
def existing_ledger(settings: Settings) -> Iterator[Ledger | None]:
    """Open the ledger, if there is one; a command never makes it.

    Raises:
        LedgerUnavailable: there is one, but it cannot be used by this user, or not now.
        ConfigError: a newer program wrote it.

    """
    path = settings.state_dir / LEDGER
    if not _is_there(path):
        yield None
        return
    with Ledger(settings.state_dir) as ledger:
        yield ledger


def _is_there(path: Path) -> bool:
    try:
        owner = path.stat().st_uid
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError as error:
        raise LedgerUnavailable(permissions.explained(path.parent, error).sentence) from error
    except OSError as error:
        raise LedgerUnavailable(f"{path} cannot be used: {error.strerror}") from error
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        name = permissions.user_name(owner)
        raise LedgerUnavailable(
            f"{path} belongs to {name} and we run as {permissions.ourselves()}: "
            f"run this command as that user (sudo -u {name} invoicedrop ...)"
        )
    return True


def new_rate_limiter(inbox: Inbox, ledger: Ledger | None) -> RateLimiter:
    """Return a throttle for a command that begins with what is in the company's bucket already.

    Raises:
        LedgerUnavailable: the ledger cannot be read now.

    """
    return _begun(RateLimiter(inbox.requests_per_second, inbox.burst), inbox, ledger)


@contextmanager
def open_project(inbox: Inbox, ledger: Ledger | None) -> Iterator[Project]:
    """Reach the Channable project of `inbox`, for reading; the token is kept out of the log.

    What asking it raises, `connection` tells at its top; `trouble` puts that into words.

    Raises:
        LedgerUnavailable: the ledger cannot be read now.

    """
    rate_limiter = _begun(_CountingRateLimiter(inbox.requests_per_second, inbox.burst), inbox, ledger)
    client = _PatientClient(inbox, rate_limiter)
    try:
        breaker = CircuitBreaker(lambda _detail, _seconds: None, timing=_TIMING)
        yield Project(client, inbox.company_id, inbox.project_id, breaker)
    finally:
        client.close()
        if ledger is not None and inbox.requests_per_second > 0:
            with suppress(LedgerUnavailable):
                _remember(rate_limiter, inbox, ledger)


def trouble(project: Project, error: Paused | Unanswered) -> str:
    """Say in words for a person why the API could not be asked."""
    return project.breaker.detail or error.detail


class _CountingRateLimiter(RateLimiter):
    """Counts the refusals, which is how a 429 can be told from every other reason to pause."""

    refusals = 0

    def refused(self, retry_after: float | None) -> float:
        self.refusals += 1
        return super().refused(retry_after)


class _PatientClient(ApiClient):
    """Waits where the rate limit is used up: a list of a thousand orders is not given up for that."""

    def __init__(self, inbox: Inbox, rate_limiter: _CountingRateLimiter) -> None:
        super().__init__(
            inbox.api_url, token_reader(inbox, hide), rate_limiter, request_timeout=inbox.request_timeout, connections=1
        )
        self._counting = rate_limiter

    def request(self, method: str, path: str, *, breaker: CircuitBreaker, **options: Any) -> ApiResponse:
        deadline = time.monotonic() + _PATIENCE
        while True:
            refusals = self._counting.refusals
            try:
                return super().request(method, path, breaker=breaker, **options)
            except Paused:
                wait = breaker.until - time.monotonic()
                if self._counting.refusals == refusals or time.monotonic() + wait > deadline:
                    raise
                time.sleep(max(0.0, wait) + _MARGIN)


def _begun(rate_limiter: _RateLimiterT, inbox: Inbox, ledger: Ledger | None) -> _RateLimiterT:
    remembered = ledger.bucket(inbox.account) if ledger is not None else None
    if remembered is not None:
        rate_limiter.restore(*remembered)
    return rate_limiter


def _remember(rate_limiter: RateLimiter, inbox: Inbox, ledger: Ledger) -> None:
    """Write down what this command has put into the bucket, for the next command and the next start of the daemon."""
    remembered = ledger.bucket(inbox.account)
    if remembered is not None:
        if remembered.at > time.time():
            # The daemon is at work and has said that it may be full: no more can be said.
            return
        rate_limiter.restore(*remembered)
    ledger.remember_bucket(inbox.account, BucketLevel(*rate_limiter.level()))
