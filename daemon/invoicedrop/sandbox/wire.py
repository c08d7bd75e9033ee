"""One HTTP exchange below the level of a framework: what real connections do when they fail.

ASGI has no way to break a connection. `TransportProtocol` gives each request the transport that it came on, through
uvicorn's own per-connection state; no more is needed to reset or to truncate.
"""

import asyncio
import socket
import struct
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_TRANSPORT: Final = "invoicedrop.transport"
_STOPPING: Final = "invoicedrop.stopping"
# On, with zero seconds to linger: closing sends a reset (RST) at once instead of an orderly end.
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class TransportProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, with the connection's transport in each request's `state`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """Keep the transport for the requests to come."""
        self.app_state = {**self.app_state, _TRANSPORT: transport}
        super().connection_made(transport)


def share_stopping(state: MutableMapping[str, Any], stopping: asyncio.Event) -> None:
    """Give every request the event that is set when the server stops."""
    state[_STOPPING] = stopping


class ClientLeftError(Exception):
    """The client closed the connection before its request was complete."""


class TooLargeError(Exception):
    """The request's body is larger than what is accepted."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer; without its length told it comes in chunks."""

    status: int
    body: bytes = b""
    media_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = field(default=())
    length_told: bool = True


class Wire:
    """The connection of one request."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._transport: asyncio.Transport = scope["state"][_TRANSPORT]
        self._stopping: asyncio.Event = scope["state"][_STOPPING]
        self._receive = receive
        self._send = send

    async def read(self, limit: int) -> bytes:
        """Read the whole request body.

        Raises:
            ClientLeftError: the client disconnected before it was complete.
            TooLargeError: it is larger than `limit` bytes; the rest is not read.

        """
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientLeftError
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise TooLargeError
            chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def wait(self, seconds: float) -> None:
        """Wait for `seconds`, whether or not the client is still connected.

        Raises:
            ClientLeftError: the server is being stopped.

        """
        if seconds > 0:
            try:
                await asyncio.wait_for(self._stopping.wait(), seconds)
            except TimeoutError:
                return
            await self.hang()
            raise ClientLeftError

    async def answer(self, answer: Answer) -> None:
        """Answer in full."""
        await self._start(answer)
        await self._send({"type": "http.response.body", "body": answer.body})

    async def cut(self, answer: Answer) -> None:
        """Announce the whole answer, send half of its body, and close the connection in an orderly way."""
        await self._start(answer)
        await self._send(
            {"type": "http.response.body", "body": answer.body[: len(answer.body) // 2], "more_body": True}
        )
        self._transport.close()
        await self.hang()

    async def drip(self, answer: Answer, seconds: float) -> None:
        """Answer with one byte of the body every `seconds`, until the client leaves."""
        await self._start(answer)
        disconnected = asyncio.ensure_future(self.hang())
        try:
            for position in range(len(answer.body)):
                await asyncio.wait((disconnected,), timeout=seconds)
                if disconnected.done():
                    return
                body = answer.body[position : position + 1]
                await self._send({"type": "http.response.body", "body": body, "more_body": True})
            await self._send({"type": "http.response.body", "body": b""})
        finally:
            disconnected.cancel()

    async def reset(self) -> None:
        """Break the connection with a TCP reset."""
        connection: socket.socket | None = self._transport.get_extra_info("socket")
        if connection is not None and not self._transport.is_closing():
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()
        await self.hang()

    async def hang(self) -> None:
        """Do nothing until the connection ends. A request that was not read yet is read and dropped."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _start(self, answer: Answer) -> None:
        headers = [
            (b"content-type", answer.media_type.encode()),
            *([(b"content-length", str(len(answer.body)).encode())] if answer.length_told else []),
            *((name.encode(), value.encode()) for name, value in answer.headers),
        ]
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
