"""An httpx transport that keeps a total deadline, and knows whether a request can have arrived.

httpx limits each single socket operation, not the whole: a server that sends one byte a second is never late for it.
Here every socket operation gets what is left of the request's own deadline (`streams`). This is done in httpcore's
network backend (https://www.encode.io/httpcore/network-backends/), the documented place for it, and not by a timer
that closes connections under httpx, which leaks pool slots.
"""

import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final, Self

import httpcore
import httpx

from invoicedrop.channable import proxies
from invoicedrop.channable.destinations import Destinations, refusal_of
from invoicedrop.channable.dialing import Dialer
from invoicedrop.channable.handshake import HandshakeFailed, ProxyHandshakeFailed, TcpStream, tls_to_proxy
from invoicedrop.channable.resolving import Resolver
from invoicedrop.channable.streams import OpenStreams, Progress, Stream
from invoicedrop.channable.upload_progress import UploadProgress
from invoicedrop.system.network import DIRECT, Network, Proxy

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


class ProxyFailed(NotSent):
    """The proxy made no connection, so that nothing was sent; `problem` says why, `remedy` what a person can do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


class MaybeSent(httpx.TransportError):
    """The request failed after sending began: it may or may not have been taken."""


class PoolExhausted(NotSent):
    """No connection became free in time: slots have leaked, the pool has to be built anew."""


class _Backend(httpcore.SyncBackend):
    """Connects to the addresses of a host that `allows(host, address)` lets through, all if it is None.

    What it returns to httpcore of a proxy that is spoken to by TLS is the connection with TLS on it.
    """

    def __init__(
        self,
        progress: Progress,
        streams: OpenStreams,
        allows: Callable[[str, str], bool] | None,
        *,
        tls: bool,
        resolver: Resolver,
        dialer: Dialer,
        proxy: Proxy | None,
        ssl_context: ssl.SSLContext | None,
        certificates: Sequence[str],
    ) -> None:
        self._progress = progress
        self._streams = streams
        self._allows = allows
        self._tls = tls
        self._resolver = resolver
        self._dialer = dialer
        self._proxy = proxy
        self._ssl_context = ssl_context
        self._certificates = certificates

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - the signature is httpcore's
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        try:
            addresses = self._resolver.addresses(host, port, self._progress.remaining(timeout))
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"its name cannot be resolved: {error}") from error
        if self._allows is not None:
            # What is judged is what is connected to: the name is not resolved again.
            addresses = [address for address in addresses if self._allows(host, address)]
            if not addresses:
                raise httpcore.ConnectError(refusal_of(host))
        try:
            connection, address = self._dialer.connect(host, port, addresses, self._progress.remaining(timeout))
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(error.strerror or str(error)) from error
        if self._proxy is not None and self._proxy.scheme == "https":
            assert self._ssl_context is not None
            seconds = self._progress.remaining(timeout)
            connection = tls_to_proxy(connection, self._ssl_context, host, seconds, self._certificates)
        stream = TcpStream(connection, partial(self._dialer.failed, host, port, address), self._certificates)
        return Stream(stream, self._progress, self._streams, to_api=not self._tls).tracked()


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Iterable[bytes], connection: object) -> None:
        self._stream = stream
        self._connection = connection

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except _ERRORS as error:
            raise MaybeSent(_describe(error)) from error
        if _left_over(self._stream) and isinstance(self._connection, Stream):
            self._connection.spoil()

    def close(self) -> None:
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()


class DeadlineTransport(httpx.BaseTransport):
    """Sends each request within `total` seconds, from its start to the last byte of the response.

    An upload (`UPLOAD`) has `total` seconds from the last byte that left or came, and a total of its own (`Progress`).
    `connections` must be at least as many as there are threads, for each host: with fewer, httpcore 1.0.9 closes some
    that are in use. `ssl_context` is for the one origin that most requests go to (see `to`), and for all by TLS if it
    is not None; `tls` whether that origin is https. `destinations` are where requests may go; without them, anywhere.
    Not `keep_alive`: each request gets a connection of its own.
    """

    def __init__(
        self,
        network: Network,
        ssl_context: ssl.SSLContext | None,
        *,
        tls: bool,
        total: float,
        connections: int,
        resolver: Resolver,
        destinations: Destinations | None = None,
        keep_alive: bool = True,
    ) -> None:
        self._network = network
        self._ssl_context = ssl_context
        self._tls = tls
        self._total = total
        self._connections = connections
        self._destinations = destinations
        self._keep_alive = keep_alive
        self._progress = Progress()
        self._streams = OpenStreams()
        self._resolver = resolver
        self._dialer = Dialer()
        self._lock = threading.Lock()
        self._pools: dict[Proxy | None, httpcore.ConnectionPool] = {}

    @classmethod
    def to(
        cls,
        base_url: str,
        *,
        total: float,
        connections: int,
        network: Network = DIRECT,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Self:
        """Return a transport to this origin, by the proxies and with the certificates of this network.

        Where a request `is_wanted` no more, its host's name is not waited for.
        """
        tls = base_url.startswith("https:")
        ssl_context = network.ssl_context
        if ssl_context is None and (tls or any(proxy.scheme == "https" for proxy in network.proxies.values())):
            ssl_context = httpx.create_ssl_context(trust_env=False)
        resolver = Resolver(is_wanted)
        return cls(network, ssl_context, tls=tls, total=total, connections=connections, resolver=resolver)

    def restricted(self, destinations: Destinations, *, connections: int) -> Self:
        """Return a transport like this one, with connections of its own, that goes to these destinations only."""
        return type(self)(
            self._network,
            self._ssl_context,
            tls=self._tls,
            total=self._total,
            connections=connections,
            resolver=self._resolver,
            destinations=destinations,
        )

    def without_keep_alive(self) -> Self:
        """Return a transport like this one that makes a connection for each request."""
        return type(self)(
            self._network,
            self._ssl_context,
            tls=self._tls,
            total=self._total,
            connections=self._connections,
            resolver=self._resolver,
            keep_alive=False,
        )

    def _pool(self, proxy: Proxy | None) -> httpcore.ConnectionPool:
        """Return the connections that go by this proxy, directly if it is None."""
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = self._new_pool(proxy)
            return self._pools[proxy]

    def _new_pool(self, proxy: Proxy | None) -> httpcore.ConnectionPool:
        # A proxy is where its administrator says.
        allows = None if self._destinations is None or proxy is not None else self._destinations.allows
        return httpcore.ConnectionPool(
            ssl_context=self._ssl_context,
            proxy=None if proxy is None else proxies.for_httpcore(proxy),
            max_connections=self._connections,
            max_keepalive_connections=None if self._keep_alive else 0,
            keepalive_expiry=_KEEPALIVE_EXPIRY,
            network_backend=_Backend(
                self._progress,
                self._streams,
                allows,
                tls=self._tls,
                resolver=self._resolver,
                dialer=self._dialer,
                proxy=proxy,
                ssl_context=self._ssl_context,
                certificates=self._network.certificates,
            ),
        )

    def rebuild(self) -> None:
        """Start over with new pools: what leaked from the old ones is gone with them."""
        with self._lock:
            old, self._pools = self._pools, {}
        for pool in old.values():
            pool.close()

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
        proxy = self._network.proxy_for(str(request.url))
        try:
            response = self._pool(proxy).handle_request(
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
            if self._progress.sending:
                raise MaybeSent(_describe(error)) from error
            in_tunnel = isinstance(error, HandshakeFailed) and not isinstance(error, ProxyHandshakeFailed)
            if proxy is None or in_tunnel:
                raise NotSent(_describe(error)) from error
            raise ProxyFailed(*proxies.explained(proxy, request.url.host, error, _describe(error))) from error
        assert isinstance(response.stream, Iterable)  # the synchronous pool gives synchronous streams
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(response.stream, response.extensions.get("network_stream")),
            extensions=dict(response.extensions),
        )

    def abort(self) -> None:
        """Break off every request that is under way: its thread gets an error at once."""
        self._streams.abort()

    def close(self) -> None:
        """Close every connection."""
        self.rebuild()


def _left_over(body: object) -> bytes:
    """Return what came behind a whole response. httpcore keeps it, and would take it for the next request's answer."""
    connection = getattr(getattr(body, "_stream", None), "_connection", None)
    state = getattr(connection, "_h11_state", None)
    return b"" if state is None else bytes(state.trailing_data[0])


def _describe(error: BaseException) -> str:
    for kind, description in _DESCRIPTIONS.items():
        if isinstance(error, kind):
            return description
    return str(error) or type(error).__name__
