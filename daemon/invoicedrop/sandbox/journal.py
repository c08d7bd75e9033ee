"""The requests so far: a bounded log, and counts of all."""

import threading
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

_MAX_RECORDS: Final = 100_000


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """One request, recorded when its headers arrive and completed when it is over.

    Attributes:
        time: when its headers arrived (`time.monotonic()` of the sandbox's process).
        kind: upload, order, orders, attachment, download, or other.
        had_authorization: whether it carried an Authorization header.
        status: of the answer; None before it, or if the connection was reset or left hanging.
        fault: the kind of its fault, if it had one.
        over: whether the sandbox has finished with it.

    """

    time: float
    method: str
    path: str
    query: str
    kind: str
    order_id: int | None
    had_authorization: bool
    user_agent: str
    status: int | None = None
    fault: str | None = None
    over: bool = False


class Journal:
    """The newest requests (100,000 at most), and counts of all. Safe to read from any thread."""

    def __init__(self) -> None:
        self._records: deque[RequestRecord] = deque(maxlen=_MAX_RECORDS)
        self._arrived: Counter[str] = Counter()
        self._answered: Counter[str] = Counter()
        self._lock = threading.Lock()

    def open(self, record: RequestRecord) -> RequestRecord:
        """Record that a request has arrived."""
        with self._lock:
            self._records.append(record)
            self._arrived[record.kind] += 1
        return record

    def close(self, record: RequestRecord) -> None:
        """Record that a request is over."""
        with self._lock:
            record.over = True
            self._answered["none" if record.status is None else str(record.status)] += 1

    def records(self) -> list[RequestRecord]:
        """Return the requests in order of arrival, including those that are still in progress."""
        with self._lock:
            return list(self._records)

    def arrived(self, kind: str | None = None) -> int:
        """Return how many requests (of a kind) have arrived so far, answered or not."""
        with self._lock:
            return self._arrived.total() if kind is None else self._arrived[kind]

    def counters(self) -> dict[str, dict[str, int]]:
        """Return how many requests of each kind arrived, and how many were answered with each status."""
        with self._lock:
            return {"arrived": dict(self._arrived), "answered": dict(self._answered)}

    def clear(self) -> None:
        """Forget everything so far."""
        with self._lock:
            self._records.clear()
            self._arrived.clear()
            self._answered.clear()
