"""What `invoicedrop check` finds about inboxes that a person has stopped, or that their first start will hold."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from invoicedrop.commands.check.finding import Finding, Level
from invoicedrop.inbox.listing import list_folder
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.ledger.stops import Stop, StopKind
from invoicedrop.service.inbox_stops import in_words
from invoicedrop.settings.inbox import Inbox


def of_no_inbox(inboxes: Sequence[Inbox], stops: Mapping[str, Stop]) -> Iterator[Finding]:
    """Yield what was stopped under a name that no inbox has (any more)."""
    for name, stop in stops.items():
        if name not in {inbox.name for inbox in inboxes}:
            how = "paused by a person" if stop.kind is StopKind.PAUSED else "held since its first start"
            text = f"the inbox {name!r} was {how}, and no inbox has this name: if it was renamed, it sends again"
            remedy = "pause it by its new name; invoicedrop resume, for all inboxes, forgets the old one"
            yield Finding("stopped", "", Level.WARNING, text, remedy)


def of_inbox(inbox: Inbox, ledger: Ledger | None, stop: Stop | None, now: float) -> Iterator[Finding]:
    """Yield why an inbox does not go on, or will not at its first start; raises LedgerUnavailable."""
    if stop is not None:
        remedy = f"invoicedrop resume --inbox {shlex.quote(inbox.name)}"
        if stop.kind is StopKind.HELD:
            remedy += ", once you have seen that all of these files are to be sent"
        yield Finding("stopped", inbox.name, Level.WARNING, in_words(stop, now), remedy)
        return
    if not inbox.hold_above:
        return
    if ledger is not None and not ledger.stops.is_first_start(inbox.name, inbox.account, inbox.project_id):
        return
    # Whether the folder can be read is another finding.
    with suppress(OSError):
        waiting = sum(entry.left_alone is None for entry in list_folder(inbox.drop_dir))
        if waiting > inbox.hold_above:
            text = f"{waiting} files wait, more than hold_above ({inbox.hold_above}): the first start will hold them"
            remedy = "take away what is not to be sent, or start the service, and let them go by: invoicedrop resume"
            yield Finding("first start", inbox.name, Level.WARNING, text, remedy)
