"""One inbox at work: its folder polled, its settled files dispatched, their results collected, its troubles remembered.

Everything here runs in the main loop's thread, but for `process`, which runs in the upload threads.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from invoicedrop.channable.client import ApiClient
from invoicedrop.channable.concurrency_limit import ConcurrencyLimit
from invoicedrop.channable.order_book import OrderBook
from invoicedrop.channable.project import Project
from invoicedrop.channable.rate_limit import RateLimiter
from invoicedrop.channable.upload_body import encoded_length
from invoicedrop.circuit_breaker import CircuitBreaker
from invoicedrop.errors import (
    FolderUnavailable,
    LedgerUnavailable,
    PauseCause,
)
from invoicedrop.inbox.events import Events
from invoicedrop.inbox.filing import Filing
from invoicedrop.inbox.stability import StabilityTracker
from invoicedrop.inbox.watcher import Watcher
from invoicedrop.ledger.lease import Leases
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.pipeline.held_up import HeldUp
from invoicedrop.pipeline.intake import Intake
from invoicedrop.pipeline.job import DeliveryContext, Outcome, PdfCheck, SettledFile
from invoicedrop.pipeline.order_locks import KeyedLock
from invoicedrop.service.folder_claims import FolderClaim
from invoicedrop.service.folder_health import FolderHealth
from invoicedrop.service.folder_upkeep import FolderUpkeep
from invoicedrop.service.inbox_lease import InboxLease
from invoicedrop.service.inbox_log import InboxLog
from invoicedrop.service.inbox_results import InboxResults
from invoicedrop.service.inbox_stops import InboxStop, InboxStops
from invoicedrop.service.known_folders import KnownFolders
from invoicedrop.service.status_file import InboxReport
from invoicedrop.service.token_watch import TokenWatch
from invoicedrop.settings.inbox import Inbox
from invoicedrop.system.mover import Mover
from invoicedrop.tally import Tally
from invoicedrop.timing import Timing


class InboxWorker:
    """One inbox at work. `upload_slots` are shared by all inboxes, `uploads` by those of one API address.

    `answers` counts the API's answers by their status. `wake` may be called from any thread.
    """

    def __init__(
        self,
        inbox: Inbox,
        *,
        state_dir: Path,
        claim: FolderClaim,
        leases: Leases,
        token: Callable[[], str],
        rate_limiter: RateLimiter,
        ledger: Ledger,
        validator: PdfCheck,
        orders: KeyedLock,
        upload_workers: int,
        upload_slots: threading.Semaphore,
        uploads: ConcurrencyLimit,
        stops: InboxStops,
        wake: Callable[[], None],
        timing: Timing,
        mover: Mover,
    ) -> None:
        self.inbox = inbox
        self._claim = claim
        held_up = HeldUp(least=timing.told_wait)
        self._log = InboxLog(inbox, lambda: self._watcher.mode, held_up.note)
        self._lease = InboxLease(leases, inbox, self._log, patience=timing.lease_stale)
        self._stop = InboxStop(inbox, stops, ledger, self._log)
        self._timing = timing
        self.answers = Tally()
        self._client = ApiClient.open(
            inbox.api_url,
            token,
            rate_limiter,
            request_timeout=inbox.request_timeout,
            connections=upload_workers,
            slots=upload_slots,
            largest_body=encoded_length(inbox.max_file_bytes),
            uploads=uploads,
            network=inbox.network,
            answers=self.answers,
        )
        self._token = TokenWatch(
            inbox.api_token_file, token, lambda: self._client.token_in_use, interval=inbox.scan_interval
        )
        self._api = CircuitBreaker(self._log.api_changed, timing=timing)
        self._folders = FolderHealth(claim, self._log.folders_changed, timing=timing)
        self._tracker = StabilityTracker(inbox.settle_seconds, clock=time.monotonic)
        known_folders = KnownFolders(state_dir, inbox.name, inbox.fixed_folders)
        filing = Filing(
            inbox.drop_dir,
            inbox.processed_dir,
            inbox.failed_dir,
            file_mode=_octal(inbox.file_mode),
            dir_mode=_octal(inbox.dir_mode),
            require_mounted=known_folders.require_mounted,
            language=inbox.language,
            timing=timing,
            mover=mover,
        )
        project = Project(self._client, inbox.company_id, inbox.project_id, self._api, timing=timing)
        order_book = OrderBook(project, lambda: self._watcher.waiting, timing=timing)
        self._context = DeliveryContext(
            inbox,
            project,
            filing,
            ledger,
            validator,
            orders,
            order_book,
            timing,
            is_stopped=lambda: self.is_stopped,
            held_up=held_up,
        )
        self._intake = Intake(self._context)
        self._watcher = Watcher(
            inbox.drop_dir,
            self._tracker,
            scan_interval=inbox.scan_interval,
            events=Events(wake),
            on_ignored=self._log.ignored,
            on_many_ignored=self._log.many_ignored,
            own_folders=inbox.fixed_folders,
            own_files=() if inbox.page is None else (inbox.page,),
        )
        self._upkeep = FolderUpkeep(known_folders, filing, self._recover, sweep_interval=timing.reason_sweep)
        self._results = InboxResults(
            self._tracker, self._watcher, self._folders, self._context.deferrals, self._log, timing=timing
        )
        self._busy = 0
        self._scanned = False

    # How it is doing

    @property
    def name(self) -> str:
        """The inbox's name."""
        return self.inbox.name

    @property
    def outcomes(self) -> Counter[Outcome]:
        """How many invoices ended how."""
        return self._results.outcomes

    @property
    def is_owned(self) -> bool:
        """Whether this daemon works on the inbox, and no other. May be asked in any thread."""
        return self._lease.held is not None

    @property
    def is_paused(self) -> bool:
        """Whether nobody can upload now. May be asked in any thread."""
        return self._api.detail is not None

    @property
    def is_stopped(self) -> bool:
        """Whether a person has stopped the inbox, or its first start holds what waits. May be asked in any thread."""
        return self._stop.words is not None

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
        if self._lease.held is None:
            return True
        if self._folders.folders_fail or self._api.detail is not None:
            return True
        if self.is_stopped:
            return self._scanned
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
        standby = self._lease.standby
        # Whoever works on it says what is wrong: here nothing is tried, and what was wrong would stay for ever.
        unavailable = None if standby is not None else self._folders.detail
        paused = None if standby is not None else self._api.detail
        checks, check_seconds = self._context.checks.summary()
        return InboxReport(
            waiting=self._watcher.waiting,
            mode=self._watcher.mode,
            unavailable=unavailable,
            unavailable_cause=None if unavailable is None else self._folders.cause,
            unavailable_since=None if unavailable is None else self._folders.since + ahead,
            standby=standby,
            paused=paused,
            paused_cause=None if paused is None else self._api.cause,
            paused_since=None if paused is None else self._api.since + ahead,
            next_probe=None if paused is None else max(time.time(), self._api.until + ahead),
            stopped_by=self._stop.words,
            slow=self._client.slowness,
            token=self._token.mark(),
            put_off=self._results.deferred(),
            accepted=self._results.outcomes[Outcome.PROCESSED],
            duplicates=self._results.outcomes[Outcome.DUPLICATE],
            failures=self._context.failures.counts(),
            last_accepted=self._results.last_accepted,
            answers=self.answers.counts(),
            rate=self._client.rate_limiter.rate,
            checks=checks,
            check_seconds=check_seconds,
        )

    # What the main loop has it do

    def look_for_stop(self) -> None:
        """See whether a person has stopped the inbox, or let it go on."""
        self._stop.look()

    def poll(self) -> None:
        """See what is new: a token, files in the folder, or that a folder that was in trouble is back."""
        if self._token.has_new() or (self._api.detail is not None and self._client.token_changed()):
            self.reload_token()
        self._lease.note_folders(fail=self._folders.folders_fail and not self._scanned)
        if not self._is_leased():
            return
        self.look_for_stop()
        if not self._folders.are_ours():
            self._scanned = False
            return
        if self._folders.detail is not None and time.monotonic() < self._folders.until:
            return
        try:
            self._stop.begin()
            if time.monotonic() >= self._watcher.next_scan and self._upkeep.folders_have_moved():
                self._folders.want_trial()
            if not self._scanned or self._folders.trial_wanted:
                self._prepare()
            self._watcher.look()
            self._upkeep.sweep()
        except (FolderUnavailable, LedgerUnavailable) as error:
            self._scanned = False
            self._folders.folders_failed(error.detail, error.cause)
            return
        self._log_unseen()
        self._folders.folders_work(files_wait=bool(self._tracker))

    def capacity(self, wanted: int) -> int:
        """Return how many files, at most `wanted`, may be dispatched now: all, one as a probe, or none."""
        if not self._scanned or self._lease.held is None or self.is_stopped:
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
        self._results.take(name, result)

    def pause(self, detail: str, cause: PauseCause) -> None:
        """Dispatch nothing for a while: what all invoices need cannot be used now, for the reason in `detail`."""
        self._folders.hold(detail, cause)

    def reload_token(self) -> None:
        """Use the token that is in its file now."""
        self._client.forget_token()
        self._api.probe_now()

    def next_due(self, wanted: int) -> float:
        """Return the monotonic time when there may be something to do without being woken."""
        if self._lease.held is None:
            return self._lease.next_look
        if self._folders.detail is not None and (not self._scanned or time.monotonic() < self._folders.until):
            # Until then `poll` does nothing but look at whose the folder is.
            return self._folders.next_trial
        due = [self._watcher.next_scan, self._upkeep.next_sweep, self._folders.next_look]
        settled = self._tracker.next_due()
        # Where all threads are taken, the next result wakes the loop.
        if settled is not None and wanted > 0:
            if self.capacity(wanted):
                due.append(settled)
            elif not self._busy and not self.is_stopped and self._api.detail is not None:
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

    def _is_leased(self) -> bool:
        """Whether the inbox is ours to work on; if that has changed, begin with it, or leave it alone."""
        if self._lease.look():
            self._scanned = False
            if self._lease.held is None:
                self._claim.release()
            else:
                # What is still under way goes on under the lease before.
                self._context = self._context.under(self._lease.held)
                self._intake = Intake(self._context)
                self._upkeep.begin_anew()
                self._folders.try_now()
        if self._lease.trouble is not None:
            self._folders.folders_failed(self._lease.trouble, PauseCause.LEDGER)
        return self._lease.held is not None

    def _prepare(self) -> None:
        """See that all folders can be used, finish what a crash left, and scan."""
        self._upkeep.prepare(busy=self._busy > 0)
        if not self._scanned:
            self._watcher.scan_soon()
            self._watcher.look()
            self._log.watching(waiting=self._watcher.waiting)
            self._stop.judge_first_start(self._watcher.waiting)
        self._scanned = True
        self._folders.trial_passed()

    def _recover(self) -> None:
        self._intake.recover()

    def _log_unseen(self) -> None:
        for name, detail in self._watcher.unseen.items():
            if self._context.deferrals.is_news(name, detail):
                self._log.unseen(name, detail)
        if self._tracker.unstable_inodes:
            self._log.unstable_inodes()


def _octal(mode: str) -> int | None:
    return int(mode, 8) if mode else None
