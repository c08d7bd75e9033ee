"""What is known about each invoice, on disk before and after everything that matters.

An entry is one invoice: `(account, project, order, order items, sha256)`. Its `reference` is order and items in one, as
the file name says them: "8355", or "8355_items-11-12". A committed entry survives power loss.
"""

import secrets
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

from invoicedrop.errors import Changed, NotInstalled
from invoicedrop.invoice import Receipt, State, require_legal_move
from invoicedrop.ledger import statements
from invoicedrop.ledger.buckets import Buckets
from invoicedrop.ledger.engine import Engine
from invoicedrop.ledger.entry import Entry, values_of
from invoicedrop.ledger.known import KnownInvoices
from invoicedrop.ledger.lease import InboxKey, Lease, Leases, LeaseTimes
from invoicedrop.ledger.leases import fingerprint
from invoicedrop.ledger.past import Past
from invoicedrop.ledger.sqlite import Sqlite
from invoicedrop.ledger.step import Step, StepKind, values_of_step
from invoicedrop.ledger.stops import Stops
from invoicedrop.printable import storable
from invoicedrop.reasons import Reason
from invoicedrop.timing import DEFAULT_TIMING

LEDGER_FILE: Final = "ledger.sqlite3"
"""The ledger's name in `state_dir` (outside contract)."""


class Ledger(KnownInvoices):
    """The ledger of one state folder. Thread-safe; each method is one transaction, durable when it returns.

    Every method raises LedgerUnavailable when the database cannot be used now. What writes an entry raises Changed when
    the row was written since it was read: by another copy of the same invoice, whose receipt or doubt must stand.
    """

    def __init__(self, engine: Engine, path: Path | None = None, session: int | None = None) -> None:
        super().__init__(engine)
        self.path = path
        self._session = session
        self.buckets = Buckets(engine)
        self.past = Past(engine)
        self.stops = Stops(engine)

    @classmethod
    def open(cls, state_dir: Path) -> Self:
        """Open the ledger in `state_dir`; it is made if there is none, and brought up to date if it is an older one.

        Raises:
            ConfigError: a newer program wrote it.

        """
        path = state_dir / LEDGER_FILE
        return cls(Sqlite.open(path), path)

    @classmethod
    def at(cls, url: str, *, patience: float = DEFAULT_TIMING.database_answer) -> Self:
        """Return the ledger in a PostgreSQL database, before it is connected to (`connect`).

        An answer of the database is waited for for `patience` seconds.

        Raises:
            NotInstalled: the extra `postgres` is missing.
            ConfigError: `url` is no address.

        """
        try:
            # Here alone: who keeps the ledger in a file needs no PostgreSQL code.
            from invoicedrop.ledger.postgres import Postgres  # noqa: PLC0415
        except ImportError as error:
            raise NotInstalled("psycopg", "postgres", "ledger_url") from error
        return cls(Postgres(url, patience=patience))

    def connect(self, *, make: bool = True) -> bool:
        """Be ready, with the tables up to date; return whether there are any. `make`: if not, they are made.

        Raises:
            ConfigError: a setting is wrong, or a newer program made the tables.

        """
        return self._database.connect(make=make)

    def shortcoming(self) -> str | None:
        """Return what keeps a commit from being on disk, in words; None if nothing does that can be seen from here."""
        return self._database.shortcoming()

    def under(self, lease: Lease) -> Self:
        """Return this ledger for what is done under a lease: an entry is written only while it is not lost."""
        return type(self)(self._database, self.path, lease.session)

    def alone_with(self, *keys: object) -> AbstractContextManager[None]:
        """Keep other daemons that share this ledger from what these keys name, as `order_locks` keeps other threads.

        Raises:
            Deferred: another daemon is at it.

        """
        return self._database.alone_with([repr(key) for key in keys], self._session)

    def leases(self, inboxes: Sequence[InboxKey], times: LeaseTimes) -> Leases:
        """Return who may work on these inboxes: this daemon, or one of several that share this ledger."""
        return self._database.leases(inboxes, times, self.identity)

    @property
    def is_shared(self) -> bool:
        """Whether other daemons, on other machines, may use this ledger."""
        return self.path is None

    @property
    def name(self) -> str:
        """What it is called in a sentence for a person."""
        return self._database.name

    def close(self) -> None:
        """Close the database; what was committed is on disk already."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # What happens

    def uploading(self, entry: Entry, base_line: frozenset[int] | None = None, *, anew: bool = False) -> Entry:
        """Intent: from now on the invoice may have reached the API.

        `base_line` are the ids of the order's attachments now; those before the first try in doubt are kept, unless
        the doubt begins `anew`: a person has decided the one before.
        """
        first = entry.doubt_since is None or anew
        return self._move(
            entry.after(StepKind.SENT, time.time()),
            State.UPLOADING,
            attempts=entry.attempts + 1,
            doubt_since=time.time() if first else entry.doubt_since,
            base_line=base_line if first else entry.base_line,
            waived=entry.waived - {Reason.OUTCOME_UNCLEAR},
            looks=0,
            next_try=None,
            reason=None,
            filed_as=None,
        )

    def not_taken(self, entry: Entry, before: Entry, why: str | None = None) -> Entry:
        """The last try was certainly not taken: what is in doubt is what was in doubt `before` it."""
        return self._move(
            entry.after(StepKind.NOT_TAKEN, time.time(), why),
            before.state,
            doubt_since=before.doubt_since,
            looks=before.looks,
            base_line=before.base_line,
            waived=before.waived,
            next_try=before.next_try,
        )

    def looked_in_vain(self, entry: Entry, delay: float) -> Entry:
        """The API was asked and does not have it, so far; the next look, whoever takes it, is `delay` seconds away.

        A conflict before the doubt is over: nobody knows for how long nothing was tried.
        """
        entry = replace(entry, looks=entry.looks + 1, conflict_since=None)
        return self.delayed(entry.after(StepKind.ASKED, time.time()), delay)

    def uploaded(
        self, entry: Entry, receipt: Receipt, *, confirm_after: float | None = None, how: str | None = None
    ) -> Entry:
        """Fact: the API has it. Its order is looked at `confirm_after` seconds later (None: never).

        `how` that was learned, where it was not the answer to an upload.
        """
        return self._move(
            entry.after(StepKind.ACCEPTED, time.time(), how or receipt.message),
            State.UPLOADED,
            attachment_id=receipt.attachment_id,
            uploaded_at=time.time(),
            doubt_since=None,
            next_try=None,
            reason=None,
            detail=receipt.message,
            filed_as=None,
            confirm_at=None if confirm_after is None else time.time() + confirm_after,
        )

    def processed(self, entry: Entry, filed_as: Path | None) -> Entry:
        """The end of a good invoice; `filed_as` is where it lies (None: somebody took it away)."""
        entry = entry.after(StepKind.FILED, time.time(), None if filed_as is None else filed_as.name)
        return self._move(entry, State.PROCESSED, filed_as=_text(filed_as))

    def came_again(self, entry: Entry, name: str) -> None:
        """The same PDF was filed once more, without being sent: it had come as `name`. Its entry stays as it is."""
        values = values_of_step(Step(StepKind.DUPLICATE, time.time(), name), entry.rounds)
        self._database.write(statements.ADD_STEP, {**values, "id": entry.id})

    def looked_at(
        self, entry: Entry, next_look: float | None, *, confirmed: bool = False, question: str | None = None
    ) -> Entry:
        """The order of an accepted invoice was looked at; the next look is `next_look` seconds away (None: the last).

        `confirmed`: it shows the invoice without trouble. `question`: it shows trouble, in these words.
        """
        now = time.time()
        is_new = question is not None and question != entry.question
        if is_new:
            entry = entry.after(StepKind.QUESTIONED, now)
        elif confirmed and entry.confirmed_at is None:
            entry = entry.after(StepKind.CONFIRMED, now)
        return self._put(
            entry,
            changed=entry.changed,  # nothing has become of the invoice itself
            confirm_at=None if next_look is None else now + next_look,
            confirm_looks=entry.confirm_looks + 1,
            confirmed_at=now if confirmed and entry.confirmed_at is None else entry.confirmed_at,
            questioned_at=now if question is not None and entry.questioned_at is None else entry.questioned_at,
            question=question or entry.question,
        )

    def look_put_off(self, entry: Entry, delay: float | None) -> Entry:
        """The order of an accepted invoice was not looked at; it is to be in `delay` seconds (None: no more)."""
        return self._put(entry, changed=entry.changed, confirm_at=None if delay is None else time.time() + delay)

    def deferred(self, entry: Entry, delay: float, detail: str) -> Entry:
        """It must wait `delay` seconds; its state, and any doubt, stay."""
        now = time.time()
        entry = entry.after(StepKind.DEFERRED, now, detail)
        return self._move(entry, entry.state, next_try=now + delay, delay=delay, detail=detail)

    def troubled(self, entry: Entry, delay: float, detail: str) -> Entry:
        """It must wait `delay` seconds for trouble of its own; from the first time in a row on, that is counted."""
        since = time.time() if entry.trouble_since is None else entry.trouble_since
        return self.deferred(replace(entry, trouble_since=since, conflict_since=None), delay, detail)

    def conflicted(self, entry: Entry, delay: float, detail: str, *, since: float | None = None) -> Entry:
        """It must wait `delay` seconds, as the order's state is against it `since` then (None: since now)."""
        return self.deferred(replace(entry, conflict_since=time.time() if since is None else since), delay, detail)

    def delayed(self, entry: Entry, delay: float) -> Entry:
        """It must wait `delay` seconds from now; nothing else changes."""
        return self._move(entry, entry.state, next_try=time.time() + delay, delay=max(delay, entry.delay))

    def rejected(self, entry: Entry, reason: Reason, detail: str) -> Entry:
        """It can never pass. A doubt about an earlier try is kept: a retry by hand must ask first."""
        entry = entry.after(StepKind.REJECTED, time.time(), f"{reason}: {detail}")
        return self._move(entry, State.REJECTED, reason=reason, detail=detail, next_try=None)

    def failed(self, entry: Entry, filed_as: Path | None, *, mtime_ns: int | None = None) -> Entry:
        """The end of a bad invoice, until a person moves it back; `mtime_ns` is when the file was last written."""
        entry = entry.after(StepKind.FAILED, time.time(), None if filed_as is None else filed_as.name)
        return self._move(entry, State.FAILED, filed_as=_text(filed_as), filed_mtime_ns=mtime_ns)

    def retried(self, entry: Entry, *, waive: bool = False) -> Entry:
        """A person moved it back: it starts over, but for a doubt about an earlier try, which is asked about anew.

        Nothing is written yet.

        `waive`: if its reason is a soft one, it does not stand against this invoice any more; nor does what cannot be
        read at its order, if it was given up for that before anything was sent.
        """
        now, waived = time.time(), entry.waived
        given_up_unsent = entry.reason is Reason.GAVE_UP and entry.doubt_since is None
        if waive and entry.reason is not None and (entry.reason.is_soft or given_up_unsent):
            waived |= {entry.reason}
        words = " ".join(sorted(waived)) or None
        return replace(entry, steps=(Step(StepKind.RETRIED, now, words),)).moved(
            State.RECEIVED if entry.doubt_since is None else State.UPLOADING,
            reason=None,
            detail=None,
            delay=0.0,
            next_try=None,
            filed_as=None,
            looks=0,
            doubt_since=None if entry.doubt_since is None else now,
            # An order that was imported anew has another id; what may have been sent keeps its own.
            order_id=None if entry.doubt_since is None else entry.order_id,
            conflict_since=None,
            trouble_since=None,
            first_seen=now,
            waived=waived,
            rounds=entry.rounds + 1,
        )

    # The ledger itself

    def identity(self) -> str:
        """Return what tells this ledger from every other one: a random text, made when it is first asked for."""
        rows = self._read(statements.IDENTITY)
        if not rows:
            self._database.write(statements.MAKE_IDENTITY, {"id": secrets.token_hex(16)})
            rows = self._read(statements.IDENTITY)
        return str(rows[0][0])

    def identity_of(self, inbox: InboxKey) -> str:
        """Return what the owner file in the inbox's drop folder calls this ledger.

        Of a shared ledger it is the ledger and the inbox: two daemons that call one folder differently do not share it.
        """
        return fingerprint(self.identity(), inbox)[:32] if self.is_shared else self.identity()

    # How

    def _move(self, entry: Entry, state: State, **changes: Any) -> Entry:
        require_legal_move(entry.state, state)
        return self._put(entry, state=state, **changes)

    def _put(self, entry: Entry, **changes: Any) -> Entry:
        """Write an entry with these changes; return it as it is on disk now."""
        steps = [(statements.ADD_STEP, values_of_step(step, entry.rounds)) for step in entry.steps]
        entry = replace(entry, **({"changed": time.time()} | changes), version=entry.version + 1, steps=())
        statement = statements.UPDATE if entry.id else statements.INSERT
        rows = self._database.write(statement, values_of(entry), self._session, steps)
        if not rows:
            raise Changed("another copy of this invoice was written down meanwhile")
        return entry if entry.id else replace(entry, id=rows[0][0])


def _text(path: Path | None) -> str | None:
    return None if path is None else storable(path)
