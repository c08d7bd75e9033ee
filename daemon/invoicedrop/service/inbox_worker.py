"""One inbox at work: its folder polled, its settled files dispatched, their results collected, its troubles remembered.

Everything here runs in the main loop's thread, but for `process`, which runs in the upload threads.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from invoicedrop.channable.client import ApiClient
from invoicedrop.channable.project import Project
from invoicedrop.channable.rate_limit import RateLimiter
from invoicedrop.circuit_breaker import CircuitBreaker
from invoicedrop.errors import (
    Changed,
    CheckUnavailable,
    Deferred,
    FileUnavailable,
    FolderUnavailable,
    LedgerUnavailable,
    PauseCause,
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
from invoicedrop.service.folder_claims import FolderClaim
from invoicedrop.service.known_folders import KnownFolders
from invoicedrop.service.status_file import InboxReport
from invoicedrop.settings.models import Inbox
from invoicedrop.system.file_systems import file_system_of
from invoicedrop.system.mover import Mover
from invoicedrop.timing import Timing

_MAX_REPORTED: Final = 100
"""Deferred files whose reason and time are kept for the report."""
_SWEEP_SLICE: Final = 0.1
"""Seconds of one turn that the removal of reasons may take, and so many more times this is the pause after it:"""
_SWEEP_PAUSE: Final = 10


class InboxWorker:
    """One inbox at work. `upload_slots` are shared by all inboxes; `wake` may be called from any thread."""

    def __init__(
        self,
        inbox: Inbox,
        *,
        state_dir: Path,
        claim: FolderClaim,
        token: Callable[[], str],
        rate_limiter: RateLimiter,
        ledger: Ledger,
        validator: PdfCheck,
        orders: KeyedLock,
        upload_workers: int,
        upload_slots: threading.Semaphore,
        wake: Callable[[], None],
        timing: Timing,
        mover: Mover,
    ) -> None:
        self.inbox = inbox
        self.outcomes: Counter[Outcome] = Counter()
        self._log = get_logger().bind(inbox=inbox.name)
        self._timing = timing
        self._claim = claim
        self._client = ApiClient.open(
            inbox.api_url,
            token,
            rate_limiter,
            request_timeout=inbox.request_timeout,
            connections=upload_workers,
            slots=upload_slots,
        )
        self._api = CircuitBreaker(self._log_api_change, timing=timing)
        self._folders = CircuitBreaker(self._log_folders_change, timing=timing)
        self._tracker = StabilityTracker(inbox.settle_seconds, clock=time.monotonic)
        self._filing = Filing(
            inbox.drop_dir,
            inbox.processed_dir,
            inbox.failed_dir,
            file_mode=_octal(inbox.file_mode),
            dir_mode=_octal(inbox.dir_mode),
            timing=timing,
            mover=mover,
        )
        project = Project(self._client, inbox.company_id, inbox.project_id, self._api)
        self._context = DeliveryContext(inbox, project, self._filing, ledger, validator, orders, timing)
        self._intake = Intake(self._context)
        self._watcher = Watcher(
            inbox.drop_dir,
            self._tracker,
            scan_interval=inbox.scan_interval,
            events=Events(wake),
            on_ignored=self._log_ignored,
            on_many_ignored=self._log_many_ignored,
            own_folders=(inbox.processed_dir, inbox.failed_dir),
        )
        self._known_folders = KnownFolders(
            state_dir, inbox.name, (inbox.drop_dir, inbox.processed_dir, inbox.failed_dir)
        )
        self._busy = 0
        self._deferrals: dict[str, tuple[float, str]] = {}
        self._refusal: str | None = None
        self._scanned = False
        self._cleaned_up = False
        self._file_met_trouble = False
        self._recheck_folders = False
        self._next_trial = 0.0
        self._failing: set[str] = set()
        self._names_fail = False
        self._inodes_told = False
        self._next_sweep = 0.0

    # How it is doing

    @property
    def name(self) -> str:
        """The inbox's name."""
        return self.inbox.name

    @property
    def is_scanned(self) -> bool:
        """Whether the folder has been seen whole since the start, or since its last trouble."""
        return self._scanned

    @property
    def is_paused(self) -> bool:
        """Whether nobody can upload now. May be asked in any thread."""
        return self._api.detail is not None

    @property
    def busy(self) -> int:
        """How many files were dispatched and not collected yet."""
        return self._busy

    @property
    def tracked(self) -> int:
        """How many files are known to wait here or to be under way; of a long backlog only the first."""
        return len(self._tracker)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left here that could be done soon.

        That is within `Timing.once_patience`, or the time that a file gets to become whole: how long it has not
        changed is known only by having watched it.
        """
        if self._busy:
            return False
        if (self._folders.detail is not None and not self._names_fail) or self._api.detail is not None:
            return True
        due = self._tracker.next_due()
        patience = max(self._timing.once_patience, self.inbox.incomplete_grace)
        return self._scanned and (due is None or due >= time.monotonic() + patience)

    @property
    def has_work_left(self) -> bool:
        """Whether files are still waiting, or may be: the folder cannot be scanned, or has more than can be tracked."""
        unseen = self._watcher.longer_backlog or bool(self._watcher.unseen)
        return bool(self._tracker) or not self._scanned or unseen

    def report(self) -> InboxReport:
        """Return how the inbox is doing, for the status file."""
        # Waits are kept by the monotonic clock: what is shown follows a wall clock that somebody sets.
        ahead = time.time() - time.monotonic()
        next_probe = max(time.time(), self._api.until + ahead)
        return InboxReport(
            waiting=self._watcher.waiting,
            mode=self._watcher.mode,
            unavailable=self._folders.detail,
            paused=self._api.detail,
            next_probe=None if self._api.detail is None else next_probe,
            put_off=self._put_off(ahead),
        )

    # What the main loop has it do

    def poll(self) -> None:
        """See what is new: a token, files in the folder, or that a folder that was in trouble is back."""
        if self._api.detail is not None and self._client.token_changed():
            self.reload_token()
        if not self._is_ours():
            return
        if self._folders.detail is not None and time.monotonic() < self._folders.until:
            return
        try:
            if time.monotonic() >= self._watcher.next_scan and self._known_folders.require_mounted():
                self._recheck_folders = True
            if not self._scanned or self._recheck_folders:
                self._prepare()
            self._watcher.look()
            self._sweep()
        except (FolderUnavailable, LedgerUnavailable) as error:
            self._scanned = False
            self._file_met_trouble = self._names_fail = False
            self._folders.trip(error.detail, error.cause)
            return
        self._log_unseen()
        if not self._file_met_trouble or not len(self._tracker):
            # That the folder is in order says nothing of files: those that fail are counted until one passes.
            self._file_met_trouble = self._names_fail = False
            self._folders.reset()

    def capacity(self, wanted: int) -> int:
        """Return how many files, at most `wanted`, may be dispatched now: all, one as a probe, or none."""
        if not self._scanned:
            return 0
        return min(self._api.allowance(self._busy, wanted), self._folders.allowance(self._busy, wanted))

    def dispatch(self, limit: int) -> list[SettledFile]:
        """Return up to `limit` settled files to process, oldest first; `collect` takes the result of each."""
        now = time.monotonic()
        files = [
            SettledFile(name, identity, now - since)
            for name, identity, since in self._tracker.take(self.capacity(limit))
        ]
        self._busy += len(files)
        return files

    def process(self, file: SettledFile) -> Outcome:
        """Take one file to its end. Runs in an upload thread; what it returns or raises is for `collect`."""
        return self._intake.take(file)

    def collect(self, name: str, result: Outcome | BaseException) -> None:
        """Take the result of a file that was dispatched."""
        self._busy -= 1
        self._deferrals.pop(name, None)
        match result:
            case Outcome():
                self.outcomes[result] += 1
                self._tracker.release(name)
                self._context.deferrals.forget(name)
                self._reset_folders()
            case Deferred():
                self._defer(name, result.delay, result.detail)
                if isinstance(result, FileUnavailable):
                    self._note_failing(name, result)
                else:
                    self._failing.clear()
            case Changed():
                self._context.deferrals.forget(name)
                self._tracker.settle_again(name)
                self._watcher.look_at(name)
            case FolderUnavailable() | LedgerUnavailable() | CheckUnavailable():
                # The next probe takes another file: this one may be what cannot pass.
                self._tracker.put_back(name, last=True)
                self._names_fail = False
                self._file_met_trouble = True
                self._recheck_folders = True
                self._folders.trip(result.detail, result.cause)
            case Paused() | Stopping():
                self._tracker.put_back(name)
            case _:
                # A fault of this program: the other invoices go on.
                delay = self._context.deferrals.next_delay(name, self._timing.fault_retry)
                if self._context.deferrals.is_news(name, repr(result)):
                    self._log.error(
                        "invoice.deferred", file=name, seconds=delay, detail="internal error", exc_info=result
                    )
                self._defer(name, delay, "internal error")

    def pause(self, detail: str, cause: PauseCause) -> None:
        """Dispatch nothing for a while: what all invoices need cannot be used now, for the reason in `detail`."""
        self._folders.trip(detail, cause)

    def reload_token(self) -> None:
        """Use the token that is in its file now."""
        self._client.forget_token()
        self._api.probe_now()

    def next_due(self, wanted: int) -> float:
        """Return the monotonic time when there may be something to do without being woken."""
        if self._refusal is not None:
            return self._claim.next_look
        if self._folders.detail is not None and (not self._scanned or time.monotonic() < self._folders.until):
            # Until then `poll` does nothing but look at whose the folder is.
            return min(self._folders.until, self._claim.next_look)
        due = [self._watcher.next_scan, self._next_sweep, self._claim.next_look]
        settled = self._tracker.next_due()
        # Where all threads are taken, the next result wakes the loop.
        if settled is not None and wanted > 0:
            if self.capacity(wanted):
                due.append(settled)
            elif not self._busy and self._api.detail is not None:
                due.append(self._api.until)
        return min(due)

    def abort(self) -> None:
        """Break off every request that is under way."""
        self._client.abort()

    def close(self) -> None:
        """Close connections and stop listening to the folder."""
        self._watcher.close()
        self._client.close()

    # How

    def _is_ours(self) -> bool:
        """Whether the folder and our state are still ours; if not, nothing is handed out until they are."""
        refusal = self._claim.refusal()
        if refusal is not None:
            self._scanned = False
            self._file_met_trouble = self._names_fail = False
            if refusal != self._refusal:
                self._folders.trip(refusal, PauseCause.FOLDER)
        elif self._refusal is not None:
            self._folders.probe_now()
        self._refusal = refusal
        return refusal is None

    def _prepare(self) -> None:
        """See that all folders can be used, finish what a crash left, and scan."""
        self._known_folders.require_mounted()
        self._filing.prepare()
        if not self._cleaned_up and not self._busy:
            # Never beside upload threads: what they have begun looks like what a crash left.
            self._cleaned_up = self._filing.clean_up()
        self._known_folders.remember()
        self._intake.recover()
        if not self._scanned:
            self._watcher.scan_soon()
            self._watcher.look()
            self._log_watching(waiting=self._watcher.waiting)
        self._scanned = True
        self._recheck_folders = False

    def _sweep(self) -> None:
        """Remove the reasons of invoices that have left the failed folder, now and then."""
        if time.monotonic() >= self._next_sweep:
            some_left = self._filing.sweep_reasons(_SWEEP_SLICE)
            pause = _SWEEP_SLICE * _SWEEP_PAUSE if some_left else self._timing.reason_sweep
            self._next_sweep = time.monotonic() + pause

    def _defer(self, name: str, delay: float, detail: str) -> None:
        self._tracker.put_off(name, delay)
        if len(self._deferrals) >= _MAX_REPORTED:
            tracked = {other: wait for other, wait in self._deferrals.items() if other in self._tracker}
            self._deferrals = tracked
        if len(self._deferrals) < _MAX_REPORTED:
            self._deferrals[name] = (time.monotonic() + delay, detail)

    def _put_off(self, ahead: float) -> dict[str, tuple[float, str]]:
        """Return until when, and why, files are put off: those that cannot even be looked at until the next scan.

        `ahead` are the seconds by which the wall clock, which is shown, is ahead of the monotonic one.
        """
        next_scan = max(time.monotonic(), self._watcher.next_scan) + ahead
        unseen = {storable(name): (next_scan, detail) for name, detail in self._watcher.unseen.items()}
        # One that is due stays: it may have to wait for its turn, and then for the same reason.
        return unseen | {
            storable(name): (until + ahead, detail)
            for name, (until, detail) in self._deferrals.items()
            if name in self._tracker
        }

    def _note_failing(self, name: str, trouble: FileUnavailable) -> None:
        """A file cannot be read or moved: its own trouble, until a trial or several different files say otherwise."""
        now = time.monotonic()
        if now >= self._next_trial:
            self._next_trial = now + self._timing.folder_trial
            self._recheck_folders = True
        if not self._context.deferrals.is_repeated(name):
            self._failing.add(name)
        if len(self._failing) >= CircuitBreaker.FAILURE_THRESHOLD or self._names_fail:
            detail = self._folders.detail if self._names_fail else None
            self._file_met_trouble = self._names_fail = True
            # Another file may pass at any time, and each waits for its own next try besides.
            self._folders.trip(
                detail or f"several files in a row cannot be read or moved, as this one: {trouble.detail}",
                PauseCause.FOLDER,
                wait=self._timing.next_file,
            )

    def _reset_folders(self) -> None:
        self._file_met_trouble = self._names_fail = False
        self._failing.clear()
        self._folders.reset()

    def _log_api_change(self, detail: str | None, seconds: float) -> None:
        if detail is None:
            self._log.info("api.resumed")
        else:
            self._log.warning("api.paused", detail=detail, seconds=round(seconds, 1))

    def _log_folders_change(self, detail: str | None, seconds: float) -> None:
        if detail is None:
            self._log_watching()
        else:
            self._log.error("inbox.unavailable", detail=detail, seconds=round(seconds, 1))

    def _log_watching(self, **fields: object) -> None:
        folder = self.inbox.drop_dir
        self._log.info(
            "inbox.watching",
            folder=str(folder),
            file_system=str(file_system_of(folder)),
            mode=self._watcher.mode,
            **fields,
        )

    def _log_unseen(self) -> None:
        for name, detail in self._watcher.unseen.items():
            if self._context.deferrals.is_news(name, detail):
                self._log.warning(
                    "invoice.deferred", file=name, seconds=round(self.inbox.scan_interval, 1), detail=detail
                )
        if self._tracker.unstable_inodes and not self._inodes_told:
            self._inodes_told = True
            self._log_watching(
                detail="inode numbers change from look to look here (a FUSE file system without stable ones?): "
                "files are told apart by size and time alone"
            )

    def _log_many_ignored(self, count: int) -> None:
        self._log.info("file.ignored", count=count, why="so many entries are left alone that new ones are only counted")

    def _log_ignored(self, name: str, why: str) -> None:
        self._log.info("file.ignored", file=name, why=why)


def _octal(mode: str) -> int | None:
    return int(mode, 8) if mode else None
