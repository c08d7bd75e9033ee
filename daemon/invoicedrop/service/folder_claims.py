"""The drop folders that this service holds, and whether it still does: asked for before anything is handed out."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from invoicedrop.errors import FolderUnavailable, InstanceRunning
from invoicedrop.inbox.ownership import Owner, Ownership
from invoicedrop.logs import get_logger
from invoicedrop.settings.models import Inbox
from invoicedrop.timing import Timing


class FolderClaim:
    """The claim on one inbox's drop folder. `state_trouble` says what is wrong with the state folder, if anything."""

    def __init__(
        self, inbox: Inbox, ownership: Ownership, state_trouble: Callable[[], str | None], *, look: float
    ) -> None:
        self._folder = str(inbox.drop_dir)
        self._ownership = ownership
        self._state_trouble = state_trouble
        self._look = look
        self._log = get_logger().bind(inbox=inbox.name)
        self._is_seen = False
        self._refusal: str | None = None
        self._next_look = 0.0

    @property
    def next_look(self) -> float:
        """Monotonic time of the next look at the folder."""
        return self._next_look

    def take(self) -> None:
        """Take the folder, before anything is done in it; one that cannot be looked into now is taken later.

        Raises:
            InstanceRunning: another daemon holds it.

        """
        with suppress(FolderUnavailable):
            self._hold()

    def refusal(self) -> str | None:
        """Return why nothing may be handed out now: the folder, or our state, is another one's; None if all is ours."""
        now = time.monotonic()
        # A folder that could not be seen may be another one when it is back.
        if now >= self._next_look or not self._is_seen:
            self._next_look = now + self._look
            self._refusal = self._state_trouble() or self._trouble()
        return self._refusal

    def release(self) -> None:
        """Give the folder up, at the end of an ordered stop."""
        self._ownership.release()

    def _trouble(self) -> str | None:
        try:
            self._hold()
        except InstanceRunning as error:
            return str(error)
        except FolderUnavailable as error:
            return error.detail
        return None

    def _hold(self) -> None:
        self._is_seen = True
        try:
            previous = self._ownership.hold()
        except OSError:
            # Why the folder cannot be used is what the inbox finds out and says.
            self._is_seen = False
            return
        if previous is not None:
            self._log.warning("inbox.owner", folder=self._folder, taken_over_from=previous)


@contextmanager
def claimed(
    inboxes: Sequence[Inbox], ledger: str, state_trouble: Callable[[], str | None], timing: Timing
) -> Iterator[list[FolderClaim]]:
    """Hold the drop folders of these inboxes while the block runs; `ledger` is the ledger's identity.

    Raises:
        InstanceRunning: another daemon holds one of them.

    """
    ours = Owner.ourselves(ledger)
    claims = [
        FolderClaim(
            inbox,
            Ownership(inbox.drop_dir, ours, beat=timing.owner_beat, stale=timing.owner_stale),
            state_trouble,
            look=timing.owner_look,
        )
        for inbox in inboxes
    ]
    try:
        for claim in claims:
            claim.take()
        yield claims
    finally:
        for claim in claims:
            claim.release()
