"""Addresses of a host by its name, within the deadline of the request that asks for them.

The system's resolver (getaddrinfo(3)) has no deadline and cannot be broken off: behind a name server, or a module of
the name service switch, that hangs it may take minutes or never return. So it is asked in a thread of its own, which is
left behind where it takes too long. Who asks for the same name meanwhile waits for the same answer.
"""

import socket
import threading
import time
from collections.abc import Callable
from typing import Final

from invoicedrop.system.addresses import literal

_MOST: Final = 16
"""Threads that may hang at once."""
_STUCK: Final = 30.0
"""Seconds after which an answer is asked for anew: what hangs may hang for ever, and the name server be well again."""
_LOOK: Final = 0.25
"""Seconds; whoever waits for an answer asks this often whether it still wants one."""


class _LookUp:
    """One question to the resolver: when it began, and its outcome."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.addresses: list[str] | None = None
        self.error: Exception | None = None

    @property
    def is_over(self) -> bool:
        """Whether there is an outcome."""
        return self.addresses is not None or self.error is not None


class Resolver:
    """Resolves names. Thread-safe. Where an answer `is_wanted` no more, nobody waits for it."""

    def __init__(
        self, is_wanted: Callable[[], bool] = lambda: True, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._is_wanted = is_wanted
        self._clock = clock
        self._changed = threading.Condition()
        self._under_way: dict[tuple[str, int], _LookUp] = {}
        self._threads = 0

    def addresses(self, host: str, port: int, seconds: float) -> list[str]:
        """Return the addresses of a host, each once, in the resolver's order.

        Raises:
            OSError: it has none, or cannot be resolved now; TimeoutError: not within `seconds`.
            UnicodeError: it cannot be a host's name.

        """
        if literal(host) is not None:
            return _resolve(host, port)
        deadline = self._clock() + seconds
        with self._changed:
            look_up = self._under_way.get((host, port))
            if look_up is None or self._clock() - look_up.began > _STUCK:
                look_up = self._begin(host, port)
            while not look_up.is_over:
                if (left := deadline - self._clock()) <= 0:
                    raise TimeoutError("no answer in time")
                if not self._is_wanted():
                    raise OSError("we are stopping")
                self._changed.wait(min(left, _LOOK))
        if look_up.error is not None:
            raise look_up.error
        assert look_up.addresses is not None
        return look_up.addresses

    def _begin(self, host: str, port: int) -> _LookUp:
        if self._threads >= _MOST:
            raise OSError(f"{self._threads} questions for names are not answered")
        look_up = _LookUp(self._clock())
        thread = threading.Thread(target=self._ask, args=(look_up, host, port), name=f"resolve {host}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise OSError(str(error)) from error
        self._threads += 1
        self._under_way[host, port] = look_up
        return look_up

    def _ask(self, look_up: _LookUp, host: str, port: int) -> None:
        try:
            addresses, error = _resolve(host, port), None
        except Exception as failure:  # noqa: BLE001 - whoever waits gets it, whatever it is
            addresses, error = None, failure
        with self._changed:
            look_up.addresses, look_up.error = addresses, error
            self._threads -= 1
            if self._under_way.get((host, port)) is look_up:
                del self._under_way[host, port]
            self._changed.notify_all()


def _resolve(host: str, port: int) -> list[str]:
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))
