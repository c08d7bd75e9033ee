"""The server of metrics: what it costs the service when clients misbehave."""

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from invoicedrop.reporting.metrics_server import MetricsServer
from invoicedrop.timing import DEFAULT_TIMING, Timing
from ports import free_port
from waiting import wait_until

_NOTHING: Any = None
"""A picture that nobody looks at."""


@contextmanager
def served(timing: Timing = DEFAULT_TIMING) -> Iterator[int]:
    """Have the server at a port."""
    port = free_port()
    server = MetricsServer(f"127.0.0.1:{port}", [], lambda: _NOTHING, lambda _now: ("healthy", True), timing)
    server.look(_NOTHING)
    assert server.trouble() is None
    try:
        yield port
    finally:
        server.stop(_NOTHING)


def _is_answered(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        try:
            client.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return b"200 OK" in client.recv(4096)
        except ConnectionError:
            return False


def test_of_connections_that_say_nothing_few_are_kept() -> None:
    """However many connect and say nothing, most are closed at once; when they are gone, the next one is answered."""
    with served(Timing(scrape_timeout=600.0)) as port:
        with ExitStack() as stack:
            clients: list[socket.socket] = []
            for _ in range(100):
                clients.append(stack.enter_context(socket.create_connection(("127.0.0.1", port))))
                # One after the other: more than a few that wait to be taken would have to ask again, seconds later.
                wait_until(
                    lambda: len(select.select(clients, [], [], 0)[0]) >= len(clients) - 16,
                    what="all but 16 to be closed",
                )
        wait_until(lambda: _is_answered(port), what="an answer")


def test_a_connection_ends_however_slowly_it_speaks() -> None:
    """A client that sends a byte now and then does not stay longer for it."""
    with served(Timing(scrape_timeout=0.3)) as port, socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(0.05)

        def is_ended() -> bool:
            try:
                client.sendall(b"G")
                return client.recv(1) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        wait_until(is_ended, what="its end")
