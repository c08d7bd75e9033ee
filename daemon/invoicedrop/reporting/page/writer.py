"""Writes the status page of one inbox: a companion of the service, in a thread of its own.

It reads what any command reads, and only what is its inbox's. So a page on a dead share hangs by itself, and a folder
of 100,000 files, whose listing takes a second, costs a small share of the time. Only who holds the drop folder writes.
"""

import errno
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from invoicedrop.errors import ConfigError
from invoicedrop.inbox.ownership import last_owner
from invoicedrop.logs import get_logger
from invoicedrop.reporting.facts import read_overview
from invoicedrop.reporting.overview import Overview
from invoicedrop.reporting.page.document import document
from invoicedrop.reporting.page.facts import PAGE_OF, page_facts
from invoicedrop.reporting.page.file import NotOurPage, clear_unfinished, write_page
from invoicedrop.reporting.page.sections import MOST_ROWS
from invoicedrop.service.known_folders import missing_mount
from invoicedrop.settings.inbox import Inbox
from invoicedrop.settings.settings import Settings
from invoicedrop.timing import DEFAULT_TIMING, LOOK_SHARE, Timing

_LAST_LOOK: Final = 0.5
"""Seconds; where a look takes longer, the last page shows what the one before has seen."""
_PATIENCE: Final = 2.0
"""Seconds that the last page may take when the service stops."""
_OPEN_ELSEWHERE: Final = frozenset({errno.EACCES, errno.EPERM, errno.EBUSY, errno.ETXTBSY, errno.EAGAIN})
"""What a share answers while a browser has the page open."""


class StatusPage:
    """The page of an inbox that wants one."""

    def __init__(self, settings: Settings, inbox: Inbox, path: Path, *, timing: Timing = DEFAULT_TIMING) -> None:
        self._settings = settings
        self._inbox = inbox
        self._path = path
        self._timing = timing
        self._log = get_logger().bind(inbox=inbox.name)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"page of {inbox.name}", daemon=True)
        self._overview: Overview | None = None
        self._took = 0.0
        self._shown = ""
        self._next_sign = 0.0
        self._trouble: str | None = None
        self._told: str | None = None

    def start(self) -> None:
        """Begin, when the service has begun; where the system gives no thread there is no page."""
        try:
            self._thread.start()
        except RuntimeError as error:
            self._failed(str(error))

    def stop(self) -> None:
        """Write the last page, which says that the service was stopped; a folder that hangs is not waited for."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE)

    def troubles(self) -> Mapping[str, str]:
        """Return why there is no page, if so."""
        trouble = self._trouble
        return {} if trouble is None else {f"{PAGE_OF}{self._inbox.name}": trouble}

    # In its thread

    def _run(self) -> None:
        if self._path.parent not in self._settings.folders:
            # Where it is one, the inbox clears it.
            with suppress(OSError):
                clear_unfinished(self._path.parent, now=time.time())
        wait = self._timing.page_first
        while not self._stopping.wait(wait):
            self._renew()
            wait = max(self._timing.page_change, self._took * LOOK_SHARE)
        self._renew(stopped_at=time.time())

    def _renew(self, stopped_at: float | None = None) -> None:
        """Write the page if there is something new, or if a sign of life is due."""
        try:
            if self._is_ours():
                overview = self._look(stopped_at)
                if overview.inboxes[0].standby is None:
                    self._write(overview, stopped_at)
        except NotOurPage as error:
            self._failed(str(error))
        except OSError as error:
            # A browser on a share may hold the page for a moment: that is told when it lasts.
            self._failed(
                f"{self._path} cannot be written: {error.strerror or error}",
                at_once=error.errno not in _OPEN_ELSEWHERE,
            )
        except ConfigError as error:
            self._failed(str(error))
        except Exception:  # noqa: BLE001 - no page is worth more than that
            # A fault of this program: the invoices go on, and so does the page.
            self._log.exception("page.failed", file=str(self._path))
            self._trouble = "internal error"
        else:
            self._trouble = self._told = None

    def _is_ours(self) -> bool:
        """Whether the page is this service's to write."""
        owner = last_owner(self._inbox.drop_dir)
        if owner is not None and not owner.owner.is_this_process:
            return False
        # What lies in a missing share's place is none that anybody reads.
        return missing_mount(self._settings.state_dir, self._inbox.name, self._inbox.drop_dir) is None

    def _look(self, stopped_at: float | None) -> Overview:
        """Return how the inbox is doing now."""
        if stopped_at is not None and self._overview is not None and self._took > _LAST_LOOK:
            return self._overview
        started = time.monotonic()
        self._overview = read_overview(self._settings, only=self._inbox.name, last_sent=MOST_ROWS)
        self._took = time.monotonic() - started
        return self._overview

    def _write(self, overview: Overview, stopped_at: float | None) -> None:
        is_only = len(self._settings.inboxes) == 1
        facts = page_facts(self._inbox, overview, is_only=is_only, stopped_at=stopped_at, timing=self._timing)
        shown = document(facts, None)
        now = time.monotonic()
        if shown == self._shown and now < self._next_sign and stopped_at is None:
            return
        report = overview.daemon.report
        # Not when this thread wrote: the sign of life is that of the loop which sends.
        page = document(facts, overview.now if report is None else report.beat)
        mode = int(self._inbox.file_mode, 8) if self._inbox.file_mode else None
        write_page(self._path, page.encode("utf-8", "backslashreplace"), mode=mode)
        self._shown = shown
        self._next_sign = now + self._timing.page_alive

    def _failed(self, words: str, *, at_once: bool = True) -> None:
        """Tell once why there is no page; what may pass by itself, when it is met again."""
        again = self._trouble == words
        self._trouble = words
        if (at_once or again) and self._told != words:
            self._told = words
            self._log.warning("page.failed", detail=words)


def status_pages(settings: Settings, *, timing: Timing = DEFAULT_TIMING) -> list[StatusPage]:
    """Return the pages of all inboxes that want one."""
    return [
        StatusPage(settings, inbox, inbox.page, timing=timing) for inbox in settings.inboxes if inbox.page is not None
    ]
