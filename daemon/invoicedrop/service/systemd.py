"""Tells systemd how the service is doing (sd_notify(3)); does nothing where no service manager listens.

The protocol is a few words to a datagram socket, so that no library is needed:
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import os
import socket
from contextlib import suppress
from typing import Final

from invoicedrop.printable import printable

_LONGEST_STATUS: Final = 1000
"""Characters, of four bytes at most: systemd drops a message of more than 4096 bytes (NOTIFY_BUFFER_MAX)."""


class SystemdNotifier:
    """The way to the service manager that started this process, if one did."""

    def __init__(self, address: str | None = None) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        self._status = ""

    @property
    def watchdog_seconds(self) -> float:
        """The longest time between two calls of `alive`, in seconds; infinity without a watchdog."""
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        is_ours = os.environ.get("WATCHDOG_PID", "") in {"", str(os.getpid())}
        return int(microseconds) / 1e6 if microseconds.isdecimal() and is_ours else float("inf")

    def ready(self) -> None:
        """The service is up: its ledger is open, and its settings are right."""
        self._send("READY=1")

    def alive(self) -> None:
        """The main loop has done a whole turn."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The service has begun to stop."""
        self._send("STOPPING=1")

    def status(self, line: str) -> None:
        """Show how the service is doing, in words; sent when they change. They stay one line, and no other command."""
        line = printable(line)[:_LONGEST_STATUS]
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A leading @ is the abstract namespace, which the kernel writes as a zero byte.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(message.encode("utf-8", "backslashreplace"), address)
