"""Whether an answer comes from a cache, by its headers. Not every cache says so: nginx, for one, does not."""

import re
from typing import Final

import httpx

from invoicedrop.printable import printable

_HIT: Final = re.compile(r"\bhit\b", re.IGNORECASE)
_HITS: Final = ("cache-status", "x-cache", "x-cache-status", "x-proxy-cache", "cf-cache-status", "x-drupal-cache")
"""RFC 9211, and what Varnish's and nginx's examples, squid and content networks add."""
_MOST_DIGITS: Final = 9
_MAX_NAME: Final = 60
"""Characters kept of the name that a cache gives itself."""


def kept_by(headers: httpx.Headers) -> str | None:
    """Return what the cache calls itself that this answer comes from; None if nothing says that it comes from one."""
    age = headers.get("age", "").strip()[:_MOST_DIGITS]
    is_old = age.isdecimal() and int(age) > 0  # RFC 9111, 5.1
    # Varnish gives two numbers, this request's and that of the one which has filled its cache.
    is_kept = len(headers.get("x-varnish", "").split()) > 1
    if is_old or is_kept or any(_HIT.search(headers.get(name, "")) for name in _HITS):
        return printable(headers.get("via") or headers.get("server") or "no name")[:_MAX_NAME]
    return None
