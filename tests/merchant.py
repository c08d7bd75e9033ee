"""A merchant: folders, settings for a sandbox, and the real command as a process."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fork_server import ForkedProcess, ForkServer
from invoicedrop.sandbox import Running
from invoicedrop.sandbox.paper import invoice_pdf
from invoicedrop.settings.load import load
from invoicedrop.settings.settings import Settings
from waiting import wait_until

COMMAND = ("-m", "invoicedrop.cli")
"""What Python runs: the real command."""


class Merchant:
    """A merchant's set-up in a folder of its own: drop folder, state folder, settings for a sandbox."""

    def __init__(self, home: Path, sandbox: Running) -> None:
        self.home = home
        self.sandbox = sandbox
        self.drop = home / "drop"
        self.processed = self.drop / "processed"
        self.failed = self.drop / "failed"
        self.state = home / "state"
        self.drop.mkdir()
        self.environment = {
            "INVOICEDROP_COMPANY_ID": str(sandbox.company_id),
            "INVOICEDROP_PROJECT_ID": str(sandbox.project_id),
            "INVOICEDROP_API_TOKEN": sandbox.token,
            "INVOICEDROP_API_URL": sandbox.url,
            "INVOICEDROP_DROP_DIR": str(self.drop),
            "INVOICEDROP_STATE_DIR": str(self.state),
            "INVOICEDROP_REQUESTS_PER_SECOND": "0",
            "INVOICEDROP_SETTLE_SECONDS": "0.05",
            "INVOICEDROP_SCAN_INTERVAL": "0.2",
            "INVOICEDROP_INCOMPLETE_GRACE": "0.3",
            "INVOICEDROP_REQUEST_TIMEOUT": "5",
            "INVOICEDROP_RESEND_AFTER": "0.04",
            # Most tests compare what lies in the folders; those of the page set it.
            "INVOICEDROP_STATUS_PAGE": "",
            "INVOICEDROP_HOLD_ABOVE": "0",
            "INVOICEDROP_LOG_FORMAT": "json",
        }

    def settings(self, **changes: str) -> Settings:
        """Load the settings, with some of them changed."""
        return load(None, self.environment | {f"INVOICEDROP_{name.upper()}": value for name, value in changes.items()})

    def drop_pdf(self, name: str, content: bytes | None = None) -> bytes:
        """Drop an invoice as careful software does: written elsewhere, then moved in. Return its bytes."""
        body = invoice_pdf(name) if content is None else content
        part = self.home / f"{name}.writing"
        part.write_bytes(body)
        part.rename(self.drop / name)
        return body

    def start(self, *arguments: str, program: Sequence[str] = COMMAND, forked: bool = True, **changes: str) -> "Daemon":
        """Start the real command, or `quick_service` in its place; not `forked`: as a user does (see `fork_server`)."""
        return Daemon(self, program, arguments or ("run",), changes, forked=forked)

    def run(
        self, *arguments: str, program: Sequence[str] = COMMAND, forked: bool = True, **changes: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the real command, or `quick_service` in its place, to its end."""
        daemon = self.start(*arguments, program=program, forked=forked, **changes)
        code = daemon.wait()
        return subprocess.CompletedProcess(arguments, code, daemon.output(), daemon.errors())


class Daemon:
    """The real command, as a process of its own; its log is read from a file."""

    def __init__(
        self,
        merchant: Merchant,
        program: Sequence[str],
        arguments: Sequence[str],
        changes: dict[str, str],
        *,
        forked: bool,
    ) -> None:
        self._lines: list[dict[str, object]] = []
        self._read_to = 0
        number = len(list(merchant.home.glob("*.stderr")))
        self._stdout = merchant.home / f"{number}.stdout"
        self._stderr = merchant.home / f"{number}.stderr"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("INVOICEDROP_")}
        environment = inherited | merchant.environment | {f"INVOICEDROP_{k.upper()}": v for k, v in changes.items()}
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            where: dict[str, Any] = {"env": environment, "cwd": merchant.home, "stdout": out, "stderr": err}
            command = [*program, *arguments]
            self.process: ForkedProcess | subprocess.Popen[bytes] = (
                ForkServer.running().start(command, **where)
                if forked
                else subprocess.Popen([sys.executable, *command], stdin=subprocess.DEVNULL, **where)
            )

    def output(self) -> str:
        """Return what was printed so far."""
        return self._stdout.read_text()

    def errors(self) -> str:
        """Return what was printed to stderr so far: the log."""
        return self._stderr.read_text()

    def events(self, name: str | None = None) -> list[dict[str, object]]:
        """Return the log's lines so far, all or those of one event."""
        # A test asks again and again while a daemon writes thousands of lines: each is read once.
        with self._stderr.open("rb") as log:
            log.seek(self._read_to)
            new = log.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read_to += len(whole)
        self._lines += [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]
        return [line for line in self._lines if name is None or line["event"] == name]

    def wait_for(self, event: str, count: int = 1, *, seconds: float = 45.0) -> None:
        """Wait until the log has so many lines of this event."""

        def there() -> bool:
            return len(self.events(event)) >= count or self.process.poll() is not None

        wait_until(there, seconds=seconds, what=f"{count} x {event}")
        assert len(self.events(event)) >= count, self.errors()

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float = 30.0) -> int:
        """Wait for its end; return the exit code."""
        return self.process.wait(seconds)

    def stop(self) -> int:
        """Ask it to stop; return the exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it at once, with nothing unwound."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@contextmanager
def running(
    merchant: Merchant, *arguments: str, program: Sequence[str] = COMMAND, forked: bool = True, **changes: str
) -> Iterator[Daemon]:
    """Run the real command while the block runs."""
    daemon = merchant.start(*arguments, program=program, forked=forked, **changes)
    try:
        yield daemon
    finally:
        daemon.kill()
