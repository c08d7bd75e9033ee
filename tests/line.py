"""A TCP relay on loopback between a daemon and its database, which can be cut, or carry nothing and say nothing."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum


class State(Enum):
    """What becomes of what is sent: carried; connections ended, and new ones too; or taken, and carried nowhere."""

    WHOLE = "whole"
    CUT = "cut"
    SILENT = "silent"


class Line:
    """The line to `upstream` (host and port); clients connect to `port`."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self._upstream = upstream
        self._state = State.WHOLE
        self._change = threading.Condition()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def become(self, state: State) -> None:
        """Be cut, silent or whole from now on; what a silent line took before it was mended arrives late."""
        with self._change:
            self._state = state
            if state is State.CUT:
                self._end_all()
            self._change.notify_all()

    def close(self) -> None:
        """End everything."""
        self.become(State.CUT)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
        for each in self._sockets:
            each.close()

    def _end_all(self) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with self._change:
                    self._sockets.append(client)
                    if self._state is State.CUT:
                        client.shutdown(socket.SHUT_RDWR)
                        continue
                try:
                    server = socket.create_connection(self._upstream)
                except OSError:
                    # The database is away: its port refuses.
                    client.shutdown(socket.SHUT_RDWR)
                    continue
                with self._change:
                    self._sockets.append(server)
                for ends in ((client, server), (server, client)):
                    thread = threading.Thread(target=self._carry, args=ends, daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                with self._change:
                    self._change.wait_for(lambda: self._state is not State.SILENT)
                target.sendall(content)
        with self._change:
            self._change.wait_for(lambda: self._state is not State.SILENT)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


@contextmanager
def line_to(port: int) -> Iterator[Line]:
    """Have a line to this port of this machine while the block runs."""
    line = Line(("127.0.0.1", port))
    try:
        yield line
    finally:
        line.close()
