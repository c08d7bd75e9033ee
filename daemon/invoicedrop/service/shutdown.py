"""The ordered stop: nothing begins after what it needs has ended, and nothing that was answered is forgotten."""

import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from invoicedrop.errors import LedgerUnavailable
from invoicedrop.ledger.lease import Leases
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.logs import get_logger
from invoicedrop.pipeline.job import PdfCheck
from invoicedrop.service.companion import Companion
from invoicedrop.service.confirmer import Confirmer
from invoicedrop.service.dispatcher import Dispatcher
from invoicedrop.service.heartbeat import Heartbeat
from invoicedrop.service.inbox_worker import InboxWorker
from invoicedrop.service.rate_limiters import RateLimiters
from invoicedrop.service.signals import SignalQueue
from invoicedrop.service.waker import Waker


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """The stop of these parts. Uploads under way get `patience` seconds.

    Then, or once a second signal comes, they are broken off and get `last_wait` seconds to end.
    """

    workers: Sequence[InboxWorker]
    dispatcher: Dispatcher
    rate_limiters: RateLimiters
    confirmer: Confirmer
    validator: PdfCheck
    ledger: Ledger
    leases: Leases
    heartbeat: Heartbeat
    companions: Sequence[Companion]
    signals: SignalQueue
    waker: Waker
    patience: float
    last_wait: float

    def run(self) -> int:
        """Stop in this order; return how many uploads did not end, whose threads still run."""
        # 1. What waits for its turn goes back: it has not begun.
        self.rate_limiters.close()
        self.dispatcher.cancel_pending()
        self.confirmer.stop()
        # 2. A check is cheap to repeat, and so is a look at an order.
        self.validator.close()
        self.confirmer.close()
        # 3. An upload under way gets its answer, if it comes in time; a second signal hurries it.
        interrupted = self._wait_for_uploads()
        # 4. Everything is written down: close.
        with suppress(LedgerUnavailable):
            self.rate_limiters.save()
        for worker in self.workers:
            worker.close()
        self.leases.release(clean=not interrupted)
        self.ledger.close()
        self.heartbeat.stop(self.workers)
        # 5. Who tells others of us can say that we have stopped.
        for companion in self.companions:
            companion.stop()
        get_logger().info("service.stopped", interrupted=interrupted)
        return interrupted

    def _wait_for_uploads(self) -> int:
        deadline = time.monotonic() + self.patience
        hurried = False
        while True:
            self.dispatcher.collect_results()
            if not hurried and (self._is_asked_to_hurry() or time.monotonic() >= deadline):
                hurried = True
                deadline = time.monotonic() + self.last_wait
                for worker in self.workers:
                    worker.abort()
            remaining = deadline - time.monotonic()
            if not self.dispatcher.busy or remaining <= 0:
                return self.dispatcher.busy
            self.waker.wait(remaining)

    def _is_asked_to_hurry(self) -> bool:
        signals = list(iter(self.signals.pop, None))
        return any(number != signal.SIGHUP for number in signals)
