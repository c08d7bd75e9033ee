"""An httpx transport that keeps a total deadline, and knows whether a request can have arrived.

httpx limits each single socket operation, not the whole: a server that sends one byte a second is never late for it.
Here every socket operation gets what is left of the request's own deadline (`streams`). This is done in httpcore's
network backend (https://www.encode.io/httpcore/network-backends/), the documented place for it, and not by a timer
that closes connections under httpx, which leaks pool slots.
"""

import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Self
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from invoicedrop.channable.destinations import Destinations, refusal_of
from invoicedrop.channable.streams import OpenStreams, Progress, Stream
from invoicedrop.channable.upload_progress import UploadProgress
from invoicedrop.system.loopback import is_loopback

UPLOAD: Final = "upload"
"""The extension of a request, an `UploadProgress`, that makes it an upload."""
_KEEPALIVE_EXPIRY: Final = 5.0
"""Seconds; a connection idle for longer may have been closed by the server just as we send on it."""
_ERRORS: Final = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
    OSError,
)
_DESCRIPTIONS: Final = {
    httpcore.ConnectTimeout: "no connection in time",
    httpcore.ReadTimeout: "no answer in time",
    httpcore.WriteTimeout: "the request could not be sent in time",
}


class NotSent(httpx.TransportError):
    """The request failed before its first byte left: it was certainly not taken."""


class MaybeSent(httpx.TransportError):
    """The request failed after sending began: it may or may not have been taken."""


class PoolExhausted(NotSent):
    """No connection became free in time: slots have leaked, the pool has to be built anew."""


class _Backend(httpcore.SyncBackend):
    """Connects to the addresses of a host that `allows(host, address)` lets through, all if it is None."""

    def __init__(
        self,
        progress: Progress,
        streams: OpenStreams,
        allows: Callable[[str, str], bool] | None,
        *,
        tls: bool,
    ) -> None:
        self._progress = progress
        self._streams = streams
        self._allows = allows
        self._tls = tls

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("the host has no address")
        addresses = _addresses(host, port)
        if self._allows is not None and addresses:
            # What is judged is what is connected to: the name is not resolved again.
            addresses = [address for address in addresses if self._allows(host, address)]
            failure = httpcore.ConnectError(refusal_of(host))
        for tried, address in enumerate(addresses):
            # One by one: the time is for all addresses of a host together, and none of them may use it up.
            share = self._progress.remaining(timeout) / (len(addresses) - tried)
            try:
                stream = super().connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return Stream(stream, self._progress, self._streams, to_api=not self._tls).tracked()
        raise failure


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Iterable[bytes]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except _ERRORS as error:
            raise MaybeSent(_describe(error)) from error

    def close(self) -> None:
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()


class DeadlineTransport(httpx.BaseTransport):
    """Sends each request within `total` seconds, from its start to the last byte of the response.

    An upload (`UPLOAD`) has `total` seconds from the last byte that left or came, and a total of its own (`Progress`).
    `connections` must be at least as many as there are threads, for each host: with fewer, httpcore 1.0.9 closes some
    that are in use. `ssl_context` and `proxy` are for the one origin that most requests go to; see `to`.
    `destinations` are where requests may go; without them, anywhere. Not `keep_alive`: each request gets a connection
    of its own.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext | None,
        proxy: httpcore.Proxy | None,
        *,
        total: float,
        connections: int,
        destinations: Destinations | None = None,
        keep_alive: bool = True,
    ) -> None:
        self._ssl_context = ssl_context
        self._proxy = proxy
        self._total = total
        self._connections = connections
        self._destinations = destinations
        self._keep_alive = keep_alive
        self._progress = Progress()
        self._streams = OpenStreams()
        self._pool = self._new_pool()

    @classmethod
    def to(cls, base_url: str, *, total: float, connections: int) -> Self:
        """Return a transport to this origin, with the machine's certificates and the proxy of the environment."""
        ssl_context = httpx.create_ssl_context() if base_url.startswith("https:") else None
        return cls(ssl_context, _proxy_for(base_url), total=total, connections=connections)

    def restricted(self, destinations: Destinations, *, connections: int) -> Self:
        """Return a transport like this one, with connections of its own, that goes to these destinations only."""
        return type(self)(
            self._ssl_context, self._proxy, total=self._total, connections=connections, destinations=destinations
        )

    def without_keep_alive(self) -> Self:
        """Return a transport like this one that makes a connection for each request."""
        return type(self)(
            self._ssl_context, self._proxy, total=self._total, connections=self._connections, keep_alive=False
        )

    def _new_pool(self) -> httpcore.ConnectionPool:
        # A proxy is where its administrator says.
        allows = None if self._destinations is None or self._proxy is not None else self._destinations.allows
        return httpcore.ConnectionPool(
            ssl_context=self._ssl_context,
            proxy=self._proxy,
            max_connections=self._connections,
            max_keepalive_connections=None if self._keep_alive else 0,
            keepalive_expiry=_KEEPALIVE_EXPIRY,
            network_backend=_Backend(self._progress, self._streams, allows, tls=self._ssl_context is not None),
        )

    def rebuild(self) -> None:
        """Start over with a new pool: what leaked from the old one is gone with it."""
        old, self._pool = self._pool, self._new_pool()
        old.close()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the response's body is read under the same deadline, in the same thread."""
        if self._destinations is not None:
            refusal = self._destinations.refusal(request.url.scheme, request.url.raw_host.decode())
            if refusal is not None:
                raise NotSent(refusal)
        upload = request.extensions.get(UPLOAD) or UploadProgress(self._total, self._total)
        assert isinstance(upload, UploadProgress)
        self._progress.begin(self._total, upload)
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        try:
            response = self._pool.handle_request(
                httpcore.Request(
                    method=request.method,
                    url=url,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions={"timeout": {"pool": self._total}},
                )
            )
        except httpcore.PoolTimeout as error:
            raise PoolExhausted("no free connection") from error
        except (*_ERRORS, UnicodeError) as error:
            kind = MaybeSent if self._progress.sending else NotSent
            raise kind(_describe(error)) from error
        assert isinstance(response.stream, Iterable)  # the synchronous pool gives synchronous streams
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(response.stream),
            extensions=dict(response.extensions),
        )

    def abort(self) -> None:
        """Break off every request that is under way: its thread gets an error at once."""
        self._streams.abort()

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


def _addresses(host: str, port: int) -> list[str]:
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"its name cannot be resolved: {error}") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


def _describe(error: BaseException) -> str:
    for kind, description in _DESCRIPTIONS.items():
        if isinstance(error, kind):
            return description
    return str(error) or type(error).__name__


def _proxy_for(url: str) -> httpcore.Proxy | None:
    """Return the proxy that the usual environment variables (HTTPS_PROXY, NO_PROXY) name for `url`."""
    parts = urlsplit(url)
    address = getproxies().get(parts.scheme)
    if not address or proxy_bypass(parts.netloc) or is_loopback(parts.hostname or ""):
        return None
    proxy = urlsplit(address if "://" in address else f"http://{address}")
    auth = (unquote(proxy.username), unquote(proxy.password or "")) if proxy.username else None
    port = proxy.port or (443 if proxy.scheme == "https" else 80)
    return httpcore.Proxy(f"{proxy.scheme}://{proxy.hostname}:{port}", auth=auth)
