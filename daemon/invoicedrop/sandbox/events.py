"""What the marketplace, or Channable, says about an order, often long after an upload.

The rules of `EventPlan` decide which events an upload is followed by. An event is there, and only the single order
shows it, once its time has come.
"""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Final

from invoicedrop.sandbox.attachments import utc_text

EVENT_STATUSES: Final = ("info", "warning", "error")


@dataclass(slots=True, kw_only=True)
class Event:
    """A message about an order; `status` is info, warning or error, `visible_at` is on the store's clock."""

    id: int
    order_id: int
    project_id: int
    status: str
    message: str
    created: datetime
    visible_at: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the event as an order shows it."""
        return {
            "id": self.id,
            "order_id": self.order_id,
            "project_id": self.project_id,
            "status": self.status,
            "message": self.message,
            "created": utc_text(self.created),
            "modified": utc_text(self.created),
        }


@dataclass(slots=True, kw_only=True, eq=False)
class EventRule:
    """Uploads that this rule matches are followed by an event; None means "any" or, for `count`, "for ever".

    Attributes:
        status: info, warning or error.
        message: the event's text.
        after: seconds between the upload and the event.
        order_id, project_id: only for uploads to this order, or project.
        count: how many uploads it is for.

    Raises:
        ValueError: the rule is impossible; the message says why.

    """

    status: str
    message: str = "made up by the sandbox"
    after: float = 0.0
    order_id: int | None = None
    project_id: int | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        if self.status not in EVENT_STATUSES:
            raise ValueError(f"an event's status is one of {', '.join(EVENT_STATUSES)}, not {self.status!r}")
        if self.after < 0:
            raise ValueError("after is 0 or more seconds")
        if self.count is not None and self.count < 1:
            raise ValueError("count is at least 1; leave it out for ever")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "EventRule":
        """Return a rule from JSON values, as `to_json` writes them.

        Raises:
            ValueError: a name or value is impossible; the message says why.

        """
        names = {field.name for field in fields(cls)}
        if set(values) - names or "status" not in values:
            raise ValueError(f"an event needs `status` and may have {', '.join(sorted(names - {'status'}))}")
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return the rule as JSON values."""
        return asdict(self)


class EventPlan:
    """The rules in force. Safe to change from any thread while the server runs."""

    def __init__(self) -> None:
        self._rules: list[EventRule] = []
        self._lock = threading.Lock()

    def add(self, status: str, message: str = "made up by the sandbox", **values: Any) -> EventRule:
        """Append a rule; `values` are the other fields of `EventRule`."""
        rule = EventRule.from_json({"status": status, "message": message, **values})
        self.extend((rule,))
        return rule

    def extend(self, rules: Iterable[EventRule]) -> None:
        """Append rules."""
        with self._lock:
            self._rules += rules

    def replace(self, rules: Iterable[EventRule]) -> None:
        """Replace all rules."""
        with self._lock:
            self._rules = list(rules)

    def current(self) -> list[EventRule]:
        """Return the rules that are still in force."""
        with self._lock:
            return list(self._rules)

    def draw(self, project_id: int, order_id: int) -> list[EventRule]:
        """Return the rules that match an upload, which uses them up by one."""
        with self._lock:
            matches = [
                rule
                for rule in self._rules
                if rule.order_id in (None, order_id) and rule.project_id in (None, project_id)
            ]
            for rule in matches:
                if rule.count is not None:
                    rule.count -= 1
            self._rules = [rule for rule in self._rules if rule.count is None or rule.count > 0]
            return matches
