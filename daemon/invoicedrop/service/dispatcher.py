"""Files to the upload threads and results back: a fair share for each inbox, and no more than there is time for."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from invoicedrop.errors import LedgerUnavailable, NoThreads, Stopping
from invoicedrop.pipeline.job import Outcome, SettledFile
from invoicedrop.service.inbox_worker import InboxWorker
from invoicedrop.service.rate_limiters import RateLimiters


class _Task:
    """A file on its way to a thread. Whoever claims it first decides what becomes of it: a thread, or the main loop."""

    def __init__(self, worker: InboxWorker, file: SettledFile) -> None:
        self.worker = worker
        self.file = file
        self._claim = threading.Lock()

    def claim(self) -> bool:
        """Claim the task; return whether nobody has before."""
        return self._claim.acquire(blocking=False)


class _Result(NamedTuple):
    """What became of a file: how it ended, or the error that its delivery raised."""

    task: _Task
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
        raise _refused(error, count) from error
    finally:
        over.set()
        for thread in started:
            thread.join()


def _refused(error: RuntimeError, wanted: int) -> NoThreads:
    return NoThreads(
        f"the system gives no more threads ({error}), {wanted} are wanted: see the limits of this user and this "
        "service (ulimit -u, TasksMax, pids.max), or set upload_workers lower"
    )


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
        self._threads = 2 * upload_workers if upload_workers > 1 else 1
        # One more for the looks at accepted invoices' orders.
        _require_threads(self._threads + 1)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="upload")
        # The next file is at hand when a thread has done with one.
        self._limit = 2 * upload_workers
        self._tasks: set[_Task] = set()
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
                self._pause_all(error)
                return
            files = worker.dispatch(max(1, free // len(self._workers)))
            if files:
                # An inbox that found nothing free comes first next time.
                self._next_served.remove(worker)
                self._next_served.append(worker)
            for file in files:
                self._submit(_Task(worker, file))

    def collect_results(self) -> None:
        """Give every result back to the worker of its inbox."""
        while self._results:
            task, result = self._results.popleft()
            self._tasks.discard(task)
            task.worker.collect(task.file.name, result)
            if self._on_progress is not None:
                done = sum(each.outcomes.total() for each in self._workers)
                self._on_progress(done, sum(each.tracked for each in self._workers))

    def cancel_pending(self) -> None:
        """Cancel what no thread has begun, which comes back as `Stopping`, and take nothing new."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for task in self._tasks:
            self._take_back(task, Stopping("not begun"))

    def _pause_all(self, trouble: LedgerUnavailable) -> None:
        for worker in self._workers:
            worker.pause(trouble.detail, trouble.cause)

    def _submit(self, task: _Task) -> None:
        self._tasks.add(task)
        try:
            self._pool.submit(self._run, task)
        except RuntimeError as error:
            # The pool keeps it for a thread that it may get some day: not begun by now, it goes back.
            self._take_back(task, _refused(error, self._threads))

    def _take_back(self, task: _Task, reason: NoThreads | Stopping) -> None:
        if task.claim():
            self._put(task, reason)

    def _run(self, task: _Task) -> None:
        """Process a file, in an upload thread."""
        if not task.claim():
            return
        try:
            result: Outcome | BaseException = task.worker.process(task.file)
        except BaseException as error:  # noqa: BLE001 - whatever it is, `collect` judges it
            result = error
        self._put(task, result)

    def _put(self, task: _Task, result: Outcome | BaseException) -> None:
        self._results.append(_Result(task, result))
        self._wake()
