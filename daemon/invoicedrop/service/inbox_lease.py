"""Whether an inbox is ours to work on, seen by its worker: what the database has decided, and what is told of it."""

import time
from typing import Final

from invoicedrop.ledger.lease import Holder, Lease, Leases
from invoicedrop.service.inbox_log import InboxLog
from invoicedrop.service.ledger_place import key_of
from invoicedrop.settings.inbox import Inbox

_LONGEST_PATIENCE: Final = 900.0
"""Seconds."""


class InboxLease:
    """The lease of one inbox, as the last `look` found it. For the main loop, but for `held`.

    Where the folders cannot be used here for `patience` seconds, a daemon that stands by gets it: its share may be
    there. Each time that this is in vain, it has twice as much patience.
    """

    def __init__(self, leases: Leases, inbox: Inbox, log: InboxLog, *, patience: float) -> None:
        self.held: Lease | None = None
        self._leases = leases
        self._key = key_of(inbox)
        self._log = log
        self._told: Holder | None = None
        self._first_patience = self._patience = patience
        self._failing_since: float | None = None

    @property
    def trouble(self) -> str | None:
        """Why it is not ours, if the database cannot be used; None otherwise."""
        return None if self.held is not None else self._leases.trouble

    @property
    def standby(self) -> str | None:
        """Which other daemon works on the inbox, in words; None if none does, as far as is known."""
        if self.held is not None or self._leases.trouble is not None:
            return None
        return "another daemon" if self._told is None else str(self._told)

    @property
    def next_look(self) -> float:
        """Monotonic time when something may change."""
        return self._leases.next_turn

    def note_folders(self, *, fail: bool) -> None:
        """Note whether the folders cannot be used here."""
        if not fail or self.held is None:
            self._failing_since = None
            self._patience = self._patience if fail else self._first_patience
            return
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        if now - self._failing_since >= self._patience and self._leases.give_way(self._key):
            self._failing_since = None
            self._patience = min(_LONGEST_PATIENCE, 2 * self._patience)

    def look(self) -> bool:
        """See whose the inbox is now; return whether that is another lease than before, or none any more."""
        lease = self._leases.lease(self._key)
        has_changed = lease is not self.held
        if has_changed:
            self.held = lease
            self._told = None
            if lease is not None and self._leases.is_shared:
                self._log.owner(None if lease.previous is None else str(lease.previous))
        holder = self._leases.holder(self._key)
        if lease is None and self._leases.trouble is None and holder is not None and holder != self._told:
            self._told = holder
            self._log.standby(str(holder))
        return has_changed
