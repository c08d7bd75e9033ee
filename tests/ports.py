"""Ports of loopback for servers that start later, or not at all."""

import random
import socket
from pathlib import Path

_LOWEST = 15_000


def free_port() -> int:
    """Return a port that nobody listens on, and that the system gives nobody who asks for any port meanwhile."""
    lowest_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(min(_LOWEST, lowest_given - 1000), lowest_given)
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
