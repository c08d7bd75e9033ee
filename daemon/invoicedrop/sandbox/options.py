"""The options of a sandbox."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Orders = int | Sequence[int]
"""The orders of a project: a count (ids 1..n) or the ids themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a sandbox; times are in seconds, sizes in bytes.

    Attributes:
        host: a loopback address or `localhost`; anything else is refused, as nothing here is protected.
        port: 0 takes a free one. The download host always takes a free one.
        company_id: the company that every token belongs to.
        projects: the projects of that company.
        tokens: all of them are valid. The first is the one that is shown to the user.
        orders: a count (ids 1..n) or explicit ids, the same for each project; or a mapping from project to either.
        any_order: every positive id is an order, generated on demand, in addition to those of `orders`.
        rate, burst: Channable's leaky bucket, in requests a second and requests; rate 0 switches it off.
        latency: the delay of every answer.
        visible_after: how long a new attachment stays invisible.
        list_lag: how much longer than in its own order an attachment stays invisible in lists of orders.
        counts_all_orders: `total` of a list is the number of all orders that match; else, as in the vendor's
            examples, the number of orders on the page.
        reencodes: downloads of what is uploaded give other bytes.
        samples: the orders of `samples.SAMPLES` exist too, in the first project.
        url_lifetime: how long a download URL is valid.
        separate_download_host: download URLs have another origin (another port) than the API.
        max_body_bytes: a larger request is answered with 413.
        folder: where uploads are kept, even across restarts; None keeps them in memory.
        seed: for everything random (faults with a probability).

    Raises:
        ValueError: a value is impossible; the message says why.

    """

    host: str = "127.0.0.1"
    port: int = 0
    company_id: int = 1001
    projects: tuple[int, ...] = (2001,)
    tokens: tuple[str, ...] = ("sandbox-token",)
    orders: Orders | Mapping[int, Orders] = 100
    any_order: bool = False
    rate: float = 4.0
    burst: int = 200
    latency: float = 0.0
    visible_after: float = 0.0
    list_lag: float = 0.0
    counts_all_orders: bool = True
    reencodes: bool = False
    samples: bool = False
    url_lifetime: float = 300.0
    separate_download_host: bool = True
    max_body_bytes: int = 64 * 1024 * 1024
    folder: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.host != "localhost" and not _is_loopback(self.host):
            raise ValueError(f"the sandbox listens on loopback only, and {self.host!r} is no loopback address")
        if not self.projects:
            raise ValueError("a company needs at least one project")
        if not self.tokens or not all(self.tokens):
            raise ValueError("at least one token is needed, and none may be empty")
        if min(self.latency, self.visible_after, self.list_lag, self.url_lifetime) < 0:
            raise ValueError("times cannot be negative")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
