"""One result of `invoicedrop check`."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How good or bad a finding is. Only a problem keeps invoices from going; a note only explains.

    UNSEEN is what this user may not see, though the service's may.
    """

    OK = "ok"
    NOTE = "note"
    UNSEEN = "unseen"
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
    by_rights: bool = False
    """Whether only the rights of the user that checks are in the way."""
