"""The folders of an inbox, each held open while something is done in it, and only if it is where it was.

Whoever may write into the drop folder can put a link in the place of a folder inside it. So where each folder really
lies is remembered when it is first seen, for as long as the service runs; a link that an administrator has set is there
from the start. A new disk in the same place (a share that is mounted anew) is told once, and then accepted.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from invoicedrop.errors import FolderUnavailable
from invoicedrop.system.held_folder import (
    Place,
    held,
    is_strangers_link,
    link_below_in_words,
    place_of,
    real_path_of,
    strangers_link_in_words,
)
from invoicedrop.system.presence import is_there


class HeldFolders:
    """Opens folders, and remembers where each lies and which owner our own files have there. Thread-safe."""

    def __init__(self) -> None:
        self._places: dict[Path, Place] = {}
        self._owners: dict[str, int] = {}

    @contextmanager
    def held(self, folder: Path) -> Iterator[Path]:
        """Hold a folder while the block runs; yield the path that leads to it meanwhile.

        Raises:
            FolderUnavailable: it is another one than `held_anew` saw.
            OSError: it cannot be opened.

        """
        with held(folder) as path:
            place = place_of(path)
            if place != self._places.setdefault(folder, place):
                raise FolderUnavailable(f"{folder} has become another folder: it is looked at anew")
            yield path

    @contextmanager
    def held_anew(self, folder: Path) -> Iterator[Path]:
        """Hold a folder as `held` does, also if it is on another disk or mount by now.

        Raises:
            FolderUnavailable: it leads elsewhere than before, or where a stranger has it lead.
            OSError: it cannot be opened.

        """
        with held(folder) as path:
            place = place_of(path)
            before = self._places.get(folder)
            if before is None and is_strangers_link(folder):
                raise FolderUnavailable(strangers_link_in_words(folder).sentence)
            if before is not None and before.path != place.path:
                raise FolderUnavailable(
                    f"{folder} leads to {place.path} now, and led to {before.path} when the service started: put it "
                    "back, or start the service again if this is meant"
                )
            self._places[folder] = place
            yield path

    @contextmanager
    def below(self, path: Path, names: Sequence[str], *, make: Callable[[Path], None] | None = None) -> Iterator[Path]:
        """Hold a folder below the one held as `path`; `make` makes those that are missing on the way.

        Raises:
            FolderUnavailable: there is a link on the way.
            OSError: it cannot be opened, or made.

        """
        with ExitStack() as stack:
            top, owner = path, self.owner_in(path)
            for name in names:
                folder = path / name
                if is_there(folder) and folder.is_symlink():
                    link = Path(real_path_of(path), name)
                    raise FolderUnavailable(link_below_in_words(link, Path(real_path_of(top))).sentence)
                if make is not None:
                    make(folder)
                path = stack.enter_context(held(folder, follow=False))
                self.note_owner(path, owner)
            yield path

    def leads_elsewhere(self, folder: Path) -> bool:
        """Whether the path of a folder, which need not be there, leads elsewhere than before."""
        before = self._places.get(folder)
        return before is not None and os.path.realpath(folder) != before.path

    def note_owner(self, path: Path, uid: int) -> None:
        """Remember the owner of a file of ours in the folder held as `path`: a share may give its files another one."""
        self._owners[real_path_of(path)] = uid

    def owner_in(self, path: Path) -> int:
        """Return the uid that our own files have in the folder held as `path`."""
        return self._owners.get(real_path_of(path), os.geteuid())
