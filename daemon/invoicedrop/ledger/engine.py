"""What the ledger asks of a database engine, and how writes that come together share one commit.

There are two engines, each on its own driver (PEP 249): `sqlite`, the default, and `postgres`, for several daemons.
What is an engine's own stands at the top of its module.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from invoicedrop.errors import LedgerUnavailable
from invoicedrop.ledger.lease import InboxKey, Leases, LeaseTimes

Row = tuple[Any, ...]
Values = Mapping[str, object]
Statement = tuple[str, Values]


class Engine(Protocol):
    """Executes single statements of the ledger. Thread-safe.

    Every method raises LedgerUnavailable when the database cannot be used now.
    """

    @property
    def name(self) -> str:
        """What it is called in a sentence for a person."""

    def connect(self, *, make: bool = True) -> bool:
        """Be ready, with the tables up to date; return whether there are any. `make`: if not, they are made.

        Raises:
            ConfigError: a setting is wrong, or a newer program made the tables.

        """

    def shortcoming(self) -> str | None:
        """Return what keeps a commit from being on disk, in words; None if nothing does."""

    def read(self, statement: str, values: Values) -> list[Row]:
        """Execute a statement that changes nothing; return its rows."""

    def write(
        self, statement: str, values: Values, session: int | None = None, then: Sequence[Statement] = ()
    ) -> list[Row]:
        """Execute a statement; return its rows when what it wrote is on disk.

        `session`: only by this session with the database, by which an inbox is owned (`lease`). `then` are statements
        of the same transaction, each given the `id` that the first one returned: they are executed only if it wrote
        something.
        """

    def alone_with(self, keys: Sequence[str], session: int | None) -> AbstractContextManager[None]:
        """Keep other daemons from what has these keys; within this process nobody is kept.

        Raises:
            Deferred: another daemon is at it.

        """

    def leases(self, inboxes: Sequence[InboxKey], times: LeaseTimes, identity: Callable[[], str]) -> Leases:
        """Return who may work on these inboxes; `identity` returns the ledger's."""

    def close(self) -> None:
        """Close it, when the statement under way is done."""


class Write:
    """A statement to be executed, with those that belong to it, and what came of it."""

    def __init__(self, statement: str, values: Values, session: int | None, then: Sequence[Statement] = ()) -> None:
        self.statement = statement
        self.values = values
        self.session = session
        self.then = then
        self.done = False
        self.rows: list[Row] | None = None
        self.error: Exception | None = None

    def executed_by(self, execute: Callable[[str, Values], list[Row]]) -> list[Row]:
        """Execute it and what belongs to it; return its rows."""
        rows = execute(self.statement, self.values)
        if rows:
            for statement, values in self.then:
                execute(statement, {**values, "id": rows[0][0]})
        return rows

    def result(self) -> list[Row]:
        """Return its rows, or raise what it met."""
        if self.error is not None:
            raise self.error
        if self.rows is None:
            raise LedgerUnavailable("the ledger cannot be written: interrupted")
        return self.rows


class GroupCommit:
    """Lets one thread write at a time, and for all that wait meanwhile. Thread-safe.

    A database lets one writer of ours in at a time, and each commit waits for the disk. What other threads want to
    write during such a wait is committed together after it: each write is on disk when it returns, but they share the
    wait. Eight threads on a disk that takes 5 ms to sync make 470 commits a second this way, and 150 if each waits for
    its own.

    `transact` executes writes in one transaction and returns the rows of each; `is_everybodys` tells whether what it
    raised is the database's trouble. If not, one of the writes is to blame, and the others are not to fail with it.
    """

    def __init__(
        self, transact: Callable[[Sequence[Write]], list[list[Row]]], is_everybodys: Callable[[Exception], bool]
    ) -> None:
        self._transact = transact
        self._is_everybodys = is_everybodys
        self._turn = threading.Condition()
        self._writing = False
        self._waiting: list[Write] = []

    def write(
        self, statement: str, values: Values, session: int | None = None, then: Sequence[Statement] = ()
    ) -> list[Row]:
        """Execute a statement, as `Engine.write` does."""
        write = Write(statement, values, session, then)
        with self._turn:
            self._waiting.append(write)
            self._turn.wait_for(lambda: write.done or not self._writing)
            if not write.done:
                self._writing = True
                batch, self._waiting = self._waiting, []
        if not write.done:
            try:
                self._commit(batch)
            finally:
                with self._turn:
                    for each in batch:
                        each.done = True
                    self._writing = False
                    self._turn.notify_all()
        return write.result()

    def alone(self, work: Callable[[], None]) -> None:
        """Do this work while nobody writes."""
        with self._turn:
            self._turn.wait_for(lambda: not self._writing)
            work()

    def _commit(self, batch: Sequence[Write]) -> None:
        try:
            results = self._transact(batch)
        except Exception as error:  # noqa: BLE001 - raised again in the thread whose write it was
            if len(batch) == 1 or self._is_everybodys(error):
                for write in batch:
                    write.error = error
            else:
                for write in batch:
                    self._commit([write])
        else:
            for write, rows in zip(batch, results, strict=True):
                write.rows = rows
