"""What is wrong at this moment: the one place that decides it, for messages, monitors, `health` and the status page.

A trouble is told from what the service last reported and from what lies in its folders; nothing is read here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from invoicedrop.errors import PauseCause
from invoicedrop.languages.catalogue import phrase
from invoicedrop.reporting.overview import DaemonState, InboxState, Overview
from invoicedrop.service.status_file import InboxReport
from invoicedrop.system.local_time import minute
from invoicedrop.timing import DEFAULT_TIMING, Timing


class TroubleKind(StrEnum):
    """What is wrong: names that stay the same from version to version."""

    STOPPED = "stopped"
    """No service runs, or none has reported yet."""
    HANGS = "hangs"
    """The service is there, and has said nothing for too long."""
    OUTAGE = "outage"
    """The API cannot be reached, is out of service, or something else answers at its address."""
    TOKEN = "token"  # noqa: S105 - a kind, no secret
    """The API token cannot be read, is refused, or may not use the project."""
    PROJECT = "project"
    """The API knows none of several orders in a row."""
    FOLDER = "folder"
    """A folder of the inbox cannot be used: the share is gone, rights are missing, it is another daemon's."""
    DISK = "disk"
    """A disk is full."""
    LEDGER = "ledger"
    """The ledger cannot be read or written."""
    CHECK = "check"
    """No PDF can be checked."""
    THREADS = "threads"
    """The system gives no more threads."""
    WAITING = "waiting"
    """An invoice waits for too long."""
    FAILED = "failed"
    """Invoices lie in the failed folder."""
    QUESTIONED = "questioned"
    """An accepted invoice's order has shown trouble since."""
    TOKEN_AGE = "token_age"  # noqa: S105
    """The API token expires soon."""
    REPORTING = "reporting"
    """Somebody who is to be told of the service is not: messages, the heartbeat or the metrics do not get out."""
    HELD = "held"
    """A person has paused the inbox, or is to let its first start go on: that is no alarm."""

    @property
    def stops_work(self) -> bool:
        """Whether no invoice of the inbox can be sent meanwhile."""
        return self in _STOPS_WORK

    @property
    def is_alarm(self) -> bool:
        """Whether somebody has to do something."""
        return self is not TroubleKind.HELD


_STOPS_WORK: Final = frozenset(
    {
        TroubleKind.STOPPED,
        TroubleKind.HANGS,
        TroubleKind.OUTAGE,
        TroubleKind.TOKEN,
        TroubleKind.PROJECT,
        TroubleKind.FOLDER,
        TroubleKind.DISK,
        TroubleKind.LEDGER,
        TroubleKind.CHECK,
        TroubleKind.THREADS,
    }
)
_DAY: Final = 86_400.0
_HOUR: Final = 3600.0
_LONGEST_AGE: Final = 1e9
"""Seconds; an age beyond it is no age."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong now.

    `words` are for an administrator, on one line: what the `inbox` is or has; a sentence where that is None, for the
    whole service.

    `since` is in seconds since the epoch, None if it is not known; of what comes one by one (failed invoices) it is
    when the last one came. `count` is how many invoices it is about, if that can be counted.
    """

    kind: TroubleKind
    inbox: str | None
    since: float | None
    words: str
    count: int = 0

    @property
    def sentence(self) -> str:
        """What is wrong, whole."""
        return self.words if self.inbox is None else f"inbox {self.inbox} {self.words}"


def troubles_in(overview: Overview, timing: Timing = DEFAULT_TIMING) -> list[Trouble]:
    """Return what is wrong by all that is known, the worst first."""
    found = [*service_troubles(overview.daemon, overview.now)]
    kinds = {(trouble.kind, trouble.inbox) for trouble in found}
    ledgers = {TroubleKind.LEDGER, TroubleKind.DISK}
    if overview.ledger_trouble is not None and not any(kind in ledgers for kind, _ in kinds):
        found.append(Trouble(TroubleKind.LEDGER, None, None, overview.ledger_trouble))
    held = {inbox for kind, inbox in kinds if kind is TroubleKind.HELD}
    for inbox in overview.inboxes:
        if inbox.standby is not None:
            # The machine that works on it tells of its invoices: nobody is told twice.
            continue
        if inbox.name not in held:
            found.extend(_waits_too_long(inbox, overview.now, timing))
        found.extend(_failed(inbox, overview))
        found.extend(_questioned(inbox, overview))
        found.extend(_token_age(inbox, overview.now, timing))
    order = list(TroubleKind)
    return sorted(found, key=lambda trouble: order.index(trouble.kind))


def service_troubles(daemon: DaemonState, now: float) -> Iterator[Trouble]:
    """Yield what is wrong by the service's own report alone; `now` is the time of the wall clock."""
    report = daemon.report
    if daemon.trouble is not None:
        yield Trouble(TroubleKind.STOPPED, None, None, daemon.trouble)
    elif daemon.running is False:
        yield Trouble(TroubleKind.STOPPED, None, None, phrase("the service has stopped"))
    if report is None:
        return
    if not daemon.is_fresh and daemon.running is not False:
        age = max(-_LONGEST_AGE, min(report.age(now), _LONGEST_AGE))
        words = (
            phrase("the service's last sign of life is {age:.0f} s old: it hangs, or has been killed", age=age)
            if age >= 0
            else phrase(
                "the service's last sign of life is {ahead:.0f} s in the future: the clock was set back", ahead=-age
            )
        )
        yield Trouble(TroubleKind.HANGS, None, report.beat, words)
    for name, inbox in report.inboxes.items():
        yield from _inbox_troubles(name, inbox)
    for name, words in report.reporting.items():
        yield Trouble(TroubleKind.REPORTING, None, None, f"{name}: {words}")


def is_at_work(found: list[Trouble]) -> bool:
    """Whether the service can send invoices, from every inbox."""
    return not any(trouble.kind.stops_work for trouble in found)


def _inbox_troubles(name: str, inbox: InboxReport) -> Iterator[Trouble]:
    if inbox.stopped_by is not None:
        yield Trouble(TroubleKind.HELD, name, None, f"is {inbox.stopped_by}")
    if inbox.unavailable is not None:
        kind = _kind_of(inbox.unavailable_cause, TroubleKind.FOLDER)
        yield Trouble(kind, name, inbox.unavailable_since, phrase("is unavailable: {why}", why=inbox.unavailable))
    if inbox.paused is not None and inbox.paused_cause != PauseCause.RATE_LIMIT:
        kind = _kind_of(inbox.paused_cause, TroubleKind.OUTAGE)
        yield Trouble(kind, name, inbox.paused_since, phrase("is paused: {why}", why=inbox.paused))


def _kind_of(cause: str | None, otherwise: TroubleKind) -> TroubleKind:
    """Return the kind that a pause's cause is; `otherwise` for one that another version wrote, or did not write."""
    # A cause and its kind have the same name; the rate limit is a cause, and no trouble.
    return TroubleKind(cause) if cause in _CAUSES else otherwise


_CAUSES: Final = frozenset(PauseCause) - {PauseCause.RATE_LIMIT}


def _waits_too_long(inbox: InboxState, now: float, timing: Timing) -> Iterator[Trouble]:
    if inbox.oldest is not None and now - inbox.oldest > timing.longest_wait:
        words = phrase(
            "has invoices waiting, {count} in all, the oldest for {hours:.0f} hours",
            count=inbox.waiting,
            hours=(now - inbox.oldest) / _HOUR,
        )
        yield Trouble(TroubleKind.WAITING, inbox.name, inbox.oldest, words, inbox.waiting)


def _failed(inbox: InboxState, overview: Overview) -> Iterator[Trouble]:
    if inbox.failed:
        last = max((file.when for file in overview.failed if file.inbox == inbox.name), default=None)
        words = phrase(
            "has invoices in the failed folder, {count} in all, with a text beside each that says why",
            count=inbox.failed,
        )
        yield Trouble(TroubleKind.FAILED, inbox.name, last, words, inbox.failed)


def _questioned(inbox: InboxState, overview: Overview) -> Iterator[Trouble]:
    files = [file for file in overview.questioned if file.inbox == inbox.name]
    if files:
        words = phrase(
            "has accepted invoices whose orders report trouble, {count} in all: see `invoicedrop status`",
            count=len(files),
        )
        yield Trouble(TroubleKind.QUESTIONED, inbox.name, max(file.when for file in files), words, len(files))


def _token_age(inbox: InboxState, now: float, timing: Timing) -> Iterator[Trouble]:
    if inbox.token_since is None:
        return
    end = inbox.token_since + timing.token_age
    if now >= end - timing.token_notice:
        days = (end - now) / _DAY
        seen = minute(inbox.token_since)
        words = (
            phrase(
                "has an API token that expires in about {days:.0f} days (first seen {seen}): make a new one in "
                "Channable",
                days=days,
                seen=seen,
            )
            if days >= 1
            else phrase(
                "has an API token that is a year old, and may expire at any time (first seen {seen}): make a new one "
                "in Channable",
                seen=seen,
            )
        )
        yield Trouble(TroubleKind.TOKEN_AGE, inbox.name, end - timing.token_notice, words)
