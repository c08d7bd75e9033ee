"""What is left alone in a drop folder and yet looks as if somebody waited for it: perhaps meant as an invoice."""

import os
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Final

from invoicedrop.inbox.filed_names import REASON_SUFFIX
from invoicedrop.inbox.listing import TEMPORARY_FILE, FolderEntry
from invoicedrop.inbox.names import begins_with_order, split_ending
from invoicedrop.invoice import OrderIdKind
from invoicedrop.languages.catalogue import phrase
from invoicedrop.system import disk

_MAX_LOOKS: Final = 200
"""Files and folders that are looked into: among thousands of foreign ones, the names have to do."""
_MAX_IN_FOLDER: Final = 100
"""Entries of a folder that are looked at."""
_STILL_COPIED: Final = 3600.0
"""Seconds for which a temporary name is nothing to wonder about."""
_HEAD: Final = 1024
"""Bytes at the beginning of a PDF in which its header must stand (ISO 32000-1, Annex H, note 13)."""
_OF_THE_SYSTEM: Final = frozenset({"thumbs.db", "desktop.ini"})


class LeftAlone:
    """Judges what one listing of a drop folder leaves alone. `now` is in seconds since the epoch.

    `own_paths` are the inboxes' folders and status pages, which may lie in the drop folder.
    """

    def __init__(
        self,
        folder: Path,
        kind: OrderIdKind,
        *,
        own_paths: Collection[Path],
        now: float,
        max_looks: int = _MAX_LOOKS,
    ) -> None:
        self._folder = folder
        self._kind: OrderIdKind = kind
        self._own_paths = own_paths
        self._now = now
        self._looks = max_looks

    def why_awaited(self, entry: FolderEntry) -> str | None:
        """Return why an entry may be meant as an invoice, and what keeps it from being one; None if it is not."""
        name = entry.name
        if entry.left_alone is None or name.startswith(disk.TEMPORARY) or name.endswith(REASON_SUFFIX):
            return None
        if self._folder / name in self._own_paths:
            return None
        if entry.status is None:
            return phrase("named by an order, but it cannot be looked at") if self._is_orders(name) else None
        if stat.S_ISDIR(entry.status.st_mode):
            return self._folder_awaited(name)
        if not stat.S_ISREG(entry.status.st_mode):
            return (
                phrase("{what}, named like an invoice: only files are taken", what=entry.left_alone)
                if self._is_meant(name)
                else None
            )
        return self._file_awaited(entry, entry.status.st_mtime)

    def _is_meant(self, name: str) -> bool:
        """Whether a name is an invoice's, or is an order's without or with another ending."""
        return bool(split_ending(name)[1]) or self._is_orders(name)

    def _is_orders(self, name: str) -> bool:
        stem = os.path.splitext(name)[0]  # noqa: PTH122 - a name, no path
        return begins_with_order(name, self._kind) or begins_with_order(split_ending(stem)[0], self._kind)

    def _folder_awaited(self, name: str) -> str | None:
        if self._is_meant(name):
            return phrase("{what}, named like an invoice: only files are taken", what=phrase("a folder"))
        # Not a recycle bin, or what a file server keeps beside the files (".Trash", "#recycle", "@eaDir").
        if name[0].isalnum() and self._folder_holds_pdf(name):
            return phrase("a folder with PDFs in it: only files directly in the drop folder are taken")
        return None

    def _file_awaited(self, entry: FolderEntry, modified: float) -> str | None:
        name = entry.name
        if entry.left_alone == TEMPORARY_FILE or name.startswith("."):
            return self._unfinished(entry) if self._now - modified >= _STILL_COPIED else None
        if self._is_meant(name):
            return phrase("named by an order, but without the ending .pdf")
        return phrase("a PDF inside, but without the ending .pdf") if self._holds_pdf(name) else None

    def _unfinished(self, entry: FolderEntry) -> str | None:
        """Judge an old temporary or hidden name: a copy that was broken off, perhaps."""
        name = entry.name.casefold()
        if name in _OF_THE_SYSTEM:
            return None
        if entry.left_alone == TEMPORARY_FILE and not name.startswith("~$"):
            return phrase("a temporary name for more than an hour: its copying may have been broken off")
        # Most hidden files are not copied invoices, but notes of a program about others.
        return (
            phrase("a {what}, named like an invoice", what=entry.left_alone)
            if self._is_orders(name.lstrip(".~$"))
            else None
        )

    def _folder_holds_pdf(self, name: str) -> bool:
        if not self._may_look():
            return False
        try:
            with os.scandir(self._folder / name) as entries:
                return any(
                    split_ending(entry.name)[1] for entry, _ in zip(entries, range(_MAX_IN_FOLDER), strict=False)
                )
        except OSError:
            return False

    def _holds_pdf(self, name: str) -> bool:
        if not self._may_look():
            return False
        try:
            descriptor = disk.open_regular(self._folder / name)
            if descriptor is None:
                return False
            try:
                return b"%PDF-" in os.pread(descriptor, _HEAD, 0)
            finally:
                os.close(descriptor)
        except OSError:
            return False

    def _may_look(self) -> bool:
        self._looks -= 1
        return self._looks >= 0
