"""One thing that `invoicedrop check` found out."""

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
    """What was found out about `subject` (of an inbox, or of the whole service: "") and what mends it, if it is bad."""

    subject: str
    inbox: str
    level: Level
    text: str
    remedy: str = ""
