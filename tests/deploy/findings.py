"""What a deployment script found out: one line a check as it is made, and the count and exit code at the end."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path


class Findings:
    """The checks of one script. The first that fails ends it: what comes after builds on what went before."""

    def __init__(self) -> None:
        self._passed = 0
        self._began = time.monotonic()

    def section(self, title: str) -> None:
        """Begin another subject."""
        print(f"\n== {title}", flush=True)

    def note(self, text: str) -> None:
        """Tell a number or a fact that is not judged."""
        print(f"   {text}", flush=True)

    def check(self, what: str, fact: object, detail: object = "") -> None:
        """Say whether `what` holds; end the script if it does not."""
        seconds = time.monotonic() - self._began
        if not fact:
            print(f"FAILED [{seconds:6.1f} s] {what}\n{detail}", flush=True)
            print(f"{self._passed} passed, 1 failed")
            sys.exit(1)
        self._passed += 1
        print(f"ok     [{seconds:6.1f} s] {what}", flush=True)

    def wait(self, what: str, fact: Callable[[], object], *, seconds: float = 30.0, detail: object = "") -> None:
        """Wait until `fact` holds, then say so; end the script if it does not hold in time."""
        deadline = time.monotonic() + seconds
        pause = threading.Event()
        while not (held := fact()) and time.monotonic() < deadline:
            pause.wait(0.05)
        self.check(what, held, detail() if callable(detail) else detail)

    def end(self) -> None:
        """Say how many checks there were."""
        print(f"\n{self._passed} passed, 0 failed")


def run(
    command: Sequence[str | Path], *, stdin: str | None = None, seconds: float = 900.0
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its output, both streams together, is in `stdout`."""
    return subprocess.run(
        [str(part) for part in command],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=seconds,
    )


def must(command: Sequence[str | Path], *, stdin: str | None = None, seconds: float = 900.0) -> str:
    """Run a command that has to succeed; return its output."""
    done = run(command, stdin=stdin, seconds=seconds)
    if done.returncode != 0:
        print(done.stdout)
        sys.exit(f"this ended with {done.returncode}: {' '.join(map(str, command))}")
    return done.stdout
