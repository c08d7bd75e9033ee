"""What the stand-in does wrong on purpose: a script of faults, set in process or over HTTP.

A fault is selected by the kind of request, by the order or attachment, and by chance or count ("the next 3"). Matching
latencies add up; of all other faults the first match wins. "Stored" means that the request was carried out before its
answer went wrong. A request that arrived in full is carried out after its latency even if the client has left
meanwhile, as by a real server; only `hang_before_store` and the resets before storing drop it. A fault is drawn when
the headers of a request arrive, so a request that is then refused (401, 429) counts too.
"""

import random
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, NamedTuple


class Kind(StrEnum):
    """What goes wrong."""

    LATENCY = "latency"  # waits `seconds` (with `stored`: after carrying the request out)
    RESET_BEFORE_READ = "reset_before_read"  # TCP reset while the client is still sending
    RESET_BEFORE_STORE = "reset_before_store"  # TCP reset after everything was received, nothing stored
    RESET_AFTER_STORE = "reset_after_store"  # stored, then a TCP reset instead of an answer
    HANG_BEFORE_STORE = "hang_before_store"  # never answers, never stores
    HANG_AFTER_STORE = "hang_after_store"  # stored, never answers
    TRUNCATE = "truncate"  # stored, the answer ends in its middle although Content-Length is right
    SLOW_DRIP = "slow_drip"  # stored, the answer's body comes one byte each `seconds` (default 1)
    STATUS = "status"  # `status` (default 500) with `message`
    HTML = "html"  # a proxy's HTML page with `status` (default 502)
    REDIRECT = "redirect"  # `status` (default 302) to `location` (default: on the download host)
    RATE_LIMITED = "rate_limited"  # 429, with `retry_after` if that is set
    GONE = "gone"  # 410
    BROKEN_JSON = "broken_json"  # stored, the right status, a body that is not JSON
    ACCEPTED_ERROR = "accepted_error"  # 202, but status error, a null id and `message`; not stored
    ACCEPTED_WITHOUT_ID = "accepted_without_id"  # stored, 202, status success, a null id
    ACCEPTED_WARNING = "accepted_warning"  # stored, 202, an id, status warning and `message`
    LIE = "lie"  # the right answer, but orders in it show `shown` instead of the facts and lack `hidden`


# Whether each kind stores the upload, by default.
_STORED_BY_DEFAULT = {
    Kind.LATENCY: False,
    Kind.STATUS: False,
    Kind.HTML: False,
    Kind.REDIRECT: False,
    Kind.RATE_LIMITED: False,
    Kind.GONE: False,
    Kind.TRUNCATE: True,
    Kind.SLOW_DRIP: True,
    Kind.BROKEN_JSON: True,
    Kind.RESET_AFTER_STORE: True,
    Kind.HANG_AFTER_STORE: True,
    Kind.RESET_BEFORE_READ: False,
    Kind.RESET_BEFORE_STORE: False,
    Kind.HANG_BEFORE_STORE: False,
    Kind.ACCEPTED_ERROR: False,
    Kind.ACCEPTED_WITHOUT_ID: True,
    Kind.ACCEPTED_WARNING: True,
    Kind.LIE: True,
}
_CHOOSABLE = {Kind.LATENCY, Kind.STATUS, Kind.HTML, Kind.REDIRECT, Kind.RATE_LIMITED, Kind.GONE, Kind.ACCEPTED_ERROR}
_UPLOAD_ONLY = {Kind.ACCEPTED_ERROR, Kind.ACCEPTED_WITHOUT_ID, Kind.ACCEPTED_WARNING}
_READS_ONLY = {"order", "orders", "any"}
"""What a lie can be in."""
_WITH_SECONDS = {Kind.LATENCY, Kind.SLOW_DRIP}
_STATUS = {Kind.STATUS: 500, Kind.HTML: 502, Kind.REDIRECT: 302, Kind.RATE_LIMITED: 429, Kind.GONE: 410}
REQUESTS = ("upload", "order", "orders", "attachment", "download", "any")
_LOWEST_STATUS, _HIGHEST_STATUS = 200, 599


@dataclass(slots=True, kw_only=True, eq=False)
class Fault:
    """One line of the script; None means "the kind's default" or "any".

    Attributes:
        kind: what goes wrong, see `Kind`.
        request: upload, order, orders, attachment, download or any.
        order_id: only for this order. A lie in lists of orders is drawn for each list, and is about this order in it.
        project_id: only for this project.
        attachment_id: only for this attachment: its URL, or its download (which is of no order or project).
        count: how many requests it affects; None is for ever.
        skip: how many matching requests pass before it.
        probability: 0..1, drawn from the plan's seeded random.
        stored: carry the request out first; only for kinds that leave this open.
        seconds, status, message, retry_after, location: see `Kind`.
        shown, hidden: what a lie changes, by paths; see `overrides`.

    Raises:
        ValueError: the fault is impossible; the message says why.

    """

    kind: Kind
    request: str = "any"
    order_id: int | None = None
    project_id: int | None = None
    attachment_id: int | None = None
    count: int | None = None
    skip: int = 0
    probability: float = 1.0
    stored: bool | None = None
    seconds: float | None = None
    status: int | None = None
    message: str = "made up by the sandbox"
    retry_after: str | None = None
    location: str | None = None
    shown: Mapping[str, Any] = field(default_factory=dict)
    hidden: Sequence[str] = ()

    def __post_init__(self) -> None:
        self._check()
        self.kind = Kind(self.kind)
        if self.kind in _UPLOAD_ONLY:
            self.request = "upload"
        self.retry_after = None if self.retry_after is None else str(self.retry_after)
        self.stored = _STORED_BY_DEFAULT[self.kind] if self.stored is None else self.stored
        self.status = _STATUS.get(self.kind) if self.status is None else self.status
        if self.seconds is None and self.kind in _WITH_SECONDS:
            self.seconds = 1.0

    def _check(self) -> None:
        if self.kind not in set(Kind):
            raise ValueError(f"no fault is called {self.kind!r}; there are {', '.join(Kind)}")
        if self.request not in REQUESTS:
            raise ValueError(f"no request is called {self.request!r}; there are {', '.join(REQUESTS)}")
        if self.kind in _UPLOAD_ONLY and self.request not in ("any", "upload"):
            raise ValueError(f"{self.kind} is about uploads only")
        if self.kind == Kind.LIE and self.request not in _READS_ONLY:
            raise ValueError("a lie is about reads of orders only")
        if self.kind == Kind.LIE and not (self.shown or self.hidden):
            raise ValueError("a lie needs something that is `shown` or `hidden`")
        if self.stored not in (None, _STORED_BY_DEFAULT[self.kind]) and self.kind not in _CHOOSABLE:
            raise ValueError(f"{self.kind} fixes by itself whether the request is carried out")
        numbers = (
            (self.probability, 0, 1, "probability"),
            (self.count, 1, None, "count (leave it out for ever)"),
            (self.skip, 0, None, "skip"),
            (self.seconds, 0, None, "seconds"),
            (self.status, _LOWEST_STATUS, _HIGHEST_STATUS, "status"),
        )
        for value, minimum, maximum, name in numbers:
            if value is not None and (value < minimum or (maximum is not None and value > maximum)):
                at_most = "" if maximum is None else f" and at most {maximum}"
                raise ValueError(f"{name} is at least {minimum}{at_most}")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Fault":
        """Return a fault from JSON values, as `to_json` writes them.

        Raises:
            ValueError: a name or value is impossible; the message says why.

        """
        names = {item.name for item in fields(cls)}
        unknown = sorted(set(values) - names)
        if unknown or "kind" not in values:
            raise ValueError(f"a fault needs `kind` and may have {', '.join(sorted(names))}; not {', '.join(unknown)}")
        if not isinstance(values.get("shown", {}), Mapping) or not isinstance(values.get("hidden", ()), list | tuple):
            raise ValueError("`shown` is an object of paths and values, `hidden` a list of paths")  # noqa: TRY004 - as above
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return the fault as JSON values."""
        return asdict(self)

    def selects(
        self, request: str, project_id: int | None, order_id: int | None, attachment_id: int | None = None
    ) -> bool:
        """Whether this fault is for such a request."""
        if self.kind is Kind.LIE and request not in _READS_ONLY:
            return False
        in_a_list = self.kind is Kind.LIE and request == "orders"
        return (
            self.request in ("any", request)
            and (self.order_id in (None, order_id) or in_a_list)
            and self.project_id in (None, project_id)
            and self.attachment_id in (None, attachment_id)
        )


class Drawn(NamedTuple):
    """The faults of one request: waits in seconds, and at most one other fault."""

    delay_before: float = 0.0
    delay_after: float = 0.0
    fault: Fault | None = None


_NOTHING = Drawn()


class FaultPlan:
    """The script in force. Safe to change from any thread while the server runs.

    Attributes:
        hits: how often each kind of fault happened.

    """

    def __init__(self, seed: int = 0) -> None:
        self.hits: Counter[Kind] = Counter()
        self._faults: list[Fault] = []
        self._random = random.Random(seed)  # noqa: S311 - a repeatable script, no secret
        self._lock = threading.Lock()

    def add(self, kind: Kind | str, request: str = "any", **values: Any) -> Fault:
        """Append a fault to the script; `values` are the other fields of `Fault`."""
        fault = Fault.from_json({"kind": kind, "request": request, **values})
        with self._lock:
            self._faults.append(fault)
        return fault

    def replace(self, faults: Iterable[Fault]) -> None:
        """Replace the script."""
        with self._lock:
            self._faults = list(faults)

    def clear(self) -> None:
        """Remove all faults."""
        self.replace(())

    def current(self) -> list[Fault]:
        """Return the faults that are still in force."""
        with self._lock:
            return list(self._faults)

    def draw(
        self, request: str, project_id: int | None, order_id: int | None, attachment_id: int | None = None
    ) -> Drawn:
        """Draw the faults of one request."""
        if not self._faults:
            return _NOTHING
        delay_before = delay_after = 0.0
        chosen: Fault | None = None
        with self._lock:
            for fault in list(self._faults):
                if chosen is not None and fault.kind is not Kind.LATENCY:
                    continue
                selected = fault.selects(request, project_id, order_id, attachment_id)
                if not selected or not self._happens(fault):
                    continue
                if fault.kind is not Kind.LATENCY:
                    chosen = fault
                elif fault.stored:
                    delay_after += fault.seconds or 0.0
                else:
                    delay_before += fault.seconds or 0.0
        return Drawn(delay_before, delay_after, chosen)

    def _happens(self, fault: Fault) -> bool:
        if fault.skip > 0:
            fault.skip -= 1
            return False
        if fault.probability < 1 and self._random.random() >= fault.probability:
            return False
        self.hits[fault.kind] += 1
        if fault.count is not None:
            fault.count -= 1
            if fault.count <= 0:
                self._faults.remove(fault)
        return True
