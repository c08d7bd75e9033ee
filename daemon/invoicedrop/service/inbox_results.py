"""What becomes of a file that was dispatched: it is done, is put off, waits for what all need, or is treated as new.

For the main loop's thread.
"""

import time
from collections import Counter

from invoicedrop.errors import (
    Changed,
    CheckUnavailable,
    Deferred,
    FileUnavailable,
    FolderUnavailable,
    LedgerUnavailable,
    NoThreads,
    Paused,
    Stopping,
)
from invoicedrop.inbox.stability import StabilityTracker
from invoicedrop.inbox.watcher import Watcher
from invoicedrop.pipeline.deferrals import Deferrals
from invoicedrop.pipeline.job import Outcome
from invoicedrop.service.deferral_report import DeferralReport
from invoicedrop.service.folder_health import FolderHealth
from invoicedrop.service.inbox_log import InboxLog
from invoicedrop.timing import Timing


class InboxResults:
    """The results of one inbox's files. `outcomes` counts how invoices ended.

    `last_accepted` is when the last one was accepted, in seconds since the epoch.
    """

    def __init__(
        self,
        tracker: StabilityTracker,
        watcher: Watcher,
        folders: FolderHealth,
        deferrals: Deferrals,
        log: InboxLog,
        *,
        timing: Timing,
    ) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self.last_accepted: float | None = None
        self._tracker = tracker
        self._watcher = watcher
        self._folders = folders
        self._deferrals = deferrals
        self._log = log
        self._timing = timing
        self._deferral_report = DeferralReport(tracker, watcher)

    def take(self, name: str, result: Outcome | BaseException) -> None:
        """Take the result of a file that was dispatched."""
        self._deferral_report.forget(name)
        match result:
            case Outcome():
                self.outcomes[result] += 1
                if result is Outcome.PROCESSED:
                    self.last_accepted = time.time()
                self._tracker.release(name)
                self._deferrals.forget(name)
                self._folders.file_passed()
            case Deferred():
                self._defer(name, result.delay, result.detail)
                if isinstance(result, FileUnavailable):
                    again = self._deferrals.is_repeated(name)
                    self._folders.file_failed(name, result.detail, again=again)
                else:
                    self._folders.file_was_read()
            case Changed():
                self._deferrals.forget(name)
                self._tracker.settle_again(name)
                self._watcher.look_at(name)
            case FolderUnavailable() | LedgerUnavailable() | CheckUnavailable() | NoThreads():
                # The next probe takes another file: this one may be what cannot pass.
                self._tracker.put_back(name, last=True)
                self._folders.file_met_trouble(result.detail, result.cause)
            case Paused() | Stopping():
                self._tracker.put_back(name)
            case _:
                # A fault of this program: the other invoices go on.
                delay = self._deferrals.next_delay(name, self._timing.fault_retry)
                if self._deferrals.is_news(name, repr(result)):
                    self._log.internal_error(name, delay, result)
                self._defer(name, delay, "internal error")

    def deferred(self) -> dict[str, tuple[float, str]]:
        """Return until when (seconds since the epoch) files are deferred, and why."""
        return self._deferral_report.current()

    def _defer(self, name: str, delay: float, detail: str) -> None:
        self._tracker.put_off(name, delay)
        self._deferral_report.note(name, delay, detail)
