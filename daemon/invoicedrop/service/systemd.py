"""Tells systemd how the service is doing (sd_notify(3)); does nothing where nobody listens.

The protocol is a few words to a datagram socket, so that no library is needed:
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import os
import socket
from contextlib import suppress


class SystemdNotifier:
    """The way to the service manager that started this process, if one did."""

    def __init__(self, address: str | None = None) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        self._status = ""

    @property
    def watchdog_seconds(self) -> float:
        """Within so many seconds of each other `alive` must be said; infinity where nobody minds."""
        wanted = os.environ.get("WATCHDOG_USEC", "")
        ours = os.environ.get("WATCHDOG_PID", "") in {"", str(os.getpid())}
        return int(wanted) / 1e6 if wanted.isdecimal() and ours else float("inf")

    def ready(self) -> None:
        """The service is up: recovered, and its folders seen."""
        self._send("READY=1")

    def alive(self) -> None:
        """The work loop has done a whole turn."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The service has begun to stop."""
        self._send("STOPPING=1")

    def status(self, words: str) -> None:
        """Say in words how things stand; the same words are not said twice."""
        if words != self._status:
            self._status = words
            self._send(f"STATUS={words}")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A leading @ is the abstract namespace, which the kernel writes as a zero byte.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(message.encode("utf-8", "backslashreplace"), address)
