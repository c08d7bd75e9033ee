"""A small HTTP proxy on loopback: it makes tunnels (CONNECT), all to one port, and may want a login first."""

import base64
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from select import select
from typing import Protocol

_LOGIN = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"


class ConnectProxy:
    """What it does with each connection; `asked` are the first lines that it got."""

    def __init__(self, target: int, *, login: str | None = None, answer: bytes | None = None, delay: float = 0) -> None:
        self.asked: list[str] = []
        self._target = target
        self._login = login and f"basic {base64.b64encode(login.encode()).decode()}".casefold()
        self._answer = answer
        self._delay = delay
        self.stopped = threading.Event()

    def serve(self, client: socket.socket) -> None:
        """Make a tunnel, or do what a test wants instead."""
        head = b""
        while b"\r\n\r\n" not in head and (data := client.recv(65536)):
            head += data
        if not head:
            return
        lines = head.decode().split("\r\n")
        self.asked.append(lines[0])
        self.stopped.wait(self._delay)
        given = next((line for line in lines if line.casefold().startswith("proxy-authorization:")), "")
        if self._login and not given.casefold().endswith(self._login):
            client.sendall(_LOGIN)
        elif self._answer is not None:
            client.sendall(self._answer)
        else:
            with socket.create_connection(("127.0.0.1", self._target)) as upstream:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                forward(client, upstream)


def forward(client: socket.socket, upstream: socket.socket) -> None:
    """Forward bytes both ways until one end closes."""
    while True:
        pending = isinstance(client, ssl.SSLSocket) and client.pending()
        for source in [client] if pending else select([client, upstream], [], [])[0]:
            if not (data := source.recv(1 << 16)):
                return
            (upstream if source is client else client).sendall(data)


class Serving(Protocol):
    """What serves connections until `stopped` is set."""

    stopped: threading.Event

    def serve(self, client: socket.socket) -> None:
        """Serve it to its end."""


@contextmanager
def running(proxy: Serving, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Let the proxy serve while the block runs, spoken to by TLS if there is a context; yield its port."""
    open_sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with suppress(OSError):
            client = context.wrap_socket(connection, server_side=True) if context is not None else connection
            open_sockets.append(client)
            with client:
                proxy.serve(client)
        connection.close()

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                open_sockets.append(connection)
                threads.append(threading.Thread(target=serve, args=(connection,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads.append(threading.Thread(target=accept))
        threads[0].start()
        try:
            yield listener.getsockname()[1]
        finally:
            proxy.stopped.set()
            for opened in [listener, *open_sockets]:
                with suppress(OSError):
                    opened.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
