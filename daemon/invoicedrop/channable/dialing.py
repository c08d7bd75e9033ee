"""Connecting to a host that has several addresses, of which some may be dead.

The idea is RFC 8305's ("Happy Eyeballs"): the next address is tried when the one before has failed, or has not
answered for a short time, and the first connection wins. The libraries that do this are made for asyncio.
"""

import os
import selectors
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Final

NEXT_AFTER: Final = 0.25
"""Seconds until the next address is tried beside the one before (RFC 8305, 5: Connection Attempt Delay)."""


class Dialer:
    """Connects to hosts, and remembers which of their addresses worked: first is what did, last what failed.

    Thread-safe: single operations on the two dictionaries are atomic, and a race costs no more than a better order.
    """

    def __init__(self, *, next_after: float = NEXT_AFTER) -> None:
        self._next_after = next_after
        self._worked: dict[tuple[str, int], str] = {}
        self._failed: dict[tuple[str, int], frozenset[str]] = {}

    def connect(self, host: str, port: int, addresses: Sequence[str], seconds: float) -> tuple[socket.socket, str]:
        """Return a connection to the first of the host's addresses that answers, and that address.

        Raises:
            TimeoutError: none did, within `seconds`.
            OSError: all have refused, or cannot be reached.

        """
        deadline = time.monotonic() + seconds
        waiting = self._in_order(host, port, addresses)
        failure = OSError("the host has no address")
        next_at = time.monotonic()
        attempts: dict[socket.socket, str] = {}
        try:
            with selectors.DefaultSelector() as selector:
                while waiting or attempts:
                    if (now := time.monotonic()) >= deadline:
                        raise TimeoutError("no address of the host answers in time")
                    if waiting and (now >= next_at or not attempts):
                        address = waiting.pop(0)
                        try:
                            attempt = _begin(address, port)
                        except OSError as error:
                            failure = error
                            self.failed(host, port, address)
                            continue
                        attempts[attempt] = address
                        selector.register(attempt, selectors.EVENT_WRITE)
                        next_at = now + self._next_after
                    until = min(next_at, deadline) if waiting else deadline
                    for key, _ in selector.select(max(0.0, until - time.monotonic())):
                        ended = key.fileobj
                        assert isinstance(ended, socket.socket)
                        selector.unregister(ended)
                        address = attempts.pop(ended)
                        code = ended.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                        if code == 0:
                            # Requests are written in several pieces, the last of which must not wait for an answer.
                            ended.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                            self._works(host, port, address)
                            return ended, address
                        ended.close()
                        failure = OSError(code, os.strerror(code))
                        self.failed(host, port, address)
                        next_at = time.monotonic()
        finally:
            for attempt in attempts:
                attempt.close()
        raise failure

    def failed(self, host: str, port: int, address: str) -> None:
        """Remember that this address is of no use: it is tried last."""
        if self._worked.get((host, port)) == address:
            self._worked.pop((host, port), None)
        self._failed[host, port] = self._failed.get((host, port), frozenset()) | {address}

    def _works(self, host: str, port: int, address: str) -> None:
        self._worked[host, port] = address
        self._failed[host, port] = self._failed.get((host, port), frozenset()) - {address}

    def _in_order(self, host: str, port: int, addresses: Sequence[str]) -> list[str]:
        """Return the addresses, the two families in turn (RFC 8305, 4), what worked first and what failed last."""
        first = [address for address in addresses if _family(address) == _family(addresses[0])]
        others = [address for address in addresses if address not in first]
        in_turn = filter(None, chain.from_iterable(zip_longest(first, others)))
        worked, failed = self._worked.get((host, port)), self._failed.get((host, port), frozenset())
        return sorted(in_turn, key=lambda address: (address in failed, address != worked))


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _begin(address: str, port: int) -> socket.socket:
    """Begin a connection without waiting for it."""
    attempt = socket.socket(_family(address), socket.SOCK_STREAM)
    try:
        attempt.setblocking(False)
        with suppress(BlockingIOError):
            attempt.connect((address, port))
    except BaseException:
        attempt.close()
        raise
    return attempt
