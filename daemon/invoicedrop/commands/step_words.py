"""How far an invoice has come, and each step of its way, in words for an administrator."""

from typing import Final

from invoicedrop.invoice import State
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.step import Step, StepKind
from invoicedrop.reporting.wording import counted
from invoicedrop.system.local_time import local

_STATES: Final = {
    State.RECEIVED: "not sent yet",
    State.UPLOADING: "it may have been sent: the answer is not known",
    State.UPLOADED: "accepted by Channable, and to be moved to the processed folder",
    State.PROCESSED: "accepted by Channable",
    State.REJECTED: "it cannot be sent, and is to be moved to the failed folder",
    State.FAILED: "failed",
}


def state_words(entry: Entry) -> str:
    """Return how far an invoice has come, for a person."""
    if entry.question is not None:
        return "accepted by Channable, but its order has shown trouble since"
    if entry.confirmed_at is not None:
        return "accepted by Channable, and confirmed"
    return _STATES[entry.state]


def in_words(step: Step, entry: Entry) -> str:
    """Return what a step was, and how often it happened, for a person."""
    words = _words_of(step, entry)
    if step.times == 1:
        return words
    last = "" if step.last_at is None else f", the last {clock(step.last_at)}"
    return f"{words} ({step.times} times{last})"


def _words_of(step: Step, entry: Entry) -> str:  # noqa: C901, PLR0911, PLR0912 - one line for each kind
    more = f": {step.words}" if step.words else ""
    match step.kind:
        case StepKind.FOUND:
            return "dropped" if step.words in {None, entry.file} else f"dropped as {step.words}"
        case StepKind.RETRIED:
            spite = f", to be sent in spite of {step.words}" if step.words else ""
            return f"moved back into the drop folder by a person{spite}"
        case StepKind.WAITED:
            until = "" if step.last_at is None else f" until {clock(step.last_at)}"
            return f"waited with all others{until}{more}"
        case StepKind.CHECKED:
            facts = (counted(entry.pages, "page") if entry.pages else "", entry.pdfa or "", entry.einvoice or "")
            return "checked" + (": " if any(facts) else "") + ", ".join(filter(None, facts))
        case StepKind.ORDER_SEEN:
            return f"its order was looked at{more}"
        case StepKind.SENT:
            return "an upload began"
        case StepKind.NOT_TAKEN:
            return f"it was not taken{more}"
        case StepKind.DEFERRED:
            return f"put off{more}"
        case StepKind.ASKED:
            return "without an answer: its order was asked, and did not show it"
        case StepKind.ACCEPTED:
            how = f" ({step.words})" if step.words else ""
            return f"accepted by Channable: attachment {entry.attachment_id}{how}"
        case StepKind.FILED:
            return f"filed as {entry.filed_as}" if step.words else "somebody had taken the file away"
        case StepKind.DUPLICATE:
            return f"the same PDF came again as {step.words}: filed, and not sent"
        case StepKind.REJECTED:
            return f"cannot be sent{more}"
        case StepKind.FAILED:
            return f"moved to the failed folder as {step.words}" if step.words else "somebody had taken the file away"
        case StepKind.CONFIRMED:
            return "confirmed: the order shows it, and no trouble"
        case StepKind.QUESTIONED:
            return f"the order shows trouble: {entry.question}"


def clock(moment: float) -> str:
    """Return a moment (seconds since the epoch) in local time, to the second."""
    return f"{local(moment):%Y-%m-%d %H:%M:%S}"
