"""Who may work on an inbox: a lease, which is held while it is renewed, and ends for good when it is lost.

A ledger in a file has one daemon, which may always (`SoleOwner`). Where several share a ledger, `leases` has the
database decide.
"""

import math
import time
from typing import Final, NamedTuple, Protocol

from invoicedrop.errors import LedgerUnavailable


def boot_time() -> float:
    """Return the seconds since the machine was started: they go on while a process is stopped, and a machine asleep."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class InboxKey(NamedTuple):
    """What an inbox is called on every machine: the account, the project, and its name in the settings."""

    account: str
    project_id: int
    name: str


class Holder(NamedTuple):
    """A daemon that works on an inbox; `since` is in seconds since the epoch, by the database's clock."""

    host: str
    pid: int
    since: float

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.since))
        return f"process {self.pid} on {self.host}, since {since}"


class LeaseTimes(NamedTuple):
    """Seconds: between two renewals, for how long each counts, and after which silence another daemon takes over.

    `stale` is longer than `valid` by more than two clocks may drift apart in that time.
    """

    beat: float
    valid: float
    stale: float


class Lease:
    """The right to work on one inbox, from taking it to losing it. Thread-safe.

    It is held through a `session` with the database (None: no session is needed), and for `valid` seconds after each
    renewal: a process that was stopped meanwhile finds it run out. `previous` is who had it before and did not give it
    up, and `quarantine` for how many seconds more that one may still be sending.
    """

    def __init__(
        self,
        session: int | None = None,
        *,
        valid: float = math.inf,
        previous: Holder | None = None,
        quarantine: float = 0.0,
    ) -> None:
        self.session = session
        self.previous = previous
        self._valid = valid
        self._quarantine_ends = boot_time() + quarantine
        self._runs_out = math.inf if math.isinf(valid) else 0.0
        self._ended = False

    def renew(self, at: float) -> None:
        """It was renewed: the database was asked at this time by `boot_time`, or later."""
        self._runs_out = at + self._valid

    def end(self) -> None:
        """It is lost, or given up, for good."""
        self._ended = True

    def require(self) -> None:
        """Check, right before something is done that nobody else may be doing.

        Raises:
            LedgerUnavailable: it is lost, or was not renewed in time: another daemon may have it.

        """
        if self._ended or boot_time() >= self._runs_out:
            raise LedgerUnavailable(
                "the inbox may be another machine's by now: its lease in the database is lost, or was not renewed"
            )

    @property
    def quarantine(self) -> float:
        """For how many seconds more the one that had it before may still be sending."""
        return max(0.0, self._quarantine_ends - boot_time())


class Leases(Protocol):
    """The leases of one daemon's inboxes. For one thread, the main loop's: one that hangs must look like one."""

    @property
    def is_shared(self) -> bool:
        """Whether other daemons may have them."""

    @property
    def next_turn(self) -> float:
        """Monotonic time of the next turn."""

    @property
    def trouble(self) -> str | None:
        """Why the database cannot be used now; None while all is well."""

    def start(self) -> None:
        """Take the first turn.

        Raises:
            ConfigError: a setting is wrong, so that no later turn would go better.

        """

    def turn(self) -> None:
        """Renew what is ours, and take what is free or whose owner is silent; nothing before the next turn is due."""

    def lease(self, inbox: InboxKey) -> Lease | None:
        """Return our lease of an inbox; None if it is not ours."""

    def holder(self, inbox: InboxKey) -> Holder | None:
        """Return who else works on an inbox, as the last turn has seen it."""

    def give_way(self, inbox: InboxKey) -> bool:
        """Give an inbox of ours to another daemon that stands by; return False, and keep it, if there is none."""

    def release(self, *, clean: bool) -> None:
        """Give everything up; `clean`: nothing that was begun is still under way."""


_ALWAYS: Final = Lease()


class SoleOwner:
    """The leases of a daemon that shares its ledger with nobody."""

    is_shared = False
    next_turn = math.inf
    trouble = None

    def start(self) -> None:
        """Do nothing."""

    def turn(self) -> None:
        """Do nothing."""

    def lease(self, _inbox: InboxKey) -> Lease:
        """Return what never runs out."""
        return _ALWAYS

    def holder(self, _inbox: InboxKey) -> None:
        """Nobody else works on it."""

    def give_way(self, _inbox: InboxKey) -> bool:
        """Nobody else stands by."""
        return False

    def release(self, *, clean: bool) -> None:
        """Do nothing."""
