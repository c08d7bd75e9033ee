"""A stand-in for the API that costs next to nothing: it counts uploads, notes when each one's first byte came, answers.

    python tests/bench/loopback.py [--latency SECONDS] [--rate PER_SECOND --burst N] [--orders N]

It prints its address as its first line, and a report (JSON) for every line that it reads; it ends with its input.
Times are `time.monotonic()`, which all processes of a machine share on Linux. Bodies are counted, not kept. Every order
exists and is shipped, and has no attachment; a list of orders has those from N down to 1.
"""

import argparse
import asyncio
import json
import sys
import time
from typing import Any, Final
from urllib.parse import parse_qs

_BUFFER: Final = 1 << 20
_ANSWER: Final = b'{"status":"success","order_attachment_id":%d,"message":null}'
_ORDER: Final = (
    b'{"id":%d,"channel_name":"bol","platform_name":"channable","status_shipped":"shipped","attachments":[],"data":{}}'
)
_HEAD: Final = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n"


class Api:
    """What all connections share: what came, and how it is answered."""

    def __init__(self, latency: float, rate: float, burst: float, orders: int) -> None:
        self.latency = latency
        self.orders = orders
        self.rate = rate
        self.burst = burst
        self.first_bytes: dict[str, float] = {}
        self.uploads = 0
        self.looks = 0
        self.repeated = 0
        self.body_bytes = 0
        self.refused = 0
        self.last_answer = 0.0
        self._level = 0.0
        self._at = time.monotonic()

    def answer(self, path: str, first_byte: float, size: int) -> bytes:
        """Take one upload, or refuse it because of the rate limit."""
        now = time.monotonic()
        if (refusal := self._over_limit(now)) is not None:
            return refusal
        self.repeated += path in self.first_bytes
        self.first_bytes.setdefault(path, first_byte)
        self.uploads += 1
        self.body_bytes += size
        self.last_answer = now + self.latency
        body = _ANSWER % self.uploads
        return _HEAD % (b"202 Accepted", len(body), b"") + body

    def look(self, path: str) -> bytes:
        """Show an order, or a page of a list, or refuse that because of the rate limit."""
        if (refusal := self._over_limit(time.monotonic())) is not None:
            return refusal
        self.looks += 1
        name, _, query = path.partition("?")
        last = name.rsplit("/", 1)[-1]
        if last == "orders":
            page = {key: int(values[0]) for key, values in parse_qs(query).items() if values[0].isdigit()}
            newest = self.orders - page.get("offset", 0)
            shown = [_ORDER % number for number in range(newest, max(0, newest - page.get("limit", 100)), -1)]
            body = b'{"orders":[%b],"total":%d}' % (b",".join(shown), len(shown))
        else:
            body = b'{"order":%b,"events":[]}' % (_ORDER % int(last))
        return _HEAD % (b"200 OK", len(body), b"") + body

    def _over_limit(self, now: float) -> bytes | None:
        if self.rate <= 0:
            return None
        self._level = max(0.0, self._level - (now - self._at) * self.rate)
        self._at = now
        if self._level + 1 > self.burst:
            self.refused += 1
            return _HEAD % (b"429 Too Many Requests", 2, b"Retry-After: 1\r\n") + b"{}"
        self._level += 1
        return None

    def report(self) -> dict[str, Any]:
        """Say what came so far; `first_bytes` by order id."""
        orders = {path.rsplit("/", 2)[-2]: at for path, at in self.first_bytes.items()}
        return {
            "uploads": self.uploads,
            "looks": self.looks,
            "repeated": self.repeated,
            "refused": self.refused,
            "body_bytes": self.body_bytes,
            "last_answer": self.last_answer,
            "first_bytes": orders,
        }


class Connection(asyncio.BufferedProtocol):
    """One keep-alive connection; requests need a Content-Length and come one after another."""

    def __init__(self, api: Api, scratch: memoryview) -> None:
        self._api = api
        # Shared by all connections: what is read into it is used before anything else is read.
        self._scratch = scratch
        self._head = b""
        self._left = 0
        self._size = 0
        self._path = ""
        self._looks = False
        self._first_byte = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Lend the buffer."""
        return self._scratch

    def buffer_updated(self, count: int) -> None:
        """Take in `count` bytes."""
        if self._left:
            self._left -= count
        else:
            if not self._head:
                self._first_byte = time.monotonic()
            self._head += bytes(self._scratch[:count])
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            self._begin(self._head[:end], len(self._head) - end - 4)
            self._head = b""
        if self._left <= 0:
            self._finish()

    def _begin(self, head: bytes, received: int) -> None:
        method, path, _ = head.split(b" ", 2)
        self._path = path.decode()
        self._looks = method == b"GET"
        if self._looks:
            self._left = 0
            return
        lower = head.lower()
        start = lower.index(b"content-length:") + len(b"content-length:")
        self._size = int(lower[start:].split(b"\r\n", 1)[0])
        self._left = self._size - received

    def _finish(self) -> None:
        assert self._transport is not None
        self._left = 0
        answer = (
            self._api.look(self._path) if self._looks else self._api.answer(self._path, self._first_byte, self._size)
        )
        if self._api.latency:
            asyncio.get_running_loop().call_later(self._api.latency, self._transport.write, answer)
        else:
            self._transport.write(answer)


async def _serve(api: Api) -> None:
    loop = asyncio.get_running_loop()
    scratch = memoryview(bytearray(_BUFFER))
    server = await loop.create_server(lambda: Connection(api, scratch), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        print(json.dumps(api.report()), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--burst", type=float, default=200.0)
    parser.add_argument("--orders", type=int, default=2000)
    options = parser.parse_args()
    asyncio.run(_serve(Api(options.latency, options.rate, options.burst, options.orders)))
