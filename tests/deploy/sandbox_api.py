"""The running sandbox, asked and steered over its control address by scripts that are not in its process."""

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class SandboxApi:
    """A sandbox on a port of this machine's loopback."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def up(self) -> bool:
        """Say whether it answers."""
        try:
            self._ask("GET", "state.json")
        except (OSError, urllib.error.URLError):
            return False
        return True

    def uploads(self) -> Counter[int]:
        """Return how many invoices each order has got."""
        return Counter(upload["order_id"] for upload in self._ask("GET", "state.json")["uploads"])

    def requests(self) -> Any:
        """Return its counters of requests."""
        return self._ask("GET", "state.json")["requests"]

    def set_options(self, **options: object) -> None:
        """Change options: latency (seconds), tokens."""
        self._ask("PUT", "options", options)

    def set_faults(self, *faults: dict[str, object]) -> None:
        """Put another script of faults in place; with none, all goes right again."""
        self._ask("PUT", "faults", list(faults))

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/sandbox/{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())


@contextmanager
def running() -> Iterator[SandboxApi]:
    """Run the sandbox API on this machine's loopback, as the command does, without a rate limit."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "invoicedrop.cli",
        "sandbox",
        "--port",
        str(port),
        "--rate",
        "0",
        "--orders",
        "900",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield SandboxApi(port)
        finally:
            process.terminate()


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
