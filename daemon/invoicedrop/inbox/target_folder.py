"""A folder that finished invoices are moved to: one for all time, or one for each year or month.

The fixed part of its path is looked after as the drop folder is (`held_folders`). What is below it is ours: it is made
when something is put into it, and lost months are made again.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from invoicedrop.inbox.held_folders import HeldFolders
from invoicedrop.system import disk
from invoicedrop.system.dated_folder import DatedFolder
from invoicedrop.system.presence import is_folder

_LEFT_LATELY: Final = 32 * 86_400.0
"""Seconds; what a crash left longer ago in a month's folder is in nobody's way."""
_Names = tuple[str, ...]


class TargetFolder:
    """A folder of an inbox. `dir_mode` are the rights of what is made; `clock` returns seconds since the epoch.

    `make_parents`: whether parents of the fixed part are made as well; None: the folder itself is not made either.
    """

    def __init__(
        self,
        folder: DatedFolder,
        folders: HeldFolders,
        *,
        make_parents: bool | None,
        dir_mode: int | None,
        clock: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._folders = folders
        self._make_parents = make_parents
        self._dir_mode = dir_mode
        self._clock = clock

    @property
    def now(self) -> Path:
        """The folder that something is put into now."""
        return self._folder.at(self._clock())

    def since(self, moment: float | None) -> list[Path]:
        """Return the folders that something was put into since then, that of now first; some may not be there."""
        now = self._clock()
        names = self._folder.names_between(now if moment is None else moment, now) if self._folder.is_dated else []
        return list(dict.fromkeys((self.now, *map(self._shown, names))))

    def lately(self) -> list[Path]:
        """Return the folders in which a crash may have left something that is in the way."""
        return self.since(self._clock() - _LEFT_LATELY)

    @contextmanager
    def held(self, path: Path) -> Iterator[Path | None]:
        """Hold one of these folders while the block runs, and yield the path that leads to it.

        Of a year or a month into which nothing was put it yields None.

        Raises:
            FolderUnavailable: it is another folder than before, or a link.
            OSError: it cannot be opened.

        """
        names = self._names(path)
        with ExitStack() as stack:
            fixed = stack.enter_context(self._folders.held(self._folder.fixed))
            inner: Path | None
            try:
                inner = stack.enter_context(self._folders.below(fixed, names))
            except FileNotFoundError:
                inner = None
            yield inner

    @contextmanager
    def made(self, path: Path) -> Iterator[Path]:
        """Hold one of these folders while the block runs; what is missing of a year or a month is made.

        Raises:
            FolderUnavailable: it is another folder than before, or a link.
            OSError: it cannot be made, or opened.

        """
        with (
            self._folders.held(self._folder.fixed) as fixed,
            self._folders.below(fixed, self._names(path), make=self._make) as inner,
        ):
            yield inner

    def prepare(self) -> None:
        """Make the folder, also if it is on another disk or mount by now, and write into it.

        Raises:
            FolderUnavailable: it leads elsewhere than before, or where a stranger has it lead.
            OSError: it cannot be made, or written.

        """
        fixed, now = self._folder.fixed, self.now
        # Never where somebody's link leads: that is told below.
        if self._make_parents is not None and not self._folders.leads_elsewhere(fixed):
            disk.make_folder(fixed, parents=self._make_parents, mode=self._dir_mode)
        with (
            self._folders.held_anew(fixed) as outer,
            self._folders.below(outer, self._names(now), make=self._make) as inner,
        ):
            trial = disk.write_new(inner, b"may be removed")
            for path in (outer, inner):
                self._folders.note_owner(path, trial.stat().st_uid)
            disk.remove(trial)

    def _make(self, folder: Path) -> None:
        """Make the folder of a year or a month, which outlives a power loss as what is put into it does."""
        if not is_folder(folder):
            disk.make_folder(folder, parents=False, mode=self._dir_mode)
            disk.sync_folder(folder.parent)

    def _shown(self, names: _Names) -> Path:
        return self._folder.fixed.joinpath(*names)

    def _names(self, path: Path) -> _Names:
        return path.relative_to(self._folder.fixed).parts
