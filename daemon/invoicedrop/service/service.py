"""The daemon: builds everything, runs the main loop, and stops in order.

The main thread polls the folders and dispatches files to a bounded pool of upload threads; the threads share nothing
but the ledger, the rate limiters and the circuit breakers.
"""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Final

from invoicedrop import __version__, exit_codes
from invoicedrop.channable.concurrency_limit import ConcurrencyLimit
from invoicedrop.errors import ConfigError, LedgerDamaged, LedgerUnavailable
from invoicedrop.ledger.condition import condition_of, require_sound
from invoicedrop.ledger.lease import Leases, LeaseTimes
from invoicedrop.ledger.ledger import LEDGER_FILE, Ledger
from invoicedrop.logs import get_logger, hide
from invoicedrop.pdf.validator import Validator
from invoicedrop.pipeline.job import Outcome, PdfCheck
from invoicedrop.pipeline.order_locks import KeyedLock
from invoicedrop.service import lost_ledger
from invoicedrop.service.companion import Companion
from invoicedrop.service.confirmer import ConfirmedProject, Confirmer
from invoicedrop.service.dispatcher import Dispatcher
from invoicedrop.service.folder_claims import FolderClaim, claimed
from invoicedrop.service.heartbeat import Heartbeat
from invoicedrop.service.inbox_stops import InboxStops
from invoicedrop.service.inbox_worker import InboxWorker
from invoicedrop.service.ledger_place import key_of, shared_ledger
from invoicedrop.service.lock import StateFolder, only_instance
from invoicedrop.service.main_loop import MainLoop
from invoicedrop.service.rate_limiters import RateLimiters
from invoicedrop.service.shutdown import Shutdown
from invoicedrop.service.signals import SignalQueue
from invoicedrop.service.status_file import StatusFile
from invoicedrop.service.systemd import SystemdNotifier
from invoicedrop.service.waker import Waker
from invoicedrop.settings.load import token_reader
from invoicedrop.settings.settings import Settings
from invoicedrop.system import confinement
from invoicedrop.system.mover import DEFAULT_MOVER, Mover
from invoicedrop.system.presence import is_folder
from invoicedrop.timing import DEFAULT_TIMING, Timing

_LOOK_SECONDS: Final = 2.0
"""How long the start may look for damage; 500 MB take 1.3 s, as long as they are in memory."""


def new_validator(settings: Settings) -> Validator:
    """Return the validator that these settings ask for."""
    return Validator(timeout=settings.validator_timeout, memory_mb=settings.validator_memory_mb)


class Service:
    """The daemon. `run` blocks until it is stopped or, with `once`, until what is there is worked off."""

    def __init__(
        self,
        settings: Settings,
        *,
        on_progress: Callable[[int, int], None] | None = None,
        timing: Timing = DEFAULT_TIMING,
        validator: Callable[[Settings], PdfCheck] = new_validator,
        mover: Mover = DEFAULT_MOVER,
        companions: Sequence[Companion] = (),
    ) -> None:
        self._settings = settings
        self._on_progress = on_progress
        self._timing = timing
        self._new_validator = validator
        self._mover = mover
        self._companions = companions
        self._ledger_signs: list[str] = []
        self._log = get_logger()
        self.remarks: Sequence[str] = ()
        """After `run`: why work was left that could have been done, in sentences."""
        self._waker = Waker()
        self._signals = SignalQueue(self._waker.wake, self._waker.woken_by_signals)

    def stop(self) -> None:
        """Stop, as SIGTERM does. May be called from any thread."""
        self._signals.put(signal.SIGTERM)

    def run(self, *, once: bool = False) -> int:
        """Run until stopped; return the exit code.

        Raises:
            ConfigError: it cannot start.
            InstanceRunning: another instance holds the state folder, or a drop folder.
            NoThreads: the system gives no threads.
            CheckUnavailable: it gives no processes.

        """
        settings = self._settings
        _require_folders(settings)
        with ExitStack() as held:
            state = held.enter_context(only_instance(settings.state_dir))
            held.enter_context(self._waker)
            held.enter_context(self._signals.handlers())
            ledger, self._ledger_signs = _open_ledger(settings, self._timing)
            if ledger.path is not None:
                state.keep(ledger.path)
            try:
                leases = self._start_leases(ledger)
                if ledger.is_shared and leases.trouble is None:
                    with suppress(LedgerUnavailable):
                        self._ledger_signs = lost_ledger.signs(settings, lost_ledger.NO_FILE, ledger)
                claims = held.enter_context(claimed(settings.inboxes, ledger, leases, state.trouble, self._timing))
            except BaseException:
                ledger.close()
                raise
            validator = self._new_validator(settings)
            rate_limiters = RateLimiters(ledger, self._timing)
            try:
                # Starting its process takes as long as building the workers and the first look at the folders.
                validator.warm_up()
                workers = self._build_workers(claims, leases, ledger, validator, rate_limiters)
                dispatcher = Dispatcher(
                    workers,
                    rate_limiters,
                    self._settings.upload_workers,
                    wake=self._waker.wake,
                    on_progress=self._on_progress,
                )
            except BaseException:
                validator.close()
                ledger.close()
                raise
            return self._run(workers, dispatcher, state, leases, ledger, validator, rate_limiters, once=once)

    def _start_leases(self, ledger: Ledger) -> Leases:
        timing = self._timing
        leases = ledger.leases(
            [key_of(inbox) for inbox in self._settings.inboxes],
            LeaseTimes(timing.lease_beat, timing.lease_valid, timing.lease_stale),
        )
        leases.start()
        return leases

    def _build_workers(
        self,
        claims: Sequence[FolderClaim],
        leases: Leases,
        ledger: Ledger,
        validator: PdfCheck,
        rate_limiters: RateLimiters,
    ) -> list[InboxWorker]:
        orders = KeyedLock()
        stops = InboxStops(ledger, look=self._timing.stop_look)
        most = self._settings.upload_workers
        upload_slots = threading.BoundedSemaphore(most)
        uploads = {inbox.api_url: ConcurrencyLimit(most) for inbox in self._settings.inboxes}
        return [
            InboxWorker(
                inbox,
                state_dir=self._settings.state_dir,
                claim=claim,
                leases=leases,
                token=token_reader(inbox, hide),
                rate_limiter=rate_limiters.limiter_of(inbox),
                ledger=ledger,
                validator=validator,
                orders=orders,
                upload_workers=most,
                upload_slots=upload_slots,
                uploads=uploads[inbox.api_url],
                stops=stops,
                wake=self._waker.wake,
                timing=self._timing,
                mover=self._mover,
            )
            for inbox, claim in zip(self._settings.inboxes, claims, strict=True)
        ]

    def _build_confirmer(
        self, workers: Sequence[InboxWorker], ledger: Ledger, rate_limiters: RateLimiters
    ) -> Confirmer:
        by_project: dict[tuple[str, int], list[InboxWorker]] = {}
        for worker in workers:
            by_project.setdefault((worker.inbox.account, worker.inbox.project_id), []).append(worker)
        projects = []
        for sharing in by_project.values():
            looked_at = [worker for worker in sharing if worker.inbox.confirm == "on"]
            if looked_at:
                inbox = looked_at[0].inbox
                project = ConfirmedProject(
                    inbox,
                    token=token_reader(inbox, hide),
                    rate_limiter=rate_limiters.limiter_of(inbox),
                    ledger=ledger,
                    is_paused=partial(_are_paused, sharing),
                    others=partial(_not_owned, sharing) if ledger.is_shared else frozenset,
                    switched_off=frozenset(worker.name for worker in sharing) - {worker.name for worker in looked_at},
                    timing=self._timing,
                    answers=looked_at[0].answers,
                )
                projects.append(project)
        return Confirmer(projects, self._timing)

    def _run(
        self,
        workers: list[InboxWorker],
        dispatcher: Dispatcher,
        state: StateFolder,
        leases: Leases,
        ledger: Ledger,
        validator: PdfCheck,
        rate_limiters: RateLimiters,
        *,
        once: bool,
    ) -> int:
        settings = self._settings
        systemd = SystemdNotifier()
        scans = (inbox.scan_interval for inbox in settings.inboxes)
        interval = min(systemd.watchdog_seconds / 2, self._timing.longest_beat, *scans)
        status = StatusFile(settings.status_file, settings.state_dir, int(settings.status_mode or "0600", 8))
        heartbeat = Heartbeat(state, interval, ledger, systemd, status, self._companions)
        loop = MainLoop(
            workers=workers,
            dispatcher=dispatcher,
            heartbeat=heartbeat,
            leases=leases,
            signals=self._signals,
            waker=self._waker,
        )
        confirmer = self._build_confirmer(workers, ledger, rate_limiters)
        shutdown = Shutdown(
            workers=workers,
            dispatcher=dispatcher,
            rate_limiters=rate_limiters,
            confirmer=confirmer,
            validator=validator,
            ledger=ledger,
            leases=leases,
            heartbeat=heartbeat,
            companions=self._companions,
            signals=self._signals,
            waker=self._waker,
            patience=max(inbox.request_timeout for inbox in settings.inboxes),
            last_wait=self._timing.last_wait,
        )
        finished = False
        try:
            self._log_start()
            for worker in workers:
                # Before anything is asked of the API.
                worker.look_for_stop()
            if not once:
                confirmer.start()
            for companion in self._companions:
                companion.start()
            heartbeat.begin(workers)
            loop.run(once=once)
            finished = True
        finally:
            self.remarks = [f"{worker.name}: {why}" for worker in workers if (why := worker.report().stopped_by)]
            systemd.stopping()
            if shutdown.run():
                # A thread that hangs in the operating system (a dead network share) would keep us here for ever.
                if not finished:
                    # The process ends here: this line alone can say why.
                    self._log.error("service.stopped", exc_info=True)
                os._exit(_exit_code(workers, once=once) if finished else exit_codes.FAILED)
        return _exit_code(workers, once=once)

    def _log_start(self) -> None:
        inboxes = len(self._settings.inboxes)
        self._log.info("service.started", version=__version__, pid=os.getpid(), inboxes=inboxes)
        # The checking processes are offered what we are.
        shortcoming = confinement.offered().shortcoming
        for warning in (*self._ledger_signs, *self._settings.warnings, *([shortcoming] if shortcoming else [])):
            self._log.warning("service.started", detail=warning)


def _are_paused(workers: Sequence[InboxWorker]) -> bool:
    """Whether nobody may ask the project's API now, or nobody wants to: a person has stopped all of its inboxes."""
    return any(worker.is_paused for worker in workers) or all(worker.is_stopped for worker in workers)


def _not_owned(workers: Sequence[InboxWorker]) -> frozenset[str]:
    return frozenset(worker.name for worker in workers if not worker.is_owned)


def _exit_code(workers: Sequence[InboxWorker], *, once: bool) -> int:
    if not once:
        return exit_codes.OK
    if any(worker.has_work_left for worker in workers):
        return exit_codes.TRY_LATER
    return exit_codes.FAILED if any(worker.outcomes[Outcome.FAILED] for worker in workers) else exit_codes.OK


def _require_folders(settings: Settings) -> None:
    missing = []
    for inbox in settings.inboxes:
        # One that cannot be looked at now is waited for.
        with suppress(OSError):
            if not is_folder(inbox.drop_dir):
                missing.append(
                    f"drop_dir (inbox {inbox.name}): {inbox.drop_dir} does not exist: create it, mount it, or correct "
                    "the setting"
                )
    if missing:
        raise ConfigError(missing)


def _open_ledger(settings: Settings, timing: Timing) -> tuple[Ledger, list[str]]:
    """Return the ledger, and what speaks against its being the one that was at work here before.

    One in a database is connected to later, and waited for.
    """
    shared = shared_ledger(settings, patience=timing.database_answer)
    if shared is not None:
        return shared, []
    path = settings.state_dir / LEDGER_FILE
    try:
        before = condition_of(path)
        if before.log is not None and not before.is_strange:
            # Who had it open last did not close it: the machine may have lost power, on a disk that loses writes.
            require_sound(path, seconds=_LOOK_SECONDS)
        ledger = Ledger.open(settings.state_dir)
        try:
            return ledger, lost_ledger.signs(settings, before, ledger)
        except BaseException:
            ledger.close()
            raise
    except LedgerDamaged as damage:
        raise ConfigError([damage.detail]) from damage
    except LedgerUnavailable as trouble:
        raise ConfigError(
            [f"state_dir: {trouble.detail}; is {settings.state_dir} writable and on a local disk?"]
        ) from trouble
