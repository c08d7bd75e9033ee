"""The drop folders that this service holds, and whether it still does: asked for before anything is handed out."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from invoicedrop.errors import FolderUnavailable, InstanceRunning, LedgerUnavailable
from invoicedrop.inbox.ownership import Owner, Ownership
from invoicedrop.ledger.lease import Leases
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.logs import get_logger
from invoicedrop.service.ledger_place import key_of
from invoicedrop.settings.inbox import Inbox
from invoicedrop.timing import Timing


class FolderClaim:
    """The claim on one inbox's drop folder. `state_trouble` says what is wrong with the state folder, if anything.

    `new_ownership` is called when the folder is first held: a ledger that is not reached yet has no identity.
    """

    def __init__(
        self,
        inbox: Inbox,
        new_ownership: Callable[[], Ownership],
        state_trouble: Callable[[], str | None],
        *,
        look: float,
    ) -> None:
        self._folder = str(inbox.drop_dir)
        self._new_ownership = new_ownership
        self._ownership: Ownership | None = None
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
        """Give the folder up: at the end of an ordered stop, or where the inbox is not ours any more."""
        self._is_seen = False
        if self._ownership is not None:
            self._ownership.release()

    def _trouble(self) -> str | None:
        try:
            self._hold()
        except InstanceRunning as error:
            return str(error)
        except (FolderUnavailable, LedgerUnavailable) as error:
            return error.detail
        return None

    def _hold(self) -> None:
        self._is_seen = True
        if self._ownership is None:
            self._ownership = self._new_ownership()
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
    inboxes: Sequence[Inbox], ledger: Ledger, leases: Leases, state_trouble: Callable[[], str | None], timing: Timing
) -> Iterator[list[FolderClaim]]:
    """Hold the drop folders of these inboxes while the block runs; those that are not leased now are held later.

    Raises:
        InstanceRunning: another daemon holds one of them.

    """

    def ownership(inbox: Inbox) -> Ownership:
        return Ownership(
            inbox.drop_dir,
            Owner.ourselves(ledger.identity_of(key_of(inbox))),
            beat=timing.owner_beat,
            stale=timing.owner_stale,
            shared=ledger.is_shared,
        )

    claims = [FolderClaim(inbox, partial(ownership, inbox), state_trouble, look=timing.owner_look) for inbox in inboxes]
    try:
        for inbox, claim in zip(inboxes, claims, strict=True):
            if leases.lease(key_of(inbox)) is not None:
                claim.take()
        yield claims
    finally:
        for claim in claims:
            claim.release()
