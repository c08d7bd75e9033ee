"""Serves /metrics for Prometheus, by its own client's server, and /health for probes."""

import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app, start_http_server

from invoicedrop.logs import get_logger
from invoicedrop.reporting.metrics import Metrics
from invoicedrop.reporting.watch import Picture
from invoicedrop.timing import DEFAULT_TIMING, Timing

_MOST: Final = 16
"""Connections at once; a further one is closed. Each costs a descriptor and a thread, which invoices need."""


class MetricsServer:
    """The teller that is asked. `health(now)` returns, on one line, how the service is, and whether it is at work.

    `picture` returns what is known now; both are called in the threads that answer.
    """

    name = "metrics"

    def __init__(
        self,
        address: str,
        inboxes: list[str],
        picture: Callable[[], Picture],
        health: Callable[[float], tuple[str, bool]],
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        host, _, port = address.rpartition(":")
        self._address = address
        self._host = host.removeprefix("[").removesuffix("]")
        self._port = int(port)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(Metrics(picture, inboxes))
        self._metrics = make_wsgi_app(self._registry)
        self._health = health
        self._timing = timing
        self._is_serving = False
        self._stop_serving: tuple[Callable[[], object], ...] = ()
        self._next_try = 0.0
        self._failure: str | None = None

    def look(self, picture: Picture) -> None:  # noqa: ARG002 - it is asked
        """Begin to serve; where the address cannot be used, try again later."""
        if self._is_serving or time.monotonic() < self._next_try:
            return
        try:
            server, _ = start_http_server(self._port, self._host, self._registry)
        except (OSError, RuntimeError) as error:
            self._next_try = time.monotonic() + self._timing.server_retry
            failure = f"{self._address} cannot be used: {getattr(error, 'strerror', None) or error}"
            if failure != self._failure:
                get_logger().warning("notify.failed", way=self.name, detail=failure)
            self._failure = failure
            return
        server.set_app(self._answer)
        _limit(server, self._timing.scrape_timeout)
        self._is_serving, self._failure = True, None
        self._stop_serving = (server.shutdown, server.server_close)

    def stop(self, picture: Picture) -> None:  # noqa: ARG002
        """Serve no more."""
        for step in self._stop_serving:
            step()

    def trouble(self) -> str | None:
        """Return why nothing is served."""
        return self._failure

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if environ.get("REQUEST_METHOD") not in {"GET", "HEAD"}:
            return _text(start, "405 Method Not Allowed", "only GET")
        if path not in {"/metrics", "/health"}:
            return _text(start, "404 Not Found", "/metrics for Prometheus, /health for probes")
        if path == "/metrics":
            answer: Iterable[bytes] = self._metrics(environ, start)
            return answer
        line, well = self._health(time.time())
        return _text(start, "200 OK" if well else "503 Service Unavailable", line)


def _limit(server: WSGIServer, seconds: float) -> None:
    """Let a server of prometheus_client's, which takes whatever comes, have few connections, each for so long only."""
    free = threading.BoundedSemaphore(_MOST)
    begin, answer = server.process_request, server.process_request_thread  # type: ignore[attr-defined]

    def process_request(connection: socket.socket, client: Any) -> None:
        if not free.acquire(blocking=False):
            server.shutdown_request(connection)
            return
        try:
            begin(connection, client)
        except BaseException:
            free.release()
            raise

    def process_request_thread(connection: socket.socket, client: Any) -> None:
        # A time-out of the socket would begin anew with each byte.
        end = threading.Timer(seconds, _cut, [connection])
        end.daemon = True
        try:
            end.start()
            answer(connection, client)
        finally:
            end.cancel()
            free.release()

    vars(server).update(process_request=process_request, process_request_thread=process_request_thread)


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _text(start: Callable[..., Any], status: str, line: str) -> Iterable[bytes]:
    content = f"{line}\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(content)))]
    start(status, [*headers, ("Cache-Control", "no-store")])
    return [content]
