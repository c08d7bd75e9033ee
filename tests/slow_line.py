"""A slow line: a TCP relay on loopback whose connections share so many bytes a second on their way to the server.

All bytes to the server pass one router, as on a merchant's uplink: a queue of bounded length, emptied at the line's
speed. Who has more to send than the queue has room for waits. What comes back is not slowed down.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Queue
from typing import NamedTuple
from urllib.parse import urlsplit

_PACKET = 1460
_RECEIVE_BUFFER = 8192
"""Bytes; the relay takes little more than it passes on, as its acknowledgements stand for the server's."""


class _Packet(NamedTuple):
    server: socket.socket
    content: bytes
    """None are the end of what a connection sends."""


class SlowLine:
    """The line to `upstream`. `url` is where clients send to.

    `speed` (bytes a second) may be changed; nothing moves while `moving` is not set. It has carried `bytes`, for which
    it was `busy` so many seconds.
    """

    def __init__(self, upstream: str, speed: float, *, queue: int = 65536) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 0)
        self.speed = speed
        self.bytes = 0
        self.busy = 0.0
        self.moving = threading.Event()
        self.moving.set()
        self._packets: Queue[_Packet | None] = Queue(queue // _PACKET)
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._router = threading.Thread(target=self._route)
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def start(self) -> None:
        """Begin to take connections."""
        for thread in (*self._threads, self._router):
            thread.start()

    def stop(self) -> None:
        """Break everything off."""
        for connection in (self._listener, *self._sockets):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.speed = float("inf")
        self.moving.set()
        for thread in self._threads:
            thread.join()
        self._packets.put(None)
        self._router.join()
        for connection in (self._listener, *self._sockets):
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._upstream)
                self._sockets += [client, server]
                for work in (self._up, self._down):
                    thread = threading.Thread(target=work, args=(client, server))
                    self._threads.append(thread)
                    thread.start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while content := client.recv(_PACKET):
                self._packets.put(_Packet(server, content))
        self._packets.put(_Packet(server, b""))

    def _route(self) -> None:
        free_at = time.monotonic()
        while (packet := self._packets.get()) is not None:
            began = time.monotonic()
            free_at = max(free_at, time.monotonic() - 0.01) + len(packet.content) / self.speed
            time.sleep(max(0.0, free_at - time.monotonic()))
            self.moving.wait()
            with suppress(OSError):
                if packet.content:
                    packet.server.sendall(packet.content)
                else:
                    packet.server.shutdown(socket.SHUT_WR)
            self.bytes += len(packet.content)
            self.busy += time.monotonic() - began

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while content := server.recv(65536):
                client.sendall(content)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


@contextmanager
def slow_line(upstream: str, speed: float, *, queue: int = 65536) -> Iterator[SlowLine]:
    """Let a slow line carry what is sent while the block runs."""
    line = SlowLine(upstream, speed, queue=queue)
    line.start()
    try:
        yield line
    finally:
        line.stop()
