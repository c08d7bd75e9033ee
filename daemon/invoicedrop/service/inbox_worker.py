"""One inbox at work: its folder watched, its files handed out and taken back, its troubles remembered.

Everything here runs in the main loop's thread, but for `work`, which runs in the upload threads.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from invoicedrop.channable.client import ApiClient
from invoicedrop.channable.project import Project
from invoicedrop.channable.rate_limit import RateLimiter
from invoicedrop.circuit_breaker import CircuitBreaker
from invoicedrop.errors import (
    Changed,
    CheckUnavailable,
    Deferred,
    FolderUnavailable,
    LedgerUnavailable,
    Paused,
    Stopping,
)
from invoicedrop.inbox.events import Events
from invoicedrop.inbox.filing import Filing
from invoicedrop.inbox.stability import StabilityTracker
from invoicedrop.inbox.watcher import Watcher
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.logs import get_logger
from invoicedrop.pipeline.intake import Intake
from invoicedrop.pipeline.job import DeliveryContext, Outcome, PdfCheck, SettledFile
from invoicedrop.pipeline.order_locks import KeyedLock
from invoicedrop.printable import storable
from invoicedrop.settings.models import Inbox, Settings
from invoicedrop.system.file_systems import file_system_of
from invoicedrop.system.mover import Mover
from invoicedrop.timing import Timing

_MOST_TOLD: Final = 100
"""Of the files put off, for so many it is told why."""


class InboxWorker:
    """One inbox at work. `wake` may be called from any thread when there is something to do."""

    def __init__(
        self,
        inbox: Inbox,
        settings: Settings,
        *,
        token: Callable[[], str],
        rate_limiter: RateLimiter,
        ledger: Ledger,
        validator: PdfCheck,
        orders: KeyedLock,
        places: threading.Semaphore,
        wake: Callable[[], None],
        timing: Timing,
        mover: Mover,
    ) -> None:
        self.inbox = inbox
        self._timing = timing
        self.log = get_logger().bind(inbox=inbox.name)
        self.outcomes: Counter[Outcome] = Counter()
        self.busy = 0
        self.client = ApiClient.open(
            inbox.api_url,
            token,
            rate_limiter,
            request_timeout=inbox.request_timeout,
            connections=settings.upload_workers,
            slots=places,
        )
        self.api = CircuitBreaker(self._api_changed, timing=timing)
        self.folders = CircuitBreaker(self._folders_changed, timing=timing)
        self.tracker = StabilityTracker(inbox.settle_seconds, clock=time.monotonic)
        self._filing = Filing(
            inbox.drop_dir,
            inbox.processed_dir,
            inbox.failed_dir,
            file_mode=_octal(inbox.file_mode),
            dir_mode=_octal(inbox.dir_mode),
            timing=timing,
            mover=mover,
        )
        project = Project(self.client, inbox.company_id, inbox.project_id, self.api)
        self._context = DeliveryContext(inbox, project, self._filing, ledger, validator, orders, timing)
        self._intake = Intake(self._context)
        self.watcher = Watcher(
            inbox.drop_dir,
            self.tracker,
            scan_interval=inbox.scan_interval,
            events=Events(wake),
            on_ignored=lambda name, why: self.log.info("file.ignored", file=name, why=why),
            own_folders=(inbox.processed_dir, inbox.failed_dir),
        )
        self._put_off: dict[str, tuple[float, str]] = {}
        self._begun = False
        self._cleaned_up = False
        self._trouble_of_a_file = False
        self._try_folders = False
        self._next_sweep = 0.0

    @property
    def scanned(self) -> bool:
        """Say whether the folder has been seen whole since the start, or since its last trouble."""
        return self._begun

    def look(self) -> None:
        """See what is new in the folder, or whether a folder that was in trouble is back."""
        if self.folders.detail is not None and time.monotonic() < self.folders.until:
            return
        try:
            if not self._begun or self._try_folders:
                self._begin()
            self.watcher.look()
            self._sweep()
        except (FolderUnavailable, LedgerUnavailable) as trouble:
            self._begun = False
            self._trouble_of_a_file = False
            self.folders.trip(trouble.detail, trouble.cause)
            return
        if not self._trouble_of_a_file or not len(self.tracker):
            self.folders.reset()

    def _begin(self) -> None:
        """See that all folders can be used, finish what a crash left, and scan."""
        self._context.clock_ahead = self._filing.prepare()
        if not self._cleaned_up:
            self._filing.clean_up()
            self._cleaned_up = True
        self._intake.recover()
        if not self._begun:
            self.watcher.scan_soon()
            self.watcher.look()
            self._watching(waiting=self.watcher.waiting)
        self._begun = True
        self._try_folders = False

    def _sweep(self) -> None:
        if time.monotonic() >= self._next_sweep:
            self._filing.sweep_reasons()
            self._next_sweep = time.monotonic() + self._timing.reason_sweep

    def room(self, wanted: int) -> int:
        """Say how many more files may be handed out now."""
        if not self._begun:
            return 0
        return min(self.api.allowance(self.busy, wanted), self.folders.allowance(self.busy, wanted))

    def hand_out(self, wanted: int) -> list[SettledFile]:
        """Return settled files to work on; each comes back by `take_back`."""
        now = time.monotonic()
        files = [
            SettledFile(name, identity, now - since) for name, identity, since in self.tracker.take(self.room(wanted))
        ]
        self.busy += len(files)
        return files

    def work(self, settled: SettledFile) -> Outcome:
        """Take one file to its end. Runs in an upload thread."""
        return self._intake.take(settled)

    def take_back(self, name: str, result: Outcome | BaseException) -> None:
        """Learn how a file that was handed out has fared."""
        self.busy -= 1
        self._put_off.pop(storable(name), None)
        match result:
            case Outcome():
                self.outcomes[result] += 1
                self.tracker.release(name)
                self._trouble_of_a_file = False
                self.folders.reset()
            case Deferred():
                self.tracker.put_off(name, result.delay)
                if len(self._put_off) < _MOST_TOLD:
                    self._put_off[storable(name)] = (time.time() + result.delay, result.detail)
            case Changed():
                self.tracker.release(name)
                self.watcher.look_at(name)
            case FolderUnavailable() | LedgerUnavailable() | CheckUnavailable():
                self.tracker.put_back(name)
                self._trouble_of_a_file = True
                self._try_folders = True
                self.folders.trip(result.detail, result.cause)
            case Paused() | Stopping():
                self.tracker.put_back(name)
            case _:
                # A mistake in this program: the other invoices shall not suffer for it.
                self.log.error(
                    "invoice.deferred",
                    file=name,
                    seconds=self._timing.fault_retry,
                    detail="internal error",
                    exc_info=result,
                )
                self.tracker.put_off(name, self._timing.fault_retry)

    def new_token(self) -> None:
        """Use the token that is in its file now."""
        self.client.forget_token()
        self.api.probe_now()

    def mind_the_token(self) -> None:
        """While the API refuses us, see whether somebody has put a new token into its file."""
        if self.api.detail is not None and self.client.token_changed():
            self.new_token()

    def next_due(self, wanted: int) -> float:
        """Return the monotonic time when there may be something to do without being woken."""
        if self.folders.detail is not None and not self._begun:
            return self.folders.until
        due = [self.watcher.next_scan]
        tracked = self.tracker.next_due()
        if tracked is not None:
            if self.room(wanted):
                due.append(tracked)
            elif not self.busy:
                due.extend(breaker.until for breaker in (self.api, self.folders) if breaker.detail is not None)
        return min(due)

    def report(self) -> dict[str, object]:
        """Say how things stand, for `status`; times are seconds since the epoch."""
        probe = time.time() + max(0.0, self.api.until - time.monotonic())
        return {
            "waiting": self.watcher.waiting,
            "mode": self.watcher.mode,
            "unavailable": self.folders.detail,
            "paused": self.api.detail,
            "next_probe": None if self.api.detail is None else probe,
            "put_off": {name: told for name, told in self._put_off.items() if told[0] > time.time()},
        }

    def close(self) -> None:
        """Close connections and stop listening."""
        self.watcher.close()
        self.client.close()

    def _api_changed(self, detail: str | None, seconds: float) -> None:
        if detail is None:
            self.log.info("api.resumed")
        else:
            self.log.warning("api.paused", detail=detail, seconds=round(seconds, 1))

    def _folders_changed(self, detail: str | None, seconds: float) -> None:
        if detail is None:
            self._watching()
        else:
            self.log.error("inbox.unavailable", detail=detail, seconds=round(seconds, 1))

    def _watching(self, **more: object) -> None:
        folder = self.inbox.drop_dir
        self.log.info(
            "inbox.watching",
            folder=str(folder),
            file_system=str(file_system_of(folder)),
            mode=self.watcher.mode,
            **more,
        )


def _octal(mode: str) -> int | None:
    return int(mode, 8) if mode else None
