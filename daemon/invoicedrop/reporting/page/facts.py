"""What the page of one inbox shows: its overview, and how it is at this moment in one word."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from invoicedrop.languages.catalogue import Catalogue, catalogue
from invoicedrop.reporting.overview import InboxState, Overview
from invoicedrop.reporting.troubles import Trouble, TroubleKind, troubles_in
from invoicedrop.settings.inbox import Inbox
from invoicedrop.timing import DEFAULT_TIMING, Timing

_SHOWN_BELOW: Final = frozenset({TroubleKind.FAILED, TroubleKind.QUESTIONED})
"""Each of their invoices stands on the page."""
PAGE_OF: Final = "status page of inbox "
"""How a page is called in what the service reports of itself, with the inbox's name behind it."""
_MINOR: Final = frozenset({TroubleKind.WAITING, TroubleKind.TOKEN_AGE, TroubleKind.REPORTING})


class Condition(Enum):
    """How the inbox is doing, the worst last."""

    AT_WORK = "at work"
    STARTING = "starting"
    HELD = "held"
    HALTED = "halted"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What the page shows. `stopped_at` is when the service was stopped in order (None: it runs).

    `overview` is of this inbox alone; `is_only`: there is no other one.
    """

    inbox: Inbox
    overview: Overview
    troubles: tuple[Trouble, ...]
    stopped_at: float | None
    is_only: bool

    @property
    def words(self) -> Catalogue:
        """The language that the page is written in."""
        return catalogue(self.inbox.language)

    @property
    def state(self) -> InboxState:
        """How the inbox is doing."""
        return self.overview.inboxes[0]

    @property
    def condition(self) -> Condition:
        """How the inbox is doing, in one word."""
        if self.stopped_at is not None:
            return Condition.STOPPED
        if any(trouble.kind is TroubleKind.HELD for trouble in self.troubles):
            return Condition.HELD
        if any(trouble.kind.stops_work for trouble in self.troubles):
            return Condition.HALTED
        return Condition.AT_WORK if self.overview.daemon.report is not None else Condition.STARTING

    @property
    def next_probe(self) -> float | None:
        """When it is tried next whether Channable can be used again; None if it can, or if that does not help."""
        ours = self.condition is Condition.HALTED and self.state.trouble is None
        return self.state.next_probe if ours else None

    @property
    def minor(self) -> list[Trouble]:
        """What is wrong, and keeps no invoice from being sent."""
        return [trouble for trouble in self.troubles if trouble.kind in _MINOR]

    @property
    def halting(self) -> list[Trouble]:
        """Why nothing can be sent now."""
        return [trouble for trouble in self.troubles if trouble.kind.stops_work or trouble.kind is TroubleKind.HELD]


def page_facts(
    inbox: Inbox, overview: Overview, *, is_only: bool, stopped_at: float | None = None, timing: Timing = DEFAULT_TIMING
) -> PageFacts:
    """Return what the page of `inbox` shows; `is_only`: there is no other one."""
    troubles = tuple(
        trouble
        for trouble in troubles_in(overview, timing)
        if trouble.inbox in {None, inbox.name} and trouble.kind not in _SHOWN_BELOW
        # Another page's trouble names another inbox; this one's own cannot be read on it.
        if not (trouble.kind is TroubleKind.REPORTING and trouble.words.startswith(PAGE_OF))
    )
    folder = overview.inboxes[0].trouble
    if folder is not None and not any(trouble.kind.stops_work for trouble in troubles):
        # Seen by whoever makes the page, before the service has met it.
        troubles = (Trouble(TroubleKind.FOLDER, inbox.name, None, folder), *troubles)
    return PageFacts(inbox, overview, troubles, stopped_at, is_only)
