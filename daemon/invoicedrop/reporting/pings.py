"""The heartbeat to the outside: an address that is asked for while all is well, and told when something is wrong.

The convention is that of healthchecks.io and its kin (https://healthchecks.io/docs/http_api/): a request to the address
is a sign of life, one to the address with /fail behind it says that something is wrong, with the cause in its body.
Who hears nothing for longer than agreed raises the alarm, which is the only way to learn of a machine that is off.
"""

import threading
import time
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import httpx

from invoicedrop.channable.http_client import http_client
from invoicedrop.channable.transport import DeadlineTransport
from invoicedrop.logs import get_logger
from invoicedrop.printable import printable
from invoicedrop.reporting.troubles import Trouble, TroubleKind
from invoicedrop.reporting.watch import Picture
from invoicedrop.system.network import Network
from invoicedrop.timing import DEFAULT_TIMING, Timing

_LONGEST: Final = 2000
"""Bytes of a cause."""
_OK: Final = 200
_REDIRECT: Final = 300


class Pings:
    """The teller of signs of life. `url` is a secret: nothing here shows it."""

    name = "heartbeat"

    def __init__(self, url: str, network: Network, timing: Timing = DEFAULT_TIMING) -> None:
        self._url = url
        self._timing = timing
        self._transport = DeadlineTransport.to(url, total=timing.ping_timeout, connections=1, network=network)
        self._http = http_client(self._transport)
        self._due = 0.0
        self._wrong: bool | None = None
        self._thread: threading.Thread | None = None
        self._began = 0.0
        self._failure: str | None = None

    def look(self, picture: Picture) -> None:
        """Give a sign of life if one is due, or if there is news."""
        if picture.daemon.report is None:
            return  # not yet
        causes = worth_a_fail(picture.troubles, picture.now, self._timing)
        wrong = bool(causes)
        if not wrong and any(trouble.kind.stops_work for trouble in picture.troubles):
            return  # neither well nor, for long enough, wrong
        now = time.monotonic()
        if self._thread is not None and self._thread.is_alive():
            if now - self._began > 2 * self._timing.ping_timeout:
                self._note("no answer in time")
            return
        if now < self._due and wrong == self._wrong:
            return
        self._due, self._began, self._wrong = now + self._timing.ping, now, wrong
        body = "\n".join(trouble.sentence for trouble in causes)
        # In a thread of its own: an answer may take seconds, and others are to be told meanwhile.
        self._thread = threading.Thread(target=self._ping, args=(body,), name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self, picture: Picture) -> None:  # noqa: ARG002 - who stops the service knows of it
        """Give no further sign: that is what tells of a stop."""
        self._transport.abort()

    def trouble(self) -> str | None:
        """Return why the last sign of life did not arrive."""
        return self._failure

    def _ping(self, body: str) -> None:
        try:
            if body:
                content = printable_lines(body).encode()[:_LONGEST]
                headers = {"Content-Type": "text/plain; charset=utf-8"}
                response = self._http.post(fail_url(self._url), content=content, headers=headers)
            else:
                response = self._http.get(self._url)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            self._note(printable(str(error)) or type(error).__name__)
        else:
            is_taken = _OK <= response.status_code < _REDIRECT
            self._note(None if is_taken else f"it answers with HTTP {response.status_code}")

    def _note(self, failure: str | None) -> None:
        """Remember how it went; a change is logged, once."""
        if failure is not None and self._failure is None:
            get_logger().warning("notify.failed", way=self.name, detail=failure)
        self._failure = failure


def worth_a_fail(troubles: Sequence[Trouble], now: float, timing: Timing) -> list[Trouble]:
    """Return the troubles that are to be told: what stops work, but for a moment's outage, and invoices that wait."""
    causes = []
    for trouble in troubles:
        lasted = now - trouble.since if trouble.since is not None else timing.outage_shown
        passes = trouble.kind is TroubleKind.OUTAGE and lasted < timing.outage_shown
        if (trouble.kind.stops_work and not passes) or trouble.kind is TroubleKind.WAITING:
            causes.append(trouble)
    return causes


def fail_url(url: str) -> str:
    """Return the address with /fail behind its path."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/fail"))


def printable_lines(text: str) -> str:
    """Return lines of which none can pass for another one."""
    return "\n".join(map(printable, text.split("\n")))
