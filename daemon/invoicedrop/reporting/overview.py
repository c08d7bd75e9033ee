"""What `invoicedrop status` shows, as data. Times are in seconds since the epoch."""

from dataclasses import dataclass, replace
from typing import Final

from invoicedrop.languages.catalogue import phrase
from invoicedrop.service.status_file import Report

NO_DAEMON: Final = phrase("no daemon is running")
"""Why an invoice waits that has no trouble of its own."""


@dataclass(frozen=True, slots=True)
class WaitingFile:
    """An invoice in a drop folder; `until` is when it is tried again, if that is known."""

    inbox: str
    file: str
    since: float
    order_id: int | None
    in_doubt: bool
    why: str
    until: float | None


@dataclass(frozen=True, slots=True)
class LeftAloneFile:
    """What is left alone in a drop folder, and somebody may wait for; `since` is when it last changed, if known."""

    inbox: str
    file: str
    why: str
    since: float | None


@dataclass(frozen=True, slots=True)
class FailedFile:
    """An invoice that still lies in a failed folder; `problem` and `remedy` are in a bookkeeper's words."""

    inbox: str
    file: str
    order_id: int | None
    when: float
    reason: str
    problem: str
    remedy: str
    detail: str
    filed_as: str


@dataclass(frozen=True, slots=True)
class SentFile:
    """An invoice that Channable has accepted."""

    inbox: str
    file: str
    order_id: int | None
    when: float
    attachment_id: int | None
    filed_as: str | None


@dataclass(frozen=True, slots=True)
class QuestionedFile:
    """An invoice that Channable accepted, and whose order has shown trouble since; `words` are the order's own."""

    inbox: str
    file: str
    order_id: int | None
    when: float
    attachment_id: int | None
    words: str


@dataclass(frozen=True, slots=True)
class FolderOwner:
    """A daemon that holds a drop folder, by what it wrote there; `ours`: it works with the ledger of these settings.

    `writer` is the user whose file it is that says so.
    """

    host: str
    pid: int
    since: str
    last_beat: float
    ours: bool
    writer: str


@dataclass(frozen=True, slots=True)
class InboxState:
    """How an inbox is doing. `standby`: who works on it, if another daemon does while this one waits.

    `seconds`: what its company's backlog takes at the API's rate; None: no rate is set.
    `stopped_by` says that a person has paused it, or that its first start holds it.
    `oldest` is since when the oldest invoice waits, but for those that are to wait for their order; `in_doubt` counts
    those of which it is not known whether Channable took them, `failed` those in the failed folder, and `token_since`
    is when the token was first seen here, if that is known.
    `slow` is how slowly the last upload left, if it did. `owner` is the daemon that last worked on the drop folder, if
    it is there or was ended hard. `unseen` is why this user may not see the folder, where the service may.
    """

    name: str
    folder: str
    waiting: int
    trouble: str | None
    paused: str | None
    next_probe: float | None
    stopped_by: str | None
    slow: str | None
    seconds: float | None
    owner: FolderOwner | None
    unseen: str | None = None
    oldest: float | None = None
    in_doubt: int = 0
    failed: int = 0
    token_since: float | None = None
    standby: str | None = None


@dataclass(frozen=True, slots=True)
class DaemonState:
    """Whether a daemon holds the state folder (None: this user may not know), and what it last reported.

    `report` is None if no daemon runs, or if it has reported nothing yet; only a fresh one tells how things are now.
    `trouble` is why the report cannot be read, if there is one.
    """

    running: bool | None
    report: Report | None
    is_fresh: bool
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """All that `status` shows."""

    now: float
    daemon: DaemonState
    ledger_trouble: str | None
    ledger_exists: bool
    inboxes: list[InboxState]
    waiting: list[WaitingFile]
    left_alone: list[LeftAloneFile]
    failed: list[FailedFile]
    failed_total: int
    questioned: list[QuestionedFile]
    sent: list[SentFile]
    today_since: float
    sent_today: int
    failed_today: int

    def beside(self, daemon: DaemonState, now: float) -> "Overview":
        """Return it with what a later look at the daemon's report has found."""
        return replace(self, daemon=daemon, now=now)

    @property
    def waiting_total(self) -> int:
        """How many invoices wait in all drop folders."""
        return sum(inbox.waiting for inbox in self.inboxes)
