"""What is known about each invoice, on disk before and after everything that matters.

An entry is one invoice: `(account, project, reference, sha256)`, the reference being the order as the file name says
it. A committed entry survives power loss (SQLite: WAL with `synchronous=FULL`, https://sqlite.org/pragma.html).
SQLAlchemy Core keeps the statements free of any one database's dialect. Those executed for every invoice are put into
the database's own words once and handed to its driver: executing them by SQLAlchemy took five times as long.

The file carries a numbered schema version: an older one is brought up to date at start, a newer one is refused.
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import SQLAlchemyError

from invoicedrop.errors import Changed, LedgerUnavailable
from invoicedrop.invoice import Receipt, State
from invoicedrop.ledger.group_commit import GroupCommit, Work
from invoicedrop.ledger.schema import buckets, invoices, migrate, sqlite_engine
from invoicedrop.ledger.statements import COLUMNS, WRITTEN, Statement, Statements
from invoicedrop.printable import storable
from invoicedrop.reasons import Reason

_Result = TypeVar("_Result")


class BucketLevel(NamedTuple):
    """What is remembered of a bucket across a restart: drops in it, at which wall-clock time."""

    level: float
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One invoice as the ledger knows it. Times are seconds since the epoch; `id` 0 is not written yet.

    `doubt_since` is when the first upload began whose outcome is not known; None when there is no doubt.
    `looks` counts how often the API was asked about it in vain.
    """

    account: str
    project_id: int
    reference: str
    sha256: str
    inbox: str
    file: str
    size: int
    first_seen: float
    state: State = State.RECEIVED
    id: int = 0
    order_id: int | None = None
    changed: float = 0.0
    attempts: int = 0
    next_try: float | None = None
    delay: float = 0.0
    detail: str | None = None
    reason: Reason | None = None
    doubt_since: float | None = None
    looks: int = 0
    attachment_id: int | None = None
    uploaded_at: float | None = None
    filed_as: str | None = None
    pages: int | None = None
    pdf_version: str | None = None
    producer: str | None = None
    pdfa: str | None = None
    einvoice: str | None = None

    @property
    def sent(self) -> bool:
        """Say whether the API's receipt for it is on disk."""
        return self.attachment_id is not None


_STALE: Final = "another copy of this invoice was written down meanwhile"


class Ledger:
    """The ledger in `state_dir`. Thread-safe; each method is one transaction, durable when it returns.

    Every method raises LedgerUnavailable when the database cannot be used now. What writes an entry raises Changed when
    somebody else has written it since it was read: another copy of the same invoice, whose receipt or doubt must stand.
    """

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "ledger.sqlite3"
        self._engine = sqlite_engine(self.path)
        self._say = Statements(self._engine.dialect)
        self._commits = GroupCommit(self._engine)
        self._driver = self._engine.dialect.loaded_dbapi
        try:
            with self._explained("written"), self._engine.begin() as connection:
                migrate(connection, self.path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the database; what was committed is on disk already."""
        self._commits.close()
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # What is known

    def find(self, account: str, project_id: int, reference: str, sha256: str) -> Entry | None:
        """Return what is known of this invoice."""
        wanted = {"account": account, "project_id": project_id, "reference": reference, "sha256": sha256}
        return next(self._look(self._say.find, wanted), None)

    def same_invoice(self, entry: Entry) -> Entry | None:
        """Return another entry for the same bytes at the same Channable order: sent, or perhaps sent."""
        where = {
            "account": entry.account,
            "project_id": entry.project_id,
            "order_id": entry.order_id,
            "sha256": entry.sha256,
            "id": entry.id,
        }
        return min(self._look(self._say.same, where), key=lambda one: not one.sent, default=None)

    def receipts(self, account: str, project_id: int, order_id: int) -> dict[int, str]:
        """Return the attachment ids of all our receipts for this order, with the SHA-256 of each."""
        found = self._all(
            invoices.c.account == account,
            invoices.c.project_id == project_id,
            invoices.c.order_id == order_id,
            invoices.c.attachment_id.is_not(None),
        )
        return {entry.attachment_id: entry.sha256 for entry in found if entry.attachment_id is not None}

    def in_state(self, *states: State, newest: int | None = None, since: float = 0.0) -> list[Entry]:
        """Return the entries in these states, the latest changed first; at most `newest` of them."""
        return self._all(
            invoices.c.state.in_(states), invoices.c.changed >= since, order=invoices.c.changed.desc(), limit=newest
        )

    def uploaded_since(self, since: float, order_id: int | None = None) -> list[Entry]:
        """Return what was uploaded since then (to this order), oldest first."""
        conditions = [invoices.c.attachment_id.is_not(None), invoices.c.uploaded_at >= since]
        if order_id is not None:
            conditions.append(invoices.c.order_id == order_id)
        return self._all(*conditions, order=invoices.c.uploaded_at.asc())

    def others_pass(self, entry: Entry, *, since: float) -> bool:
        """Say whether the project took another invoice since then."""
        query = sa.select(invoices.c.id).where(
            invoices.c.account == entry.account,
            invoices.c.project_id == entry.project_id,
            invoices.c.uploaded_at > since,
        )
        with self._read() as connection:
            return connection.execute(query.limit(1)).first() is not None

    def count(self, state: State, *, since: float = 0.0) -> int:
        """Count the entries that came into this state since then."""
        query = sa.select(sa.func.count()).where(invoices.c.state == state, invoices.c.changed >= since)
        with self._read() as connection:
            return int(connection.execute(query).scalar_one())

    # What happens

    def uploading(self, entry: Entry) -> Entry:
        """Intent: from now on the invoice may have reached the API."""
        return self._put(
            entry,
            state=State.UPLOADING,
            attempts=entry.attempts + 1,
            doubt_since=time.time() if entry.doubt_since is None else entry.doubt_since,
            looks=0,
            next_try=None,
            reason=None,
            filed_as=None,
        )

    def not_taken(self, entry: Entry, before: Entry) -> Entry:
        """The last try was certainly not taken: what is in doubt is what was in doubt `before` it."""
        return self._put(entry, state=before.state, doubt_since=before.doubt_since, looks=before.looks)

    def looked_in_vain(self, entry: Entry, delay: float) -> Entry:
        """The API was asked and does not have it, so far; the next look, whoever takes it, is `delay` seconds away."""
        return self._put(entry, looks=entry.looks + 1, next_try=time.time() + delay)

    def uploaded(self, entry: Entry, receipt: Receipt) -> Entry:
        """Fact: the API has it."""
        return self._put(
            entry,
            state=State.UPLOADED,
            attachment_id=receipt.attachment_id,
            uploaded_at=time.time(),
            doubt_since=None,
            next_try=None,
            reason=None,
            detail=receipt.message,
            filed_as=None,
        )

    def processed(self, entry: Entry, filed_as: Path | None) -> Entry:
        """The end of a good invoice; `filed_as` is where it lies (None: somebody took it away)."""
        return self._put(entry, state=State.PROCESSED, filed_as=_text(filed_as))

    def deferred(self, entry: Entry, delay: float, detail: str) -> Entry:
        """It must wait `delay` seconds; its state, and any doubt, stay."""
        return self._put(entry, next_try=time.time() + delay, delay=delay, detail=detail)

    def rejected(self, entry: Entry, reason: Reason, detail: str) -> Entry:
        """It can never pass. A doubt about an earlier try is kept: a retry by hand must ask first."""
        return self._put(entry, state=State.REJECTED, reason=reason, detail=detail, next_try=None)

    def failed(self, entry: Entry, filed_as: Path | None) -> Entry:
        """The end of a bad invoice, until a person moves it back."""
        return self._put(entry, state=State.FAILED, filed_as=_text(filed_as))

    def retried(self, entry: Entry) -> Entry:
        """A person moved it back: it starts over, but for a doubt about an earlier try."""
        state = State.RECEIVED if entry.doubt_since is None else State.UPLOADING
        return replace(
            entry,
            state=state,
            reason=None,
            detail=None,
            delay=0.0,
            next_try=None,
            filed_as=None,
            first_seen=time.time(),
        )

    # The rate limit's memory

    def bucket(self, account: str) -> BucketLevel | None:
        """Return what was in the account's bucket when we last stopped."""
        with self._read() as connection:
            row = connection.execute(sa.select(buckets).where(buckets.c.account == account)).first()
        return None if row is None else BucketLevel(row.level, row.at)

    def remember_bucket(self, account: str, bucket: BucketLevel) -> None:
        """Write down what is in the account's bucket."""
        values = {"account": account, "level": bucket.level, "at": bucket.at}

        def write(cursor: DBAPICursor) -> None:
            self._say.forget_bucket.execute(cursor, values)
            self._say.remember_bucket.execute(cursor, values)

        self._commit(write)

    # How

    def _put(self, entry: Entry, **changes: Any) -> Entry:
        # Also the entry's version, so that it grows even while the clock is set back.
        changed = replace(entry, **changes, changed=max(time.time(), math.nextafter(entry.changed, math.inf)))
        values = {name: getattr(changed, name) for name in WRITTEN}

        def write(cursor: DBAPICursor) -> int:
            if entry.id:
                known = {"key": entry.id, "as_of": entry.changed, **values}
                if self._say.update.execute(cursor, known).rowcount == 0:
                    raise Changed(_STALE)
                return entry.id
            return int(self._say.insert.execute(cursor, values).fetchall()[0][0])

        key = self._commit(write)
        return changed if entry.id else replace(changed, id=key)

    def _look(self, statement: Statement, values: Mapping[str, Any]) -> Iterator[Entry]:
        with (
            self._explained("read"),
            closing(self._engine.raw_connection()) as connection,
            closing(connection.cursor()) as cursor,
        ):
            rows = statement.execute(cursor, values).fetchall()
        return (_entry(dict(zip(COLUMNS, row, strict=True))) for row in rows)

    def _all(
        self, *conditions: sa.ColumnElement[bool], order: sa.ColumnElement[Any] | None = None, limit: int | None = None
    ) -> list[Entry]:
        query = sa.select(invoices).where(*conditions).order_by(invoices.c.id if order is None else order).limit(limit)
        with self._read() as connection:
            return [_entry(row._asdict()) for row in connection.execute(query)]

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with self._explained("read"), self._engine.connect().execution_options(reads=True) as connection:
            yield connection

    def _commit(self, work: Work[_Result]) -> _Result:
        with self._explained("written"):
            try:
                return self._commits.commit(work)
            except self._driver.IntegrityError as error:
                raise Changed(_STALE) from error

    @contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, self._driver.Error) as error:
            raise LedgerUnavailable(f"the ledger cannot be {done}: {_words(error)}") from error


def backoff(delay: float, first: float, cap: float) -> float:
    """Return the next delay in seconds: doubling from `first` up to `cap`."""
    return min(cap, max(first, delay * 2))


def _entry(row: Mapping[str, Any]) -> Entry:
    reason = row["reason"]
    return Entry(**{**row, "state": State(row["state"]), "reason": None if reason is None else Reason(reason)})


def _text(path: Path | None) -> str | None:
    return None if path is None else storable(path)


def _words(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error)
