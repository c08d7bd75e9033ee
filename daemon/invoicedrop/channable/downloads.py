"""Files whose address the API names: fetched without token and cookies, from where a download may lead only."""

from collections.abc import Callable
from typing import Final

import httpx

from invoicedrop.channable.http_client import http_client
from invoicedrop.channable.transport import DeadlineTransport, PoolExhausted
from invoicedrop.errors import Unanswered

_LONGEST_CHAIN: Final = 5
"""Requests for one file: an object store redirects once or twice."""


class Downloads:
    """Fetches files by this transport, whose destinations are judged for the first address and each redirect."""

    def __init__(self, transport: DeadlineTransport) -> None:
        self._transport = transport
        self._http = http_client(transport)

    def fetch(self, url: str, consume: Callable[[bytes], None], max_bytes: int) -> int:
        """Fetch `url`, handing its bytes to `consume`; return the HTTP status. It ends soon after `max_bytes`.

        Raises:
            Unanswered: it could not be fetched whole.

        """
        try:
            # Bytes are compared: they have to come as they are.
            request = self._http.build_request("GET", url, headers={"Accept-Encoding": "identity"})
            for _ in range(_LONGEST_CHAIN):
                # Redirects are followed here: httpx would first read the body of each, however large.
                response = self._http.send(request, stream=True)
                try:
                    if response.next_request is None:
                        return _consume(response, consume, max_bytes)
                    request = response.next_request
                finally:
                    response.close()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            if isinstance(error, PoolExhausted):
                self._transport.rebuild()
            raise Unanswered(f"download: {error}") from error
        raise Unanswered("download: redirected again and again")

    def abort(self) -> None:
        """Break off every download that is under way."""
        self._transport.abort()

    def close(self) -> None:
        """Close every connection."""
        self._http.close()


def _consume(response: httpx.Response, consume: Callable[[bytes], None], max_bytes: int) -> int:
    received = 0
    for chunk in response.iter_bytes():
        received += len(chunk)
        if response.is_success:
            consume(chunk)
        if received > max_bytes:
            break
    return response.status_code
