"""The companion that watches the service as anybody else would, and tells those that tell others of it.

Every few seconds it reads what the service writes about itself: so it sees a loop that hangs. What lies in the folders
is read seldom, and in a thread of its own: a share that hangs must not keep anybody from learning of it. Neither thread
touches anything that an invoice needs.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol

from invoicedrop.errors import ConfigError
from invoicedrop.logs import get_logger
from invoicedrop.reporting.daemon import read_daemon
from invoicedrop.reporting.facts import read_overview
from invoicedrop.reporting.overview import DaemonState, Overview
from invoicedrop.reporting.token_ages import TokenAges
from invoicedrop.reporting.troubles import Trouble, service_troubles, troubles_in
from invoicedrop.settings.load import read_token
from invoicedrop.settings.settings import Settings
from invoicedrop.timing import DEFAULT_TIMING, LOOK_SHARE, Timing

_PATIENCE: Final = 1.0
"""Seconds that a stop waits for a look that is under way."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What is known of the service at one moment; `overview` is None until the folders were looked at."""

    now: float
    daemon: DaemonState
    overview: Overview | None
    troubles: Sequence[Trouble]


class Teller(Protocol):
    """Somebody who tells others of the service. All but `troubles` is called in the watching thread."""

    name: str

    def look(self, picture: Picture) -> None:
        """See what there is to tell; return at once."""

    def stop(self, picture: Picture) -> None:
        """End, with what is known last."""

    def trouble(self) -> str | None:
        """Return what keeps it from telling, in words. May be called in any thread; never waits."""


class Watch:
    """The companion. A fault of one teller keeps no other one from telling."""

    def __init__(self, settings: Settings, timing: Timing = DEFAULT_TIMING) -> None:
        self._settings = settings
        self._tellers: list[Teller] = []
        self._timing = timing
        self._tokens = TokenAges(settings.state_dir)
        self._stopped = threading.Event()
        self._overview: Overview | None = None
        self._faults: dict[str, str] = {}
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for name, target in (("watch", self._watch), ("overview", self._read_overviews))
        ]

    def add(self, teller: Teller) -> None:
        """Have somebody more to tell, before the start."""
        self._tellers.append(teller)

    def start(self) -> None:
        """Begin to watch."""
        for thread in self._threads:
            try:
                thread.start()
            except RuntimeError as error:
                # Invoices go all the same.
                self._faults |= {thread.name: f"the system gives no thread for it: {error}"}

    def stop(self) -> None:
        """Stop watching; a look that hangs is left behind."""
        self._stopped.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(_PATIENCE)

    def troubles(self) -> Mapping[str, str]:
        """Return what keeps anybody from telling others."""
        told = {teller.name: teller.trouble() for teller in self._tellers}
        return self._faults | {name: words for name, words in told.items() if words is not None}

    def picture(self) -> Picture:
        """Return how the service is now, with what the folders held at the last look. May be called in any thread."""
        return _picture(self._settings, self._overview, self._timing)

    def _watch(self) -> None:
        while not self._stopped.wait(self._timing.report_look):
            self._tell(lambda teller, picture: teller.look(picture))
        self._tell(lambda teller, picture: teller.stop(picture))

    def _tell(self, what: Callable[[Teller, Picture], None]) -> None:
        picture = self.picture()
        for teller in self._tellers:
            with self._remembered(teller.name):
                what(teller, picture)

    @contextmanager
    def _remembered(self, name: str) -> Iterator[None]:
        """Keep a fault of this program to whose it is: the others go on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, no invoice depends on it
            if name not in self._faults:
                get_logger().error("notify.failed", way=name, detail="internal error", exc_info=error)
            self._faults = self._faults | {name: "internal error"}
        else:
            self._faults = {other: words for other, words in self._faults.items() if other != name}

    def _read_overviews(self) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            began = time.monotonic()
            with self._remembered("overview"):
                self._note_tokens()
                # Where nobody is told, nobody needs it.
                if self._tellers:
                    self._overview = read_overview(self._settings)
            pause = max(self._timing.overview_look, LOOK_SHARE * (time.monotonic() - began))

    def _note_tokens(self) -> None:
        tokens = []
        for inbox in self._settings.inboxes:
            # What is wrong with a token is found by who uses it.
            with suppress(ConfigError):
                tokens.append(read_token(inbox))
        self._tokens.seen(tokens, time.time())


def read_picture(settings: Settings, timing: Timing = DEFAULT_TIMING) -> Picture:
    """Read all that there is to know.

    Raises:
        ConfigError: the ledger was written by a newer program.

    """
    return _picture(settings, read_overview(settings), timing)


def _picture(settings: Settings, overview: Overview | None, timing: Timing) -> Picture:
    now = time.time()
    # Without what is only for the service's own user: others are told of it.
    daemon = read_daemon(settings.status_file, now, state_dir=settings.state_dir, in_full=False)
    if overview is None:
        return Picture(now, daemon, None, list(service_troubles(daemon, now)))
    return Picture(now, daemon, overview, troubles_in(overview.beside(daemon, now), timing))
