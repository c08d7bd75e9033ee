"""The one thread that looks at the orders of accepted invoices, when nobody waits for anything.

Each project has a client of its own for it: a slow look takes no connection, and no place among the uploads under way,
and a circuit breaker of its own: what a look meets tells nobody else to wait, but for the rate limit, which a 429
lowers for all. While one of the project's inboxes is paused there are no looks, also not as a probe.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from invoicedrop.channable.client import ApiClient
from invoicedrop.channable.project import Project
from invoicedrop.channable.rate_limit import RateLimiter
from invoicedrop.circuit_breaker import CircuitBreaker
from invoicedrop.errors import Changed, Deferred, LedgerUnavailable, Paused, Rejected, Stopping, Unanswered
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.logs import get_logger
from invoicedrop.pipeline.confirm import Confirmation
from invoicedrop.settings.inbox import Inbox
from invoicedrop.tally import Tally
from invoicedrop.timing import Timing

_BESIDE_OTHERS: Final = 100
"""As many that are due are read where some may be another daemon's."""
_BETWEEN_ABORTS: Final = 0.05
"""Seconds; a request that was about to leave when the others were broken off is caught by the next one."""


class ConfirmedProject:
    """A project whose accepted invoices are looked at; `is_paused` tells whether one of its inboxes is paused.

    `others` returns the names of its inboxes that another daemon works on now: their invoices are that one's.
    """

    def __init__(
        self,
        inbox: Inbox,
        *,
        token: Callable[[], str],
        rate_limiter: RateLimiter,
        ledger: Ledger,
        is_paused: Callable[[], bool],
        others: Callable[[], frozenset[str]],
        switched_off: frozenset[str],
        timing: Timing,
        answers: Tally,
    ) -> None:
        self._account = inbox.account
        self._project_id = inbox.project_id
        self._ledger = ledger
        self._is_paused = is_paused
        self._others = others
        self._switched_off = switched_off
        self._timing = timing
        self._breaker = CircuitBreaker(lambda _detail, _seconds: None, timing=timing)
        self._client = ApiClient.open(
            inbox.api_url,
            token,
            rate_limiter,
            request_timeout=inbox.request_timeout,
            connections=1,
            spare=True,
            network=inbox.network,
            answers=answers,
        )
        project = Project(self._client, inbox.company_id, inbox.project_id, self._breaker)
        self._confirmation = Confirmation(project, ledger, timing)

    def step(self) -> float:
        """Look at the order that is due first, if one is; return after how many seconds to come again.

        Raises:
            LedgerUnavailable: the ledger cannot be used now.
            Stopping: the service is being stopped.

        """
        held_back = self._breaker.until - time.monotonic() if self._breaker.detail is not None else 0.0
        if held_back > 0:
            return held_back
        now = time.time()
        latest = now + 2 * self._timing.confirm_after[-1]
        others = self._others()
        most = _BESIDE_OTHERS if others else 1
        found = self._ledger.to_confirm(self._account, self._project_id, now=now, latest=latest, most=most)
        due = [entry for entry in found if entry.inbox not in others]
        if found and not due:
            return self._timing.confirm_retry
        if not due:
            # Nothing that is accepted meanwhile is due earlier than its first look.
            moment = self._ledger.next_confirmation(self._account, self._project_id)
            longest = self._timing.confirm_after[0]
            return longest if moment is None else min(longest, max(0.0, moment - now))
        if self._is_paused():
            return self._timing.confirm_retry
        try:
            return self._look(due[0])
        except Changed:
            return 0.0

    def abort(self) -> None:
        """Break off the read that is under way."""
        self._client.abort()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _look(self, entry: Entry) -> float:
        if entry.inbox in self._switched_off:
            self._ledger.look_put_off(entry, None)
            return 0.0
        try:
            self._confirmation.look(entry)
        except Deferred as busy:
            return busy.delay
        except (Changed, LedgerUnavailable, Stopping):
            raise
        except (Rejected, Unanswered, Paused):
            # Not what was broken off because the service stops.
            self._client.rate_limiter.require_open()
            # A pause as well: were it this order alone that is answered so, it would hold up all others.
            self._confirmation.not_read(entry)
        except Exception:  # noqa: BLE001 - logged, with its traceback
            # A fault of this program: the other looks go on.
            delay = self._timing.longest_confirm_retry
            self._ledger.look_put_off(entry, delay)
            get_logger().exception(
                "invoice.deferred",
                inbox=entry.inbox,
                file=entry.file,
                order_id=entry.order_id,
                sha256=entry.sha256,
                seconds=delay,
                detail="internal error while its order was looked at again",
            )
        return 0.0


class Confirmer:
    """The thread, from `start` to `stop` and `close`; without projects there is none."""

    def __init__(self, projects: Sequence[ConfirmedProject], timing: Timing) -> None:
        self._projects = projects
        self._timing = timing
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="confirmer", daemon=True)

    def start(self) -> None:
        """Begin."""
        if self._projects:
            self._thread.start()

    def stop(self) -> None:
        """Begin no look any more. May be called twice."""
        self._stopping.set()

    def close(self) -> None:
        """Break off the look that is under way, which is cheap to repeat, and end."""
        self.stop()
        deadline = time.monotonic() + self._timing.last_wait
        while self._thread.is_alive() and time.monotonic() < deadline:
            for project in self._projects:
                project.abort()
            self._thread.join(_BETWEEN_ABORTS)
        for project in self._projects:
            project.close()

    def _run(self) -> None:
        due = dict.fromkeys(self._projects, 0.0)
        while not self._stopping.wait(max(0.0, min(due.values()) - time.monotonic())):
            project = min(due, key=due.__getitem__)
            try:
                wait = project.step()
            except LedgerUnavailable:
                # The inboxes say so in the log.
                wait = self._timing.confirm_retry
            except Stopping:
                return
            due[project] = time.monotonic() + wait
