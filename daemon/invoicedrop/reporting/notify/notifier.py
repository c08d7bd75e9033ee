"""Tells people of trouble: each recipient once, as far as is known of what got out; remembered across restarts.

That a message is about to be sent is written down first. So a service that dies at it, again and again, does not send
it each time: the next attempt waits ever longer, up to an hour.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from invoicedrop.languages.catalogue import Catalogue, Language, catalogue
from invoicedrop.logs import get_logger
from invoicedrop.reporting.memory import Memory, fingerprint, moments_in, salt_in
from invoicedrop.reporting.notify.delivery import Delivery, Result, kind_of
from invoicedrop.reporting.notify.news import Message, Told, news_for
from invoicedrop.reporting.notify.sightings import Sightings
from invoicedrop.reporting.troubles import Trouble
from invoicedrop.reporting.watch import Picture
from invoicedrop.timing import DEFAULT_TIMING, Timing

_FILE_NAME: Final = "notify.json"
_LAST_MOMENT: Final = 0.7
"""Seconds that messages under way get when the service stops."""


class _Recipient:
    """One address, and what it was told."""

    def __init__(self, number: int, address: str, told: Told, timing: Timing, words: Catalogue) -> None:
        self.told = told
        self.shown = f"address {number} ({kind_of(address)})"
        self.failure: str | None = None
        self.under_way: Delivery | None = None
        self._address = address
        self._timing = timing
        self._words = words
        self._message: Message | None = None
        self._then = told

    def begin(self, picture: Picture, going_on: Sequence[Trouble], sightings: Sightings, after: float) -> bool:
        """See whether there is something to tell now; return whether there is: `send` is next."""
        now = picture.now
        # Never further away than the longest wait, even if the clock was set back.
        if now < self.told.not_before <= now + self._timing.longest_message_retry:
            return False
        self._message, self._then = news_for(
            self.told.clamped(now), picture, going_on, sightings, after=after, timing=self._timing, words=self._words
        )
        if self._message is None:
            self.told = self._then
            return False
        wait = min(self._timing.message_retry * 2.0 ** min(self.told.attempts, 10), self._timing.longest_message_retry)
        self.told = self.told.model_copy(update={"attempts": self.told.attempts + 1, "not_before": now + wait})
        return True

    def send(self) -> None:
        """Send what `begin` found, now that it is written down that this is tried."""
        self.under_way = Delivery(self._address, self._message, seconds=self._timing.message_timeout)

    def try_out(self) -> None:
        """See whether the address can be understood at all."""
        self._message = None
        self.under_way = Delivery(self._address, None, seconds=self._timing.message_timeout)

    def end(self, result: Result) -> None:
        """Learn what became of it."""
        self.under_way = None
        if not result.sent:
            self.failure = f"{self.shown}: {result.words}"
            get_logger().warning("notify.failed", way="notify", address=self.shown, detail=result.words)
            return
        self.failure = None
        if self._message is not None:
            self.told = self._then.model_copy(update={"attempts": 0, "not_before": 0.0})


class Notifier:
    """The teller of messages, in one language.

    `after` is the least time between two messages about the same thing, in seconds.
    """

    name = "notify"

    def __init__(
        self,
        addresses: Sequence[str],
        state_dir: Path,
        after: float,
        timing: Timing = DEFAULT_TIMING,
        *,
        language: Language = "en",
    ) -> None:
        self._after = after
        self._memory = Memory(state_dir / _FILE_NAME)
        known = self._memory.read()
        self._salt = salt_in(known)
        self._sightings = Sightings(moments_in(known), timing.well_after)
        prints = {fingerprint(address, self._salt): address for address in addresses}
        self._recipients = {
            print_: _Recipient(number, address, _told(known, print_), timing, catalogue(language))
            for number, (print_, address) in enumerate(prints.items(), 1)
        }
        self._written: dict[str, Any] = {}
        self._tried_out = False

    def look(self, picture: Picture) -> None:
        """Send what there is to tell, and see what became of what was sent."""
        going_on = self._sightings.note(picture.troubles, picture.now, time.monotonic())
        for recipient in self._recipients.values():
            result = None if recipient.under_way is None else recipient.under_way.poll()
            if result is not None:
                recipient.end(result)
        if not self._tried_out:
            self._tried_out = True
            for recipient in self._recipients.values():
                recipient.try_out()
            return
        free = [recipient for recipient in self._recipients.values() if recipient.under_way is None]
        due = [each for each in free if each.begin(picture, going_on, self._sightings, self._after)]
        self._write_down()
        for recipient in due:
            recipient.send()

    def stop(self, picture: Picture) -> None:  # noqa: ARG002 - whoever asked for the stop knows of it
        """Give what is under way a moment, and end it then: it is tried again when its time comes."""
        deadline = time.monotonic() + _LAST_MOMENT
        for recipient in self._recipients.values():
            if recipient.under_way is not None:
                result = recipient.under_way.wait(deadline)
                if result is None:
                    recipient.under_way.stop()
                else:
                    recipient.end(result)
        self._write_down()

    def trouble(self) -> str | None:
        """Return whom messages do not reach."""
        failures = [recipient.failure for recipient in self._recipients.values() if recipient.failure is not None]
        return "; ".join(failures) or None

    def _write_down(self) -> None:
        told = {print_: recipient.told.model_dump(mode="json") for print_, recipient in self._recipients.items()}
        content = {"salt": self._salt, "since": dict(self._sightings.since), "told": told}
        if content != self._written:
            self._written = content
            self._memory.write(content)


def _told(known: dict[str, Any], fingerprint: str) -> Told:
    """Return what this recipient was told; of what failed before it was known, it is told nothing."""
    now = time.time()
    try:
        return Told.model_validate(known["told"][fingerprint])
    except (KeyError, TypeError, ValidationError):
        return Told(failed=now, questioned=now)
