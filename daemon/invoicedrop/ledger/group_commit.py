"""Commits that come together wait for the disk together.

SQLite lets one writer in at a time, and each commit waits for the disk. What other threads want to write meanwhile is
gathered and committed as one: the promise of each (on disk when it returns) stays, the waits are shared.

The driver is spoken to directly (PEP 249): SQLAlchemy's own execution took ten times as long as SQLite's.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from sqlalchemy.engine import Engine
from sqlalchemy.engine.interfaces import DBAPICursor

if TYPE_CHECKING:
    from sqlalchemy.pool import PoolProxiedConnection


_Result = TypeVar("_Result")
Work = Callable[[DBAPICursor], _Result]
_BEGIN: Final = "BEGIN IMMEDIATE"
"""A writer that only later finds out that it has to write may meet another one, and cannot wait for it."""


class GroupCommit:
    """Runs writes in transactions of `engine`; thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = threading.Lock()
        self._waiting: deque[_Write[Any]] = deque()
        self._connection: PoolProxiedConnection | None = None

    def commit(self, work: Work[_Result]) -> _Result:
        """Do `work` in a transaction, shared perhaps with others' work; return its result when it is on disk.

        Raises what `work` or the commit raises. `work` may be run twice, if somebody else's work failed beside it:
        nothing of the first run is kept then.
        """
        write = _Write(work)
        self._waiting.append(write)
        with self._writing:
            if not write.over:
                batch = []
                while self._waiting:
                    batch.append(self._waiting.popleft())
                self._commit_all(batch)
        return write.outcome()

    def close(self) -> None:
        """Give back what it holds of the engine; it may be used again."""
        with self._writing:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _commit_all(self, batch: Sequence["_Write[Any]"]) -> None:
        try:
            results = self._in_one_transaction(batch)
        except BaseException as error:  # noqa: BLE001 - handed to the thread whose work it was
            if len(batch) == 1 or not isinstance(error, Exception):
                for write in batch:
                    write.fail(error)
                return
            # One of them may be to blame: the others shall not suffer for it.
            for write in batch:
                self._commit_all([write])
        else:
            for write, result in zip(batch, results, strict=True):
                write.succeed(result)

    def _in_one_transaction(self, batch: Sequence["_Write[Any]"]) -> list[Any]:
        # One for all, as only one may write: to fetch it from the pool for every write took as long as the writing.
        if self._connection is None:
            self._connection = self._engine.raw_connection()
        connection = self._connection
        try:
            with closing(connection.cursor()) as cursor:
                cursor.execute(_BEGIN)
                results = [write.work(cursor) for write in batch]
                connection.commit()
                return results
        except BaseException:
            # Given back to the pool, it is rolled back, whatever state it was left in.
            self._connection = None
            connection.close()
            raise


class _Write(Generic[_Result]):
    """Something to be written, and what came of it."""

    def __init__(self, work: Work[_Result]) -> None:
        self.work = work
        self.over = False
        self._result: _Result | None = None
        self._error: BaseException | None = None

    def succeed(self, result: _Result) -> None:
        self.over, self._result = True, result

    def fail(self, error: BaseException) -> None:
        self.over, self._error = True, error

    def outcome(self) -> _Result:
        if self._error is not None:
            raise self._error
        return cast("_Result", self._result)
