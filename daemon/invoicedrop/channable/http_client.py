"""The httpx client that everything is sent with: it keeps no cookies and asks the environment nothing."""

from http.cookiejar import CookieJar
from typing import Any

import httpx

from invoicedrop import __version__


class _NoCookies(CookieJar):
    """Takes no cookie, so that there is none to send.

    httpx keeps cookies by default. The API's are for browsers; what a box in between sets would tie our requests
    together, and could reach a download host.
    """

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Leave the cookies of a response where they are."""


def http_client(transport: httpx.BaseTransport) -> httpx.Client:
    """Return a client that sends by this transport."""
    return httpx.Client(
        transport=transport,
        headers={"User-Agent": f"invoicedrop/{__version__}"},
        cookies=_NoCookies(),
        trust_env=False,
    )
