"""What others may know of a running service: the status file for `status` and `health`, and systemd's watchdog.

Fed by the main loop after a whole turn, never by a thread of its own: a loop that hangs must look like one.
"""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from invoicedrop import __version__
from invoicedrop.errors import LedgerUnavailable
from invoicedrop.invoice import State
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.logs import get_logger
from invoicedrop.service.companion import Companion
from invoicedrop.service.inbox_worker import InboxWorker
from invoicedrop.service.known_ledger import LedgerMemory
from invoicedrop.service.lock import StateFolder
from invoicedrop.service.status_file import InboxReport, Report, StatusFile
from invoicedrop.service.systemd import SystemdNotifier
from invoicedrop.system.boot import boot_id
from invoicedrop.system.life import Life
from invoicedrop.system.local_time import midnight

_EARLY: Final = 0.1
"""Share of the interval by which a beat may come early."""


class Heartbeat:
    """The service's pulse. `interval` is the longest time between two beats while all is well, in seconds."""

    def __init__(
        self,
        state: StateFolder,
        interval: float,
        ledger: Ledger,
        systemd: SystemdNotifier,
        status: StatusFile,
        companions: Sequence[Companion] = (),
    ) -> None:
        self._state = state
        self._file = status
        self._unwritten: str | None = None
        self._life = Life.ours()
        self._began = time.time()
        self._companions = companions
        self._interval = interval
        self._ledger = ledger
        self._systemd = systemd
        self._due = 0.0
        self._memory = LedgerMemory(state.path, ledger)

    @property
    def due(self) -> float:
        """Monotonic time of the next beat."""
        return self._due

    def begin(self, workers: Sequence[InboxWorker]) -> None:
        """The service is up: ledger and settings are right. Whether the folders are, only the first turns tell."""
        self._write(_reports(workers), pid=os.getpid())
        self._systemd.status("starting: the folders are looked at")
        self._systemd.ready()

    def beat(self, workers: Sequence[InboxWorker]) -> None:
        """The loop has done a whole turn: report it, about once in an interval."""
        now = time.monotonic()
        # A little early, where the loop is awake anyway: else it would wake up once more for this alone.
        if now < self._due - self._interval * _EARLY:
            return
        self._due = now + self._interval
        reports = _reports(workers)
        self._write(reports, pid=os.getpid())
        self._systemd.alive()
        # Every user of the machine can ask systemd for it.
        self._systemd.status(self._status_line({name: report.for_everybody() for name, report in reports.items()}))

    def stop(self, workers: Sequence[InboxWorker]) -> None:
        """Report that the service has stopped."""
        self._write(_reports(workers), pid=None)

    def _write(self, reports: dict[str, InboxReport], *, pid: int | None) -> None:
        report = Report(
            pid=pid,
            started=self._life.started,
            namespace=self._life.namespace,
            version=__version__,
            beat=time.time(),
            interval=self._interval,
            inboxes=reports,
            began=self._began,
            boot=boot_id(),
            monotonic=time.monotonic(),
            reporting={what: words for each in self._companions for what, words in each.troubles().items()},
        )
        if self._state.trouble() is not None:
            # What has its name otherwise may be another service's.
            return
        with suppress(LedgerUnavailable):
            self._memory.refresh()
        unwritten = self._file.write(report)
        if unwritten is not None and unwritten != self._unwritten:
            get_logger().warning("status.unwritten", detail=unwritten)
        self._unwritten = unwritten

    def _status_line(self, reports: Mapping[str, InboxReport]) -> str:
        try:
            sent = self._ledger.count(State.PROCESSED, since=midnight(time.time()))
        except LedgerUnavailable as error:
            return error.detail
        parts = [f"{sum(report.waiting for report in reports.values())} waiting", f"{sent} sent today"]
        for name, report in reports.items():
            if report.standby is not None:
                parts.append(f"{name} stands by: {report.standby}, works on it")
            elif report.unavailable is not None:
                parts.append(f"{name} unavailable: {report.unavailable}")
            elif report.paused is not None:
                parts.append(f"{name} paused: {report.paused}")
            if report.stopped_by is not None:
                parts.append(f"{name} {report.stopped_by}")
        return "; ".join(parts)


def _reports(workers: Sequence[InboxWorker]) -> dict[str, InboxReport]:
    return {worker.name: worker.report() for worker in workers}
