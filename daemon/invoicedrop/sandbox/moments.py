"""What a test has happen at an exact moment of a request: right before it is carried out, or right after.

An action runs in the server's thread, for instance to attach a document, to add an order between two pages of a list,
or to change an order between two reads. A request that is refused (401, 429) has no such moment.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True, kw_only=True, eq=False)
class _Moment:
    kind: str
    action: Callable[[], object]
    order_id: int | None
    skip: int
    count: int | None
    after: bool

    def matches(self, kind: str, order_id: int | None, *, after: bool) -> bool:
        return self.after is after and self.kind in ("any", kind) and self.order_id in (None, order_id)


class Moments:
    """The actions that are still to come. Safe to change from any thread while the server runs."""

    def __init__(self) -> None:
        self._moments: list[_Moment] = []
        self._lock = threading.Lock()

    def before(
        self,
        kind: str,
        action: Callable[[], object],
        *,
        order_id: int | None = None,
        skip: int = 0,
        count: int | None = 1,
    ) -> None:
        """Run `action` right before a request is carried out, or meets its fault.

        `kind` is as in `Fault.request`, `order_id` that of the path. `skip` requests pass before it, and it runs for
        `count` of them (None: for all).
        """
        moment = _Moment(kind=kind, action=action, order_id=order_id, skip=skip, count=count, after=False)
        with self._lock:
            self._moments.append(moment)

    def after(
        self,
        kind: str,
        action: Callable[[], object],
        *,
        order_id: int | None = None,
        skip: int = 0,
        count: int | None = 1,
    ) -> None:
        """Run `action` right after a request was carried out and before its answer leaves; see `before`."""
        moment = _Moment(kind=kind, action=action, order_id=order_id, skip=skip, count=count, after=True)
        with self._lock:
            self._moments.append(moment)

    def run(self, kind: str, order_id: int | None, *, after: bool) -> None:
        """Run the actions for a request, in the order in which they were added."""
        with self._lock:
            due = []
            for moment in self._moments:
                if not moment.matches(kind, order_id, after=after):
                    continue
                if moment.skip > 0:
                    moment.skip -= 1
                    continue
                due.append(moment)
                if moment.count is not None:
                    moment.count -= 1
            self._moments = [moment for moment in self._moments if moment.count is None or moment.count > 0]
        for moment in due:
            moment.action()
