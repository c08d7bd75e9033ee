"""What every measurement is made in: the loopback API, a merchant's folders, the daemon as a real process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import paper

_HERE: Final = Path(__file__).parent
_LONGEST: Final = 1200.0
"""Seconds after which a run has failed."""


class Loopback:
    """The loopback API (`loopback`) as a process of its own, while the block runs."""

    def __init__(self, *, latency: float = 0.0, rate: float = 0.0, burst: float = 200.0, orders: int = 2000) -> None:
        settings = (f"--latency={latency}", f"--rate={rate}", f"--burst={burst}", f"--orders={orders}")
        self._process = subprocess.Popen(
            [sys.executable, str(_HERE / "loopback.py"), *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def report(self) -> dict[str, Any]:
        """Return what came so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("report\n")
        self._process.stdin.flush()
        report: dict[str, Any] = json.loads(self._process.stdout.readline())
        return report

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Cost(NamedTuple):
    """What a process that has ended had taken: seconds of the clock and of the processor, its own children's too."""

    seconds: float
    cpu: float


class Run:
    """A process under measurement; its output goes to a file."""

    def __init__(self, command: Sequence[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self.log = log
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("INVOICEDROP_")}
        self.started = time.monotonic()
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=inherited | (environment or {})
            )
        self.pid = self._process.pid

    def end(self, number: int | None = None) -> Cost:
        """Wait for its end, having sent it a signal or not; return what it took."""
        if number is not None:
            self._process.send_signal(number)
        _, status, usage = os.wait4(self.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self._process.returncode != 0:
            raise RuntimeError(f"exit code {self._process.returncode}: {self.log.read_text()[-2000:]}")
        return Cost(time.monotonic() - self.started, usage.ru_utime + usage.ru_stime)

    @property
    def has_ended(self) -> bool:
        """Say whether it has come to its end, without taking note of that."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of its log about one event."""
        mark = f'"event": "{name}"'
        return [json.loads(line) for line in self.log.read_text().splitlines() if mark in line and line[-1:] == "}"]

    def wait_for(self, name: str) -> None:
        """Wait for the first line about an event."""
        wait_until(lambda: self.events(name), what=name)


def wait_until(fact: Any, *, what: str, pause: float = 0.01) -> None:
    """Wait until `fact()` is true."""
    deadline = time.monotonic() + _LONGEST
    while not fact():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {_LONGEST} s in vain for {what}")
        time.sleep(pause)


@dataclass
class Bench:
    """Where measurements are made. `work` is a folder on a real disk, `source` real invoices to use instead of ours.

    `order_check` is the daemon's setting of that name.
    """

    work: Path
    source: Path | None = None
    rounds: int = 3
    order_check: str = "on"

    def invoices(self, count: int) -> list[Path]:
        """Return so many different invoices."""
        return paper.fill(self.work / ("real" if self.source else "made"), count, self.source)

    @contextmanager
    def merchant(self) -> Iterator["Merchant"]:
        """Lend a merchant's folders, which go at the end."""
        home = self.work / "merchant"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        merchant = Merchant(home, self.order_check)
        try:
            yield merchant
        finally:
            for run in merchant.runs:
                run.kill()
            shutil.rmtree(home, ignore_errors=True)


class Merchant:
    """A merchant's folders, and the daemon that works in them."""

    def __init__(self, home: Path, order_check: str) -> None:
        self.home = home
        self.order_check = order_check
        self.drop = home / "drop"
        self.processed = self.drop / "processed"
        self.failed = self.drop / "failed"
        self.runs: list[Run] = []
        self.drop.mkdir()

    def stock(self, invoices: Sequence[Path], count: int | None = None, *, folder: Path | None = None) -> None:
        """Let so many files wait in the drop folder (or another): links to the invoices, again and again if need be."""
        folder = folder or self.drop
        folder.mkdir(exist_ok=True)
        for number in range(1, (count or len(invoices)) + 1):
            os.link(invoices[(number - 1) % len(invoices)], folder / f"{number}.pdf")
        # What was written to prepare the measurement shall not be paid for in it; and nobody copies a backlog at once.
        os.sync()
        time.sleep(2.0)

    def start(self, api: Loopback, *arguments: str, **settings: object) -> Run:
        """Start the daemon as a merchant would, its settings the default ones but for the limits (and as asked)."""
        chosen = {
            "company_id": 1001,
            "project_id": 2001,
            "api_token": "bench-token",
            "api_url": api.url,
            "drop_dir": self.drop,
            "state_dir": self.home / "state",
            "requests_per_second": 0,
            "hold_above": 0,
            "order_check": self.order_check,
            "log_format": "json",
        } | settings
        environment = {f"INVOICEDROP_{name.upper()}": str(value) for name, value in chosen.items()}
        command = (sys.executable, "-m", "invoicedrop.cli", *(arguments or ("run",)))
        run = Run(command, self.home / f"{len(self.runs)}.log", environment)
        self.runs.append(run)
        return run

    def filed(self) -> int:
        """Return how many files were filed as processed so far."""
        with suppress(FileNotFoundError):
            return len(os.listdir(self.processed))  # noqa: PTH208 - names wanted
        return 0

    def wait_for(self, run: Run, count: int, *, pause: float = 0.02) -> None:
        """Wait until so many files were filed as processed; fail when one was rejected, or the daemon has ended."""

        def there() -> bool:
            filed = self.filed()
            if filed < count and (run.has_ended or any(self.failed.glob("*.pdf"))):
                raise RuntimeError(f"{filed} of {count} processed; the log ends: {run.log.read_text()[-2000:]}")
            return filed >= count

        wait_until(there, what=f"{count} processed files", pause=pause)

    def require_all_filed(self, count: int, report: dict[str, Any]) -> None:
        """Fail if something was lost, sent twice, or rejected: then the measurement means nothing."""
        failed = len(list(self.failed.glob("*.pdf"))) if self.failed.exists() else 0
        if self.filed() != count or failed or report["repeated"] or report["uploads"] != count:
            told = {name: value for name, value in report.items() if name != "first_bytes"}
            raise RuntimeError(f"of {count}: {self.filed()} processed, {failed} failed, the API: {told}")

    def stop(self, run: Run) -> Cost:
        """Stop the daemon in order."""
        return run.end(signal.SIGTERM)
