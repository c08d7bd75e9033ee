"""An inbox's folders made ready and kept in order: mounts, what a crash left, reasons without an invoice."""

import time
from collections.abc import Callable
from typing import Final

from invoicedrop.inbox.filing import Filing
from invoicedrop.service.known_folders import KnownFolders

_SWEEP_SLICE: Final = 0.1
"""Seconds of one turn that the removal of reasons may take, and so many more times this is the pause after it:"""
_SWEEP_PAUSE: Final = 10


class FolderUpkeep:
    """The upkeep of one inbox's folders. `recover` completes the entries of what was moved just before a crash.

    `sweep_interval` is the seconds between two looks for reasons whose invoice has left. For one thread.
    """

    def __init__(
        self, known_folders: KnownFolders, filing: Filing, recover: Callable[[], None], *, sweep_interval: float
    ) -> None:
        self._known_folders = known_folders
        self._filing = filing
        self._recover = recover
        self._sweep_interval = sweep_interval
        self._cleaned_up = False
        self._next_sweep = 0.0

    @property
    def next_sweep(self) -> float:
        """Monotonic time of the next look for reasons whose invoice has left the failed folder."""
        return self._next_sweep

    def folders_have_moved(self) -> bool:
        """Return whether a folder lies on another device or mount than at the last call.

        Raises:
            FolderUnavailable: one has lost its mount.

        """
        return self._known_folders.have_moved()

    def begin_anew(self) -> None:
        """Somebody else may have worked on the folders meanwhile, and died."""
        self._cleaned_up = False

    def prepare(self, *, busy: bool) -> None:
        """See that all folders can be used, and finish what a crash left; `busy`: files are under way.

        Raises:
            FolderUnavailable: one of them cannot be used now.
            LedgerUnavailable: what a crash left cannot be completed now.

        """
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
