"""What several tests share: folders, a sandbox API, settings for both, and the real command as a process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from invoicedrop.sandbox import Options, Running, serve
from invoicedrop.sandbox.paper import invoice_pdf
from invoicedrop.settings.load import load
from invoicedrop.settings.models import Settings

# The same examples in every run: a new find comes from a search (--hypothesis-profile=search), not from bad luck in CI.
hypothesis.settings.register_profile("search", max_examples=20_000, deadline=None)
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


def wait_until(fact: Callable[[], object], *, seconds: float = 20.0, what: str = "the fact") -> None:
    """Wait until `fact` holds; fail with `what` after so many seconds."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not fact():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s in vain for {what}")
        pause.wait(0.01)


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

    def start(self, *arguments: str, **changes: str) -> "Daemon":
        """Start the real command."""
        return Daemon(self, arguments or ("run",), changes)

    def run(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run the real command to its end."""
        daemon = self.start(*arguments, **changes)
        code = daemon.wait()
        return subprocess.CompletedProcess(arguments, code, daemon.output(), daemon.errors())


class Daemon:
    """The real command, as a process of its own; its log is read from a file."""

    def __init__(self, merchant: Merchant, arguments: tuple[str, ...], changes: dict[str, str]) -> None:
        number = len(list(merchant.home.glob("*.stderr")))
        self._stdout = merchant.home / f"{number}.stdout"
        self._stderr = merchant.home / f"{number}.stderr"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("INVOICEDROP_")}
        environment = inherited | merchant.environment | {f"INVOICEDROP_{k.upper()}": v for k, v in changes.items()}
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "invoicedrop.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                cwd=merchant.home,
            )

    def output(self) -> str:
        """Return what was printed so far."""
        return self._stdout.read_text()

    def errors(self) -> str:
        """Return what was printed to stderr so far: the log."""
        return self._stderr.read_text()

    def events(self, name: str | None = None) -> list[dict[str, object]]:
        """Return the log's lines so far, all or those of one event."""
        lines = [json.loads(line) for line in self.errors().splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if name is None or line["event"] == name]

    def wait_for(self, event: str, count: int = 1, *, seconds: float = 20.0) -> None:
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
def running(merchant: Merchant, *arguments: str, **changes: str) -> Iterator[Daemon]:
    """Run the real command while the block runs."""
    daemon = merchant.start(*arguments, **changes)
    try:
        yield daemon
    finally:
        daemon.kill()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Have a folder in memory, whose disk nobody waits for: a killed process loses nothing that the kernel has."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="invoicedrop-", dir=memory if os.access(memory, os.W_OK) else tmp_path))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def sandbox() -> Iterator[Running]:
    """A sandbox API without a rate limit, with the orders 1 to 100."""
    with serve(Options(rate=0)) as api:
        yield api


@pytest.fixture
def merchant(tmp_path: Path, sandbox: Running) -> Merchant:
    """A merchant whose daemon talks to the sandbox."""
    return Merchant(tmp_path, sandbox)


# What an API may do; each begins its trouble and returns what ends it.


def down(api: Running) -> Callable[[], None]:
    """Stop the server, so that connections are refused."""
    api.stop()
    return api.start


def fault(kind: str, **values: Any) -> Callable[[Running], Callable[[], None]]:
    """Return what lets every request meet a fault of this kind (`sandbox.faults`)."""

    def begin(api: Running) -> Callable[[], None]:
        api.faults.add(kind, **values)
        return api.faults.clear

    return begin
