"""The main loop: poll, dispatch, collect, beat, sleep. All in the main thread."""

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from invoicedrop.ledger.lease import Leases
from invoicedrop.logs import get_logger
from invoicedrop.service.dispatcher import Dispatcher
from invoicedrop.service.heartbeat import Heartbeat
from invoicedrop.service.inbox_worker import InboxWorker
from invoicedrop.service.signals import SignalQueue
from invoicedrop.service.waker import Waker


@dataclass(frozen=True, slots=True, kw_only=True)
class MainLoop:
    """The loop over these parts."""

    workers: Sequence[InboxWorker]
    dispatcher: Dispatcher
    heartbeat: Heartbeat
    leases: Leases
    signals: SignalQueue
    waker: Waker

    def run(self, *, once: bool) -> None:
        """Go round until a signal asks to stop or, with `once`, until nothing is left that could be done soon."""
        while not self._is_asked_to_stop():
            self.dispatcher.collect_results()
            for worker in self.workers:
                # Also between two: a look into a long folder takes its time.
                self.leases.turn()
                worker.poll()
            self.dispatcher.dispatch()
            self.heartbeat.beat(self.workers)
            if once and all(worker.is_idle for worker in self.workers):
                return
            self._sleep()

    def _is_asked_to_stop(self) -> bool:
        """Handle the signals that came, up to a request to stop: what comes after it hurries the shutdown."""
        while (number := self.signals.pop()) is not None:
            if number != signal.SIGHUP:
                get_logger().info("service.stopping", signal=number.name)
                return True
            for worker in self.workers:
                worker.reload_token()
        return False

    def _sleep(self) -> None:
        """Sleep until the loop is woken, or something is due."""
        free = self.dispatcher.free
        due = min(self.heartbeat.due, self.leases.next_turn, *(worker.next_due(free) for worker in self.workers))
        self.waker.wait(due - time.monotonic())
