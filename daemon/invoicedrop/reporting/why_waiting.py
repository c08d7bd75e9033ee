"""Why a file waits in a drop folder, and until when: its own trouble first, then its inbox's."""

from dataclasses import dataclass

from invoicedrop.invoice import State
from invoicedrop.languages.catalogue import phrase
from invoicedrop.ledger.entry import Entry
from invoicedrop.reporting.overview import NO_DAEMON
from invoicedrop.service.status_file import InboxReport

Why = tuple[str, float | None]
"""The words, and when it is tried again (seconds since the epoch), if that is known."""
_TO_BE_FILED = {State.UPLOADED, State.REJECTED}


@dataclass(frozen=True, slots=True)
class WhyWaiting:
    """Why the files of one inbox wait. `report` is what a daemon reports of it now, if that can be believed.

    `running` is whether a daemon runs (None: that is not known), `stopped_by` why the inbox is stopped, in words.
    """

    report: InboxReport | None
    running: bool | None
    stopped_by: str | None
    now: float

    def of(self, name: str, entry: Entry | None) -> Why:
        """Return why the file of this name (in its storable form) waits; `entry` is what the ledger knows of it."""
        if entry is not None and entry.state in _TO_BE_FILED:
            return self._to_be_filed(name, entry)
        if entry is not None and entry.state is State.UPLOADING and entry.next_try is None and self.running:
            return phrase("it is being sent"), None
        # What the daemon says of this moment is newer than what it wrote down.
        turn = phrase("it waits for its turn"), None
        return self._put_off(name) or self._own_trouble(entry) or self._of_inbox() or turn

    def _to_be_filed(self, name: str, entry: Entry) -> Why:
        is_sent = entry.state is State.UPLOADED
        obstacle = self._put_off(name) or (self._of_inbox() if self.running else None)
        if obstacle is None and is_sent:
            return phrase("it was sent, and is about to be moved to the processed folder"), None
        if obstacle is None:
            return phrase(
                "it cannot be sent, and is about to be moved to the failed folder: {detail}", detail=entry.detail
            ), None
        why, until = obstacle
        if is_sent:
            return phrase(
                "it was sent; it stays here until it can be moved to the processed folder: {why}", why=why
            ), until
        return phrase(
            "it cannot be sent: {detail}; it stays here until it can be moved to the failed folder: {why}",
            detail=entry.detail,
            why=why,
        ), until

    def _put_off(self, name: str) -> Why | None:
        if self.report is None or name not in self.report.put_off:
            return None
        until, why = self.report.put_off[name]
        return why, until

    def _own_trouble(self, entry: Entry | None) -> Why | None:
        if entry is None:
            return None
        due = entry.due(self.now)
        if due is not None:
            return entry.detail or phrase("it is tried again later"), due
        if entry.doubt_since is not None:
            return phrase("an upload had no answer: Channable is asked whether it has it before it is sent again"), None
        return None

    def _of_inbox(self) -> Why | None:
        """Return what keeps all files of the inbox."""
        if self.stopped_by is not None:
            return self.stopped_by, None
        if self.running is False:
            return NO_DAEMON, None
        if self.report is not None and self.report.unavailable:
            return self.report.unavailable, None
        if self.report is not None and self.report.paused:
            return self.report.paused, self.report.next_probe
        return None
