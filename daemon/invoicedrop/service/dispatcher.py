"""Files to the upload threads and results back: a fair share for each inbox, and no more than there is time for."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from invoicedrop.errors import LedgerUnavailable, NoThreads, PauseCause, Stopping
from invoicedrop.pipeline.job import Outcome
from invoicedrop.service.inbox_worker import InboxWorker
from invoicedrop.service.rate_limiters import RateLimiters


class _Result(NamedTuple):
    """What became of a file: how it ended, or the error that its delivery raised."""

    worker: InboxWorker
    name: str
    result: Outcome | BaseException


def _require_threads(count: int) -> None:
    """Check that so many threads can be had, so that the pool, which starts them one by one, does not fail at work.

    Raises:
        NoThreads: the system gives no more threads.

    """
    over = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=over.wait)
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        raise NoThreads(
            f"the system gives no more threads ({error}), {count} are wanted: see the limits of this user and this "
            "service (ulimit -u, TasksMax, pids.max), or set upload_workers lower"
        ) from error
    finally:
        over.set()
        for thread in started:
            thread.join()


class Dispatcher:
    """The pool of upload threads, shared by all inboxes. Used by the main loop alone.

    `wake` is called in an upload thread when there is a result; `on_progress(done, waiting)` for each one collected.
    """

    def __init__(
        self,
        workers: Sequence[InboxWorker],
        rate_limiters: RateLimiters,
        upload_workers: int,
        *,
        wake: Callable[[], None],
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._workers = workers
        self._next_served = deque(workers)
        self._rate_limiters = rate_limiters
        self._wake = wake
        self._on_progress = on_progress
        # While one thread waits for its answer, another one's file is read, checked and filed. Only one, where one
        # uploads: there the order of arrival is kept exactly.
        threads = 2 * upload_workers if upload_workers > 1 else 1
        # One more for the looks at accepted invoices' orders.
        _require_threads(threads + 1)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="upload")
        # The next file is at hand when a thread has done with one.
        self._limit = 2 * upload_workers
        self._results: deque[_Result] = deque()

    @property
    def busy(self) -> int:
        """How many files were dispatched and not collected yet."""
        return sum(worker.busy for worker in self._workers)

    @property
    def free(self) -> int:
        """How many more files may be dispatched now."""
        return self._limit - self.busy

    def dispatch(self) -> None:
        """Give every inbox's oldest files to the upload threads, a fair share each."""
        for worker in list(self._next_served):
            free = self.free
            if free <= 0 or not worker.capacity(free):
                continue
            try:
                self._rate_limiters.reserve(worker.inbox)
            except LedgerUnavailable as error:
                self._pause_all(error.detail)
                return
            files = worker.dispatch(max(1, free // len(self._workers)))
            if files:
                # An inbox that found nothing free comes first next time.
                self._next_served.remove(worker)
                self._next_served.append(worker)
            for file in files:
                self._pool.submit(worker.process, file).add_done_callback(self._when_done(worker, file.name))

    def collect_results(self) -> None:
        """Give every result back to the worker of its inbox."""
        while self._results:
            worker, name, result = self._results.popleft()
            worker.collect(name, result)
            if self._on_progress is not None:
                done = sum(each.outcomes.total() for each in self._workers)
                self._on_progress(done, sum(each.tracked for each in self._workers))

    def cancel_pending(self) -> None:
        """Cancel what no thread has begun, which comes back as `Stopping`, and take nothing new."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _pause_all(self, detail: str) -> None:
        for worker in self._workers:
            worker.pause(detail, PauseCause.LEDGER)

    def _when_done(self, worker: InboxWorker, name: str) -> Callable[[Future[Outcome]], None]:
        def put_result(future: Future[Outcome]) -> None:
            result = Stopping("not begun") if future.cancelled() else future.exception() or future.result()
            self._results.append(_Result(worker, name, result))
            self._wake()

        return put_result
