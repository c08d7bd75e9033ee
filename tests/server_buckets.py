"""The rate limits of several servers, as models: 4 requests a second and 200 at once, each counted in its own way.

`take` puts the request of a moment (in seconds) into the bucket and returns whether it was let in.
"""

import math
from collections.abc import Callable
from typing import Protocol

RATE, BURST = 4.0, 200


class Bucket(Protocol):
    """A server's rate limit."""

    def take(self, now: float) -> bool:
        """Return whether a request that arrives now is let in."""


class Documented:
    """A leaky bucket as the API's document tells of it: what is refused adds nothing."""

    def __init__(self) -> None:
        self._level = 0.0
        self._leaked_at = 0.0

    def leaked(self, seconds: float) -> float:
        """Return how many drops leak in that time."""
        return RATE * seconds

    def take(self, now: float) -> bool:
        """Return whether a request that arrives now is let in."""
        level = max(0.0, self._level - self.leaked(now - self._leaked_at))
        if level + 1 > BURST + 1e-6:
            return False
        self._level, self._leaked_at = level + 1, now
        return True


class WholeDrops(Documented):
    """The bucket of the vendor's wai-middleware-rate-limit (Network.Wai.Middleware.RateLimit.LeakyBucket).

    Only whole drops leak, and each request that is let in sets its clock to now: the fraction is forgotten.
    """

    def leaked(self, seconds: float) -> float:
        """Return how many drops leak in that time."""
        return math.floor(RATE * seconds + 1e-9)


class Nginx(Documented):
    """nginx's `limit_req` with `rate=4r/s`, `burst=200 nodelay` (ngx_http_limit_req_module.c): milliseconds."""

    def take(self, now: float) -> bool:
        """Return whether a request that arrives now is let in; one more than `burst` fits, the first is free."""
        now = math.floor(now * 1000) / 1000
        excess = max(0.0, self._level - RATE * (now - self._leaked_at) + 1) if self._leaked_at else 0.0
        if excess > BURST:
            return False
        self._level, self._leaked_at = excess, now
        return True


class HAProxy:
    """HAProxy's `http_req_rate(50s) gt 200` (freq_ctr.h): this period's requests and a share of the last one's.

    What is refused counts as well.
    """

    def __init__(self) -> None:
        self._period = BURST / RATE
        self._began = 0.0
        self._last = self._current = 0

    def take(self, now: float) -> bool:
        """Return whether a request that arrives now is let in."""
        periods = math.floor((now - self._began) / self._period)
        if periods:
            self._last, self._current = self._current if periods == 1 else 0, 0
            self._began = self._began + self._period if periods == 1 else now
        self._current += 1
        left = 1 - (now - self._began) / self._period
        return self._last * left + self._current <= BURST


SERVERS: dict[str, Callable[[], Bucket]] = {
    "documented": Documented,
    "whole drops": WholeDrops,
    "nginx": Nginx,
    "haproxy": HAProxy,
}
