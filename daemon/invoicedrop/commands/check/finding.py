"""One result of `invoicedrop check`."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How good or bad a finding is. Only a problem keeps invoices from going; a note only explains."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of `subject` (in an inbox, or "" for the whole service) and, if it is bad, the remedy."""

    subject: str
    inbox: str
    level: Level
    text: str
    remedy: str = ""
