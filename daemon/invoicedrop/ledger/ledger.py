"""What is known about each invoice, on disk before and after everything that matters.

An entry is one invoice: `(account, project, order, order items, sha256)`. Its `reference` is order and items in one, as
the file name says them: "8355", or "8355_items-11-12". A committed entry survives power loss.
"""

import secrets
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from invoicedrop.errors import Changed, NotInstalled
from invoicedrop.invoice import Receipt, State, require_legal_move
from invoicedrop.ledger import statements
from invoicedrop.ledger.engine import Engine, Row
from invoicedrop.ledger.entry import Entry, entry_of, read_id, values_of
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


class BucketLevel(NamedTuple):
    """What is remembered of a bucket across a restart: drops in it, at which wall-clock time."""

    level: float
    at: float


class SentInvoice(NamedTuple):
    """What was sent under a receipt: the bytes, and for which order items."""

    sha256: str
    items: str


class Ledger:
    """The ledger of one state folder. Thread-safe; each method is one transaction, durable when it returns.

    Every method raises LedgerUnavailable when the database cannot be used now. What writes an entry raises Changed when
    the row was written since it was read: by another copy of the same invoice, whose receipt or doubt must stand.
    """

    def __init__(self, engine: Engine, path: Path | None = None, session: int | None = None) -> None:
        self.path = path
        self._database = engine
        self._session = session
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

    # What is known

    def find(self, account: str, project_id: int, reference: str, sha256: str) -> Entry | None:
        """Return what is known of this invoice."""
        return self._entry(statements.FIND, account=account, project_id=project_id, reference=reference, sha256=sha256)

    def same_invoice(self, entry: Entry) -> Entry | None:
        """Return another entry for the same bytes at the same order and items: sent, or else perhaps sent."""
        return self._entry(
            statements.SAME_INVOICE, **_order_of(entry), sha256=entry.sha256, items=entry.items, id=entry.id
        )

    def at_another_order(self, entry: Entry) -> Entry | None:
        """Return an entry for the same bytes at another order of the account: sent, or else perhaps sent."""
        return self._entry(statements.AT_ANOTHER_ORDER, **_order_of(entry), sha256=entry.sha256)

    def doubts_at_order(self, entry: Entry) -> list[Entry]:
        """Return the other entries of this order of which it is not known whether they were stored."""
        return self._entries(statements.DOUBTS_AT_ORDER, **_order_of(entry), id=entry.id)

    def receipts(self, account: str, project_id: int, order_id: int) -> dict[int, SentInvoice]:
        """Return the attachment ids of all our receipts for this order, with what was sent under each."""
        rows = self._read(statements.RECEIPTS, account=account, project_id=project_id, order_id=order_id)
        return {read_id(attachment_id): SentInvoice(*sent) for attachment_id, *sent in rows}

    def sent_later(self, entry: Entry) -> frozenset[int]:
        """Return the attachment ids of what was sent to the same order after this invoice."""
        rows = self._read(statements.SENT_LATER, **_order_of(entry), since=entry.uploaded_at)
        return frozenset(read_id(attachment_id) for (attachment_id,) in rows)

    def in_state(
        self, *states: State, newest: int = sys.maxsize, since: float = 0.0, inbox: str | None = None
    ) -> list[Entry]:
        """Return the entries (of this inbox) in these states, the latest changed first; at most `newest` of them."""
        names: dict[str, object] = {f"state_{index}": state for index, state in enumerate(states)}
        if inbox is not None:
            names["inbox"] = inbox
        statement = statements.in_states(len(states), of_inbox=inbox is not None)
        return self._entries(statement, **names, since=since, newest=newest)

    def uploaded_since(self, since: float, order_id: int | None = None) -> list[Entry]:
        """Return what was uploaded since then (to this order), oldest first."""
        if order_id is None:
            return self._entries(statements.UPLOADED_SINCE, since=since)
        return self._entries(statements.UPLOADED_TO_ORDER_SINCE, since=since, order_id=order_id)

    def to_confirm(self, account: str, project_id: int, *, now: float, latest: float, most: int) -> list[Entry]:
        """Return the project's processed invoices, at most `most`, whose orders are to be looked at by now.

        First due first; what is due after `latest` was written before the clock was set back. One that is still to be
        filed is not looked at: that would be a second writer of its entry.
        """
        return self._entries(
            statements.TO_CONFIRM, account=account, project_id=project_id, now=now, latest=latest, most=most
        )

    def next_confirmation(self, account: str, project_id: int) -> float | None:
        """Return when the next order of one of the project's processed invoices is to be looked at."""
        rows = self._read(statements.NEXT_CONFIRMATION, account=account, project_id=project_id)
        return None if rows[0][0] is None else float(rows[0][0])

    def questioned(self, since: float = 0.0) -> list[Entry]:
        """Return the accepted invoices whose orders have shown trouble since then, the latest first."""
        return self._entries(statements.QUESTIONED, since=since)

    def others_pass(self, entry: Entry, *, since: float) -> bool:
        """Whether the project took another invoice after that."""
        return bool(
            self._read(statements.UPLOADED_AFTER, account=entry.account, project_id=entry.project_id, since=since)
        )

    def count(self, state: State, *, since: float = 0.0, inbox: str | None = None) -> int:
        """Count the entries (of this inbox) that came into this state since then; of good ones those sent by us."""
        counted = statements.COUNT_SENT if state is State.PROCESSED else statements.COUNT
        statement = statements.counting(counted, of_inbox=inbox is not None)
        names = {} if inbox is None else {"inbox": inbox}
        ((number,),) = self._read(statement, state=state, since=since, **names)
        return int(number)

    def last_id(self) -> int:
        """Return the highest id that an entry has: it grows with each new one; 0 if there is none."""
        return int(self._read(statements.LAST_ID)[0][0] or 0)

    def begins(self) -> float | None:
        """Return when the first invoices that it knows were first seen (by now, if they came again); None if new."""
        first = self._read(statements.FIRST_SEEN)[0][0]
        return None if first is None else float(first)

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

    # The rate limit's memory

    def bucket(self, account: str) -> BucketLevel | None:
        """Return what was in the account's bucket when it was last written down."""
        rows = self._read(statements.BUCKET, account=account)
        return BucketLevel(*rows[0]) if rows else None

    def remember_bucket(self, account: str, bucket: BucketLevel) -> None:
        """Write down what is in the account's bucket."""
        self._database.write(statements.REMEMBER_BUCKET, {"account": account, **bucket._asdict()})

    def take_room(self, account: str, most: int, rate: float, capacity: float) -> tuple[int, float]:
        """Take room for up to `most` requests in the account's bucket, which leaks `rate` a second.

        Return for how many there is some (0: for none now), and what was in it before. Only a shared ledger has this:
        it counts by the database's clock.
        """
        values = {"account": account, "most": float(most), "rate": float(rate), "capacity": float(capacity)}
        rows = self._database.write(statements.TAKE_ROOM, values)
        if not rows:
            self._database.write(statements.NEW_BUCKET, {"account": account})
            rows = self._database.write(statements.TAKE_ROOM, values)
        taken, level = rows[0]
        return int(taken), float(level)

    def fill_bucket(self, account: str, capacity: float) -> None:
        """The account's bucket is full, as the API says. Only a shared ledger has this."""
        self._database.write(statements.FILL_BUCKET, {"account": account, "capacity": float(capacity)})

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

    def _entry(self, statement: str, **values: object) -> Entry | None:
        entries = self._entries(statement, **values)
        return entries[0] if entries else None

    def _entries(self, statement: str, **values: object) -> list[Entry]:
        return [entry_of(row) for row in self._read(statement, **values)]

    def _read(self, statement: str, **values: object) -> list[Row]:
        return self._database.read(statement, values)


def _order_of(entry: Entry) -> dict[str, object]:
    """Return the values by which statements know the entry's order."""
    return {"account": entry.account, "project_id": entry.project_id, "order_id": entry.order_id}


def _text(path: Path | None) -> str | None:
    return None if path is None else storable(path)
