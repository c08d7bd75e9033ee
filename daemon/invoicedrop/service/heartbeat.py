"""What others may know of a running service: a file for `status` and `health`, and words for systemd.

Fed by the work loop after a whole turn, never by a thread of its own: a loop that hangs must look like one.
"""

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from invoicedrop import __version__
from invoicedrop.errors import LedgerUnavailable
from invoicedrop.invoice import State
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.service.inbox_worker import InboxWorker
from invoicedrop.service.status_file import FILE
from invoicedrop.service.systemd import SystemdNotifier
from invoicedrop.system import disk

_EARLY: Final = 0.1
"""Share of the interval by which a beat may come early."""


class Heartbeat:
    """The service's pulse. `interval` is the most seconds between two beats while all is well."""

    def __init__(self, state_dir: Path, interval: float, ledger: Ledger, systemd: SystemdNotifier) -> None:
        self._path = state_dir / FILE
        self._ledger = ledger
        self._systemd = systemd
        self._interval = min(interval, systemd.watchdog_seconds / 2)
        self._due = 0.0
        self._ready = False

    @property
    def due(self) -> float:
        """Monotonic time of the next beat."""
        return self._due

    def beat(self, workers: Sequence[InboxWorker]) -> None:
        """The loop has done a whole turn; written down about once in an interval."""
        now = time.monotonic()
        # A little early, where the loop is awake anyway: else it would wake up once more for this alone.
        if now < self._due - self._interval * _EARLY:
            return
        self._due = now + self._interval
        self._write(workers, pid=os.getpid())
        if not self._ready and any(worker.scanned for worker in workers):
            self._ready = True
            self._systemd.ready()
        self._systemd.alive()
        self._systemd.status(self._in_words(workers))

    def ended(self, workers: Sequence[InboxWorker]) -> None:
        """The service has stopped."""
        self._write(workers, pid=None)

    def _write(self, workers: Sequence[InboxWorker], *, pid: int | None) -> None:
        report: dict[str, Any] = {
            "pid": pid,
            "version": __version__,
            "beat": time.time(),
            "interval": self._interval,
            "inboxes": {worker.inbox.name: worker.report() for worker in workers},
        }
        # Its loss is no harm to an invoice; the ledger's own writes say when the disk is full.
        with suppress(OSError):
            temporary = self._path.with_suffix(".tmp")
            temporary.write_text(json.dumps(report), encoding="utf-8")
            disk.replace(temporary, self._path)

    def _in_words(self, workers: Sequence[InboxWorker]) -> str:
        midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        try:
            sent = self._ledger.count(State.PROCESSED, since=midnight.timestamp())
        except LedgerUnavailable as trouble:
            return trouble.detail
        words = [f"{sum(worker.watcher.waiting for worker in workers)} waiting", f"{sent} sent today"]
        for worker in workers:
            if worker.folders.detail is not None:
                words.append(f"{worker.inbox.name} unavailable: {worker.folders.detail}")
            elif worker.api.detail is not None:
                words.append(f"{worker.inbox.name} paused: {worker.api.detail}")
        return "; ".join(words)
