"""Which inboxes are stopped: by a person, or because their first start found more files than anybody may have meant.

It is in the ledger so that it survives a restart, and takes effect in a running service, which reads it again and
again. One row for each inbox, which stays when it goes on: an inbox that a person has let go on is never held again for
its first start.
"""

from dataclasses import dataclass
from enum import StrEnum

from invoicedrop.ledger import statements
from invoicedrop.ledger.engine import Engine
from invoicedrop.printable import storable


class StopKind(StrEnum):
    """Why an inbox is stopped, or that it is not any more."""

    PAUSED = "paused"
    """A person has paused it."""
    HELD = "held"
    """Its first start found many files: they wait until a person lets them go."""
    RESUMED = "resumed"
    """A person has let it go on."""


@dataclass(frozen=True, slots=True)
class Stop:
    """What was last said of an inbox: `since` (seconds since the epoch), the `words` of the person, if any.

    `files` is how many were waiting when it was held.
    """

    inbox: str
    kind: StopKind
    since: float
    words: str | None = None
    files: int | None = None


class Stops:
    """The stops of all inboxes. Thread-safe; raises LedgerUnavailable when the database cannot be used now."""

    def __init__(self, database: Engine) -> None:
        self._database = database

    def all(self) -> dict[str, Stop]:
        """Return what was last said of each inbox, by its name; of most inboxes nothing ever was."""
        rows = self._database.read(statements.STOPS, {})
        return {inbox: Stop(inbox, StopKind(kind), *rest) for inbox, kind, *rest in rows}

    def put(self, stop: Stop) -> None:
        """Write down what is said of an inbox now."""
        words = None if stop.words is None else storable(stop.words)
        values = {"inbox": stop.inbox, "kind": stop.kind, "since": stop.since, "words": words, "files": stop.files}
        self._database.write(statements.SET_STOP, values)

    def is_first_start(self, inbox: str, account: str, project_id: int) -> bool:
        """Whether nothing is known of the inbox, nor of its project: no invoice, and nothing that a person said."""
        if inbox in self.all():
            return False
        values = {"inbox": inbox, "account": account, "project_id": project_id}
        return not self._database.read(statements.KNOWS_PROJECT, values)
