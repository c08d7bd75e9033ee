"""An inbox's folders made ready and kept in order: mounts, what a crash left, reasons without an invoice."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from invoicedrop.inbox.filing import Filing
from invoicedrop.service.known_folders import KnownFolders
from invoicedrop.settings.models import Inbox

_SWEEP_SLICE: Final = 0.1
"""Seconds of one turn that the removal of reasons may take, and so many more times this is the pause after it:"""
_SWEEP_PAUSE: Final = 10


class FolderUpkeep:
    """The upkeep of one inbox's folders. `recover` completes the entries of what was moved just before a crash.

    `sweep_interval` is the seconds between two looks for reasons whose invoice has left. For one thread.
    """

    def __init__(
        self, inbox: Inbox, state_dir: Path, filing: Filing, recover: Callable[[], None], *, sweep_interval: float
    ) -> None:
        self._filing = filing
        self._recover = recover
        self._sweep_interval = sweep_interval
        self._known_folders = KnownFolders(
            state_dir, inbox.name, (inbox.drop_dir, inbox.processed_dir, inbox.failed_dir)
        )
        self._cleaned_up = False
        self._next_sweep = 0.0

    @property
    def next_sweep(self) -> float:
        """Monotonic time of the next look for reasons whose invoice has left the failed folder."""
        return self._next_sweep

    def require_mounted(self) -> bool:
        """Check that no folder has lost its mount; return whether one lies on another device than at the last check.

        Raises:
            FolderUnavailable: one has.

        """
        return self._known_folders.require_mounted()

    def prepare(self, *, busy: bool) -> None:
        """See that all folders can be used, and finish what a crash left; `busy`: files are under way.

        Raises:
            FolderUnavailable: one of them cannot be used now.
            LedgerUnavailable: what a crash left cannot be completed now.

        """
        self._known_folders.require_mounted()
        self._filing.prepare()
        if not self._cleaned_up and not busy:
            # Never beside upload threads: what they have begun looks like what a crash left.
            self._cleaned_up = self._filing.clean_up()
        self._known_folders.remember()
        self._recover()

    def sweep(self) -> None:
        """Remove the reasons of invoices that have left the failed folder, now and then.

        Raises:
            FolderUnavailable: the failed folder cannot be read now.

        """
        if time.monotonic() >= self._next_sweep:
            some_left = self._filing.sweep_reasons(_SWEEP_SLICE)
            pause = _SWEEP_SLICE * _SWEEP_PAUSE if some_left else self._sweep_interval
            self._next_sweep = time.monotonic() + pause
