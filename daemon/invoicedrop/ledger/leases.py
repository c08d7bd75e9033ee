"""The leases of inboxes in a PostgreSQL database, so that one of several daemons works on each.

An inbox is owned through an advisory lock of the session that writes
(https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS): whatever ends that session ends the
lock, and a write of a session that has ended fails. The lock's key is made of the ledger's identity, the account, the
project and the inbox's name, which are the same on every machine; paths and inodes are not.

The server notices a process that has died, or a machine that is gone. A process that hangs, or was stopped, it does
not: its kernel goes on answering. So an owner also writes a beat, the database's time, at each turn of its main loop;
another daemon that has seen the same beat for `stale` seconds ends the owner's session, and takes the lock. The owner
counts for itself: it begins nothing unless its last beat is less than `valid` seconds old (`Lease.require`). Each
counts by its own machine's clock since the start, which nobody sets, and which goes on while a process is stopped: a
beat is only ever compared with the beat before.
"""

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol

from invoicedrop.errors import ConfigError, LedgerUnavailable
from invoicedrop.ledger.engine import Engine, Row, Values
from invoicedrop.ledger.lease import Holder, InboxKey, Lease, LeaseTimes, boot_time
from invoicedrop.ledger.statements import NOW

_TRY_LOCK: Final = "SELECT pg_try_advisory_lock(:lock)"

_TAKE: Final = f"""
    WITH before AS (
        SELECT life, backend, beat, host, pid, since FROM inbox_owners
        WHERE account = :account AND project_id = :project_id AND inbox = :name
    )
    INSERT INTO inbox_owners (account, project_id, inbox, life, backend, host, pid, since, beat)
    VALUES (:account, :project_id, :name, :life, pg_backend_pid(), :host, :pid, {NOW}, {NOW})
    ON CONFLICT (account, project_id, inbox) DO UPDATE SET
        life = excluded.life, backend = excluded.backend, host = excluded.host, pid = excluded.pid,
        since = excluded.since, beat = excluded.beat
    RETURNING (SELECT life FROM before), (SELECT backend FROM before), (SELECT beat FROM before),
              (SELECT host FROM before), (SELECT pid FROM before), (SELECT since FROM before)
"""  # noqa: S608 - constants

_BEAT: Final = f"""
    UPDATE inbox_owners SET beat = {NOW} WHERE life = :life AND backend = pg_backend_pid()
    RETURNING account, project_id, inbox
"""  # noqa: S608

_LOCK: Final = """
    locktype = 'advisory' AND objsubid = 1 AND granted AND CAST(classid AS bigint) = :high
    AND CAST(objid AS bigint) = :low AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
"""How the lock of a 64-bit key stands in the view pg_locks."""

_LOOK: Final = f"""
    SELECT held.pid, o.host, o.pid, o.since, CASE WHEN o.backend = held.pid THEN o.beat END
    FROM (SELECT pid FROM pg_locks WHERE {_LOCK}) AS held
    LEFT JOIN inbox_owners o ON o.account = :account AND o.project_id = :project_id AND o.inbox = :name
"""  # noqa: S608

_END: Final = f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE {_LOCK} AND pid = :backend"  # noqa: S608

_STAND_BY: Final = "SELECT pg_try_advisory_lock_shared(:lock)"
_WORK: Final = "SELECT pg_advisory_unlock_shared(:lock)"
_OTHERS: Final = f"SELECT pid FROM pg_locks WHERE {_LOCK} AND pid <> pg_backend_pid()"  # noqa: S608
_GIVE_WAY: Final = "SELECT pg_advisory_unlock(:lock)"

_GIVE_UP: Final = "DELETE FROM inbox_owners WHERE life = :life AND backend = pg_backend_pid() RETURNING inbox"

_SOON: Final = 0.2
"""Seconds until the next turn, when a session was just ended."""
_TURNS_FOR_OTHERS: Final = 3
"""For so many turns an inbox is left to the daemon that it was given to."""


class SessionEngine(Engine, Protocol):
    """An engine whose session owns the locks."""

    @property
    def session(self) -> int | None:
        """The number of the session that writes; None while there is none."""

    def write_once(self, statement: str, values: Values, session: int | None) -> list[Row]:
        """Execute a statement as `write` does, but once at the most."""


class _Beat(NamedTuple):
    """An owner's session, and its last beat; None before its first one."""

    backend: int
    beat: float | None


class DatabaseLeases:
    """`Leases` that the database decides about. `identity` returns the ledger's, once it is connected to."""

    is_shared = True

    def __init__(
        self, engine: SessionEngine, identity: Callable[[], str], inboxes: Sequence[InboxKey], times: LeaseTimes
    ) -> None:
        self.next_turn = 0.0
        self.trouble: str | None = None
        self._engine = engine
        self._identity = identity
        self._inboxes = inboxes
        self._times = times
        self._life = secrets.token_hex(8)
        self._leases: dict[InboxKey, Lease] = {}
        self._holders: dict[InboxKey, Holder] = {}
        self._seen: dict[InboxKey, tuple[_Beat, float]] = {}
        self._locks: dict[InboxKey, int] = {}
        self._standing_by: set[InboxKey] = set()
        self._not_before: dict[InboxKey, float] = {}

    def start(self) -> None:
        """Take the first turn; see `Leases`."""
        self._turn()

    def turn(self) -> None:
        """Renew what is ours, and take what is free; nothing before the next turn is due."""
        if time.monotonic() >= self.next_turn:
            try:
                self._turn()
            except ConfigError as error:
                # It was right at the start: somebody is at work on the server.
                self._in_trouble("; ".join(error.problems))

    def lease(self, inbox: InboxKey) -> Lease | None:
        """Return our lease of an inbox; None if it is not ours."""
        return self._leases.get(inbox)

    def holder(self, inbox: InboxKey) -> Holder | None:
        """Return who else works on an inbox, as the last turn has seen it."""
        return self._holders.get(inbox)

    def give_way(self, inbox: InboxKey) -> bool:
        """Give an inbox to another daemon that stands by; return False, and keep it, if none is known of."""
        try:
            if not self._write(_OTHERS, **_halves(_standby_lock(self._locks[inbox]))):
                return False
        except LedgerUnavailable as error:
            self._in_trouble(error.detail)
            return False
        # What is under way ends without it; whoever takes over waits for that.
        self._leases.pop(inbox).end()
        try:
            # As often as it was taken: a turn may have failed right after it had been.
            while self._once(_GIVE_WAY, lock=self._locks[inbox])[0][0]:
                pass
        except LedgerUnavailable as error:
            self._in_trouble(error.detail)
        self._not_before[inbox] = time.monotonic() + _TURNS_FOR_OTHERS * self._times.beat
        return True

    def release(self, *, clean: bool) -> None:
        """Give everything up; `clean`: nothing that was begun is still under way."""
        session = self._engine.session
        if clean and self._leases and session is not None:
            # If not, whoever takes over waits a little longer.
            with suppress(LedgerUnavailable):
                self._engine.write(_GIVE_UP, {"life": self._life}, session)
        self._end_all()

    # How

    def _turn(self) -> None:
        try:
            if self._engine.session is None:
                self._end_all()
                self._engine.connect()
                identity = self._identity()
                self._locks = {inbox: advisory_key(fingerprint(identity, inbox)) for inbox in self._inboxes}
            self._renew()
            for inbox in self._inboxes:
                if inbox not in self._leases and time.monotonic() >= self._not_before.get(inbox, 0.0):
                    self._try(inbox)
            self.trouble = None
        except LedgerUnavailable as error:
            self._in_trouble(error.detail)
            return
        except BaseException:
            self._end_all()
            raise
        self.next_turn = max(self.next_turn, time.monotonic() + self._times.beat)

    def _in_trouble(self, detail: str) -> None:
        if self._engine.session is None:
            self._end_all()
        # What we could not see for a while proves nothing of others.
        self._seen.clear()
        self.trouble = detail
        self.next_turn = time.monotonic() + self._times.beat

    def _end_all(self) -> None:
        for lease in self._leases.values():
            lease.end()
        self._leases.clear()
        self._holders.clear()
        self._standing_by.clear()

    def _renew(self) -> None:
        if not self._leases:
            return
        at = boot_time()
        renewed = {InboxKey(*row) for row in self._write(_BEAT, life=self._life)}
        for inbox, lease in list(self._leases.items()):
            if inbox in renewed and lease.session == self._engine.session:
                lease.renew(at)
            else:
                lease.end()
                del self._leases[inbox]

    def _try(self, inbox: InboxKey) -> None:
        """Take an inbox if it is free; see whether its owner is silent if not."""
        lock = self._locks[inbox]
        ((is_free,),) = self._once(_TRY_LOCK, lock=lock)
        if not is_free:
            self._look(inbox, lock)
            return
        at = boot_time()
        mine = {"life": self._life, "host": os.uname().nodename, "pid": os.getpid()}
        ((life, backend, beat, *before),) = self._write(_TAKE, **inbox._asdict(), **mine)
        previous = None if life in {None, self._life} else Holder(*before)
        last_beat, seen_at = self._seen.pop(inbox, (None, at))
        if last_beat != _Beat(backend, beat):
            # There was another one since the last look: when, nobody knows.
            seen_at = at
        quarantine = 0.0 if life is None else max(0.0, self._times.stale - (at - seen_at))
        lease = Lease(self._engine.session, valid=self._times.valid, previous=previous, quarantine=quarantine)
        lease.renew(at)
        self._leases[inbox] = lease
        self._holders.pop(inbox, None)
        if inbox in self._standing_by:
            self._once(_WORK, lock=_standby_lock(lock))
            self._standing_by.discard(inbox)

    def _look(self, inbox: InboxKey, lock: int) -> None:
        if inbox not in self._standing_by:
            self._once(_STAND_BY, lock=_standby_lock(lock))
            self._standing_by.add(inbox)
        key = _halves(lock)
        rows = self._write(_LOOK, **key, **inbox._asdict())
        if not rows:
            return  # it has just become free
        backend, host, pid, since, beat = rows[0]
        if host is not None:
            self._holders[inbox] = Holder(host, pid, since)
        now = boot_time()
        seen, at = self._seen.get(inbox, (None, now))
        if seen != _Beat(backend, beat):
            self._seen[inbox] = (_Beat(backend, beat), now)
        elif now - at > self._times.stale:
            self._write(_END, **key, backend=backend)
            self.next_turn = time.monotonic() + _SOON

    def _write(self, statement: str, **values: Any) -> list[Row]:
        return self._engine.write(statement, values, self._session())

    def _once(self, statement: str, **values: Any) -> list[Row]:
        return self._engine.write_once(statement, values, self._session())

    def _session(self) -> int:
        session = self._engine.session
        if session is None:
            raise LedgerUnavailable("the connection to the database is lost")
        return session


def fingerprint(identity: str, inbox: InboxKey) -> str:
    """Return what tells this ledger's inbox from every other one, on every machine."""
    return hashlib.sha256("\n".join((identity, *map(str, inbox))).encode()).hexdigest()


def _standby_lock(lock: int) -> int:
    """Return the key of the lock that all hold who stand by for the inbox of this lock."""
    return advisory_key(f"stands by for {lock}")


def _halves(lock: int) -> dict[str, int]:
    """Return a key as the view pg_locks shows it."""
    return {"high": lock >> 32 & 0xFFFFFFFF, "low": lock & 0xFFFFFFFF}


def advisory_key(text: str) -> int:
    """Return the key of the advisory lock that stands for a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], signed=True)
