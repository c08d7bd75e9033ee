"""Builds everything, runs the loop, and stops in order.

The main thread watches folders and hands files to a bounded pool of upload threads; nothing else is shared between
them but the ledger and the throttles. Signal handlers only record; the loop acts.
"""

import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from invoicedrop import __version__, exit_codes
from invoicedrop.channable.rate_limit import RateLimiter
from invoicedrop.errors import CheckUnavailable, ConfigError, LedgerUnavailable, Stopping
from invoicedrop.ledger.ledger import BucketLevel, Ledger
from invoicedrop.logs import get_logger, hide
from invoicedrop.pdf.validator import Validator
from invoicedrop.pipeline.job import Outcome, PdfCheck
from invoicedrop.pipeline.order_locks import KeyedLock
from invoicedrop.service.heartbeat import Heartbeat
from invoicedrop.service.inbox_worker import InboxWorker
from invoicedrop.service.lock import only_instance
from invoicedrop.service.systemd import SystemdNotifier
from invoicedrop.settings.load import token_reader
from invoicedrop.settings.models import Inbox, Settings
from invoicedrop.system.mover import DEFAULT_MOVER, Mover
from invoicedrop.timing import DEFAULT_TIMING, Timing


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
    ) -> None:
        self._settings = settings
        self._timing = timing
        self._new_validator = validator
        self._mover = mover
        self._on_progress = on_progress
        self._log = get_logger()
        self._signals: deque[int] = deque()
        self._results: deque[tuple[InboxWorker, str, Outcome | BaseException]] = deque()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._stopping = False
        self._workers: list[InboxWorker] = []
        self._rate_limiters: dict[str, RateLimiter] = {}
        self._bucket_written: dict[str, float] = {}

    def stop(self) -> None:
        """Stop, as SIGTERM does. May be called from any thread."""
        self._record(signal.SIGTERM)

    def run(self, *, once: bool = False) -> int:
        """Run until stopped; return the exit code.

        Raises:
            ConfigError: it cannot start.
            InstanceRunning: another instance holds the state folder.

        """
        settings = self._settings
        _require_folders(settings)
        with only_instance(settings.state_dir), self._signal_handlers():
            ledger = _open_ledger(settings)
            validator = self._new_validator(settings)
            # Its start takes as long as the first look at the folder.
            with suppress(CheckUnavailable):
                validator.warm_up()
            pool = ThreadPoolExecutor(_threads(settings), thread_name_prefix="upload")
            systemd = SystemdNotifier()
            interval = min(inbox.scan_interval for inbox in settings.inboxes)
            heartbeat = Heartbeat(settings.state_dir, interval, ledger, systemd)
            in_order = False
            try:
                self._build(ledger, validator)
                self._log.info("service.started", version=__version__, pid=os.getpid(), inboxes=len(self._workers))
                for warning in settings.warnings:
                    self._log.warning("service.started", detail=warning)
                self._loop(ledger, pool, heartbeat, once=once)
                in_order = True
            finally:
                systemd.stopping()
                if self._shut_down(ledger, validator, pool, heartbeat):
                    # A thread that hangs in the operating system (a dead network share) would keep us here for ever.
                    self._leave_it_behind(self._exit_code() if once else exit_codes.OK, in_order=in_order)
        return self._exit_code() if once else exit_codes.OK

    def _build(self, ledger: Ledger, validator: PdfCheck) -> None:
        orders = KeyedLock()
        places = threading.BoundedSemaphore(self._settings.upload_workers)
        for inbox in self._settings.inboxes:
            rate_limiter = self._rate_limiters.get(inbox.account)
            if rate_limiter is None:
                rate_limiter = self._rate_limiters[inbox.account] = RateLimiter(
                    inbox.requests_per_second, inbox.burst, timing=self._timing
                )
                remembered = ledger.bucket(inbox.account)
                if remembered is not None:
                    rate_limiter.restore(*remembered)
            self._workers.append(
                InboxWorker(
                    inbox,
                    self._settings,
                    token=token_reader(inbox, hide),
                    rate_limiter=rate_limiter,
                    ledger=ledger,
                    validator=validator,
                    orders=orders,
                    places=places,
                    wake=self.wake,
                    timing=self._timing,
                    mover=self._mover,
                )
            )

    # The loop

    def _loop(self, ledger: Ledger, pool: ThreadPoolExecutor, heartbeat: Heartbeat, *, once: bool) -> None:
        while True:
            self._heed_signals()
            self._take_back()
            if self._stopping:
                return
            for worker in self._workers:
                worker.mind_the_token()
                worker.look()
            self._hand_out(ledger, pool)
            heartbeat.beat(self._workers)
            if once and self._worked_off():
                return
            self._sleep(heartbeat.due)

    def _hand_out(self, ledger: Ledger, pool: ThreadPoolExecutor) -> None:
        """Give every inbox's oldest files to the upload threads, a fair share each."""
        for worker in self._workers[:]:
            free = self._free()
            if free <= 0 or not worker.room(free) or not self._bucket_is_written(ledger, worker.inbox):
                continue
            files = worker.hand_out(max(1, free // len(self._workers)))
            if files:
                # Who was served goes to the end: who found nothing free comes first next time.
                self._workers.remove(worker)
                self._workers.append(worker)
            for settled in files:
                future = pool.submit(worker.work, settled)
                future.add_done_callback(self._done(worker, settled.name))

    def _free(self) -> int:
        # None of the threads shall idle while this one looks up.
        return 2 * self._settings.upload_workers - sum(worker.busy for worker in self._workers)

    def _done(self, worker: InboxWorker, name: str) -> Callable[[Future[Outcome]], None]:
        def done(future: Future[Outcome]) -> None:
            result = Stopping("not begun") if future.cancelled() else future.exception() or future.result()
            self._results.append((worker, name, result))
            self.wake()

        return done

    def _take_back(self) -> None:
        while self._results:
            worker, name, result = self._results.popleft()
            worker.take_back(name, result)
            if self._on_progress is not None:
                done = sum(one.outcomes.total() for one in self._workers)
                self._on_progress(done, sum(len(one.tracker) for one in self._workers))

    def _bucket_is_written(self, ledger: Ledger, inbox: Inbox) -> bool:
        """Write down, before it is used, that the bucket may be full, so that a crash does not spend it twice."""
        if inbox.requests_per_second <= 0 or self._bucket_written.get(inbox.account, 0.0) > time.time():
            return True
        at = time.time() + self._timing.bucket_ahead
        try:
            ledger.remember_bucket(inbox.account, BucketLevel(float(inbox.burst), at))
        except LedgerUnavailable as trouble:
            for worker in self._workers:
                worker.folders.trip(trouble.detail, trouble.cause)
            return False
        self._bucket_written[inbox.account] = at
        return True

    def _worked_off(self) -> bool:
        """Say whether `run --once` has nothing left that could be done soon."""
        for worker in self._workers:
            if worker.busy or self._results:
                return False
            if worker.folders.detail is not None or worker.api.detail is not None:
                continue
            due = worker.tracker.next_due()
            if not worker.scanned or (due is not None and due < time.monotonic() + self._timing.once_patience):
                return False
        return True

    def _exit_code(self) -> int:
        left = any(len(one.tracker) or not one.scanned or one.watcher.longer_backlog for one in self._workers)
        if left:
            return exit_codes.TRY_LATER
        failed = sum(one.outcomes[Outcome.FAILED] for one in self._workers)
        return exit_codes.FAILED if failed else exit_codes.OK

    # Waking and sleeping

    def wake(self) -> None:
        """Let the loop look around now. May be called from any thread and from signal handlers."""
        with suppress(BlockingIOError, OSError):
            os.write(self._wake_write, b"!")

    def _sleep(self, until: float) -> None:
        free = self._free()
        due = min(until, *(worker.next_due(free) for worker in self._workers))
        timeout = max(0.0, due - time.monotonic())
        if not self._results and not self._signals:
            select.select([self._wake_read], [], [], timeout)
        with suppress(BlockingIOError):
            while os.read(self._wake_read, 4096):
                pass

    # Signals

    @contextmanager
    def _signal_handlers(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._record(number)

    def _record(self, number: int) -> None:
        self._signals.append(number)
        self.wake()

    def _heed_signals(self) -> None:
        # What comes after a request to stop is for the shutdown: it hurries that.
        while self._signals and not self._stopping:
            number = self._signals.popleft()
            if number == signal.SIGHUP:
                for worker in self._workers:
                    worker.new_token()
            else:
                self._stopping = True
                self._log.info("service.stopping", signal=signal.Signals(number).name)

    # The end

    def _leave_it_behind(self, code: int, *, in_order: bool) -> NoReturn:
        if not in_order:
            # Nobody else will tell of it.
            self._log.error("service.stopped", exc_info=True)
        os._exit(code if in_order else exit_codes.FAILED)

    def _shut_down(self, ledger: Ledger, validator: PdfCheck, pool: ThreadPoolExecutor, heartbeat: Heartbeat) -> int:
        """Stop in this order, so that nothing begins after what it needs has ended; return how many did not end."""
        # 1. What waits for its turn goes back: it has not begun.
        for rate_limiter in self._rate_limiters.values():
            rate_limiter.close()
        pool.shutdown(wait=False, cancel_futures=True)
        # 2. A check is cheap to repeat.
        validator.close()
        # 3. An upload under way gets its answer, if it comes in time; a second signal hurries it.
        busy = self._wait_for_uploads()
        # 4. Everything is written: close.
        with suppress(LedgerUnavailable):
            for account, rate_limiter in self._rate_limiters.items():
                ledger.remember_bucket(account, BucketLevel(*rate_limiter.level()))
        for worker in self._workers:
            worker.close()
        ledger.close()
        heartbeat.ended(self._workers)
        self._log.info("service.stopped", interrupted=busy)
        os.close(self._wake_read)
        os.close(self._wake_write)
        self._wake_read = self._wake_write = -1
        return busy

    def _wait_for_uploads(self) -> int:
        """Wait for running uploads, at most `request_timeout`; return how many did not end."""
        longest = max(inbox.request_timeout for inbox in self._settings.inboxes)
        deadline = time.monotonic() + longest + self._timing.last_wait
        again = hurried = False
        while True:
            self._take_back()
            while self._signals:
                again = self._signals.popleft() != signal.SIGHUP or again
            busy = sum(worker.busy for worker in self._workers)
            if again and not hurried:
                hurried = True
                deadline = time.monotonic() + self._timing.last_wait
                for worker in self._workers:
                    worker.client.abort()
            left = deadline - time.monotonic()
            if not busy or left <= 0:
                return busy
            if not self._results:
                select.select([self._wake_read], [], [], left)
            with suppress(BlockingIOError):
                os.read(self._wake_read, 4096)


def _require_folders(settings: Settings) -> None:
    missing = [
        f"drop_dir (inbox {inbox.name}): {inbox.drop_dir} does not exist: create it, mount it, or correct the setting"
        for inbox in settings.inboxes
        if not inbox.drop_dir.is_dir()
    ]
    if missing:
        raise ConfigError(missing)


def _open_ledger(settings: Settings) -> Ledger:
    try:
        return Ledger(settings.state_dir)
    except LedgerUnavailable as trouble:
        raise ConfigError(
            [f"state_dir: {trouble.detail}; is {settings.state_dir} writable and on a local disk?"]
        ) from trouble


def _threads(settings: Settings) -> int:
    """Return how many threads work: while one waits for its answer, another one's file is read, checked and filed.

    Only one, where one uploads: there the order of arrival is kept exactly.
    """
    return 2 * settings.upload_workers if settings.upload_workers > 1 else 1
