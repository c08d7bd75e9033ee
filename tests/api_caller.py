"""A project's client by itself, without the service around it, and invoices for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from invoicedrop.channable.client import ApiClient
from invoicedrop.channable.project import Project
from invoicedrop.channable.rate_limit import RateLimiter
from invoicedrop.circuit_breaker import CircuitBreaker
from invoicedrop.errors import ConfigError
from invoicedrop.inbox.snapshot import Snapshot, take_snapshot
from invoicedrop.system.addresses import is_public
from invoicedrop.system.network import DIRECT, Network
from invoicedrop.timing import DEFAULT_TIMING, Timing

_MAX_BYTES = 100 << 20


class Caller:
    """A project with its client, token, rate limiter and circuit breaker, and each detail that the breaker reported."""

    def __init__(
        self,
        url: str,
        *,
        token: str = "sandbox-token",
        project_id: int = 2001,
        timeout: float = 5.0,
        rate: float = 0,
        timing: Timing = DEFAULT_TIMING,
        is_public: Callable[[str], bool] = is_public,
        network: Network = DIRECT,
    ) -> None:
        self.token = token
        self.tokens_read = 0
        self.details: list[str | None] = []
        self.rate_limiter = RateLimiter(rate, 1, timing=timing)
        self.breaker = CircuitBreaker(lambda detail, _seconds: self.details.append(detail), timing=timing)
        self.client = ApiClient.open(
            url,
            self._read_token,
            self.rate_limiter,
            request_timeout=timeout,
            connections=4,
            is_public=is_public,
            network=network,
        )
        self.project = Project(self.client, 1001, project_id, self.breaker)

    def _read_token(self) -> str:
        self.tokens_read += 1
        if not self.token:
            raise ConfigError(["api_token_file: the file is empty"])
        return self.token


@contextmanager
def caller_of(url: str, **options: Any) -> Iterator[Caller]:
    """Return a caller of the API at `url` while the block runs."""
    caller = Caller(url, **options)
    try:
        yield caller
    finally:
        caller.client.close()


@contextmanager
def invoice_of(content: bytes, folder: Path) -> Iterator[Snapshot]:
    """Return content as it comes from a dropped file."""
    path = folder / "invoice.pdf"
    path.write_bytes(content)
    with invoice_in(path) as invoice:
        yield invoice


def invoice_in(path: Path) -> Snapshot:
    """Return a file as it is read from the drop folder."""
    return take_snapshot(path, _MAX_BYTES)
