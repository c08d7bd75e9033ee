"""Which file systems the folders of an inbox were on: a mount that is missing leaves an empty folder in its place.

What was seen while a folder could be used is kept in `folders.json` in the state folder. A folder that was on a mount
(a share, a disk) which is not mounted any more, and now lies on what is beneath, is not used.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from invoicedrop.errors import FolderUnavailable
from invoicedrop.printable import storable
from invoicedrop.system import small_file
from invoicedrop.system.file_systems import UNKNOWN, FileSystem, Nature, file_system_of, is_mount_point
from invoicedrop.system.held_folder import Place, held, place_of

_FILE_NAME: Final = "folders.json"
_MODE: Final = 0o600


class KnownFolders:
    """The folders of one inbox, and where each lay when it was last judged."""

    def __init__(self, state_dir: Path, inbox: str, folders: tuple[Path, ...]) -> None:
        self._state_dir = state_dir
        self._inbox = inbox
        self._folders = folders
        self._places: tuple[Place | None, ...] = ()

    def have_moved(self) -> bool:
        """Return whether a folder lies on another device or mount than at the last call.

        Raises:
            FolderUnavailable: one has, with what to do, whether that is meant or not.

        """
        places = tuple(_place(folder) for folder in self._folders)
        if places == self._places:
            return False
        self._places = ()
        self.require_mounted()
        self._places = places
        return True

    def require_mounted(self) -> None:
        """Check that no folder has lost its mount. Thread-safe.

        Raises:
            FolderUnavailable: one has, with what to do, whether that is meant or not.

        """
        for folder in self._folders:
            missing = missing_mount(self._state_dir, self._inbox, folder)
            if missing is not None:
                raise FolderUnavailable(missing)

    def remember(self) -> None:
        """Keep on what the folders, which can all be used now, are mounted; no harm is done where that fails.

        Raises:
            FolderUnavailable: one has lost its mount in this moment: what is beneath is not remembered.

        """
        seen = {
            storable(folder): {"kind": found.kind, "mount_point": storable(found.mount_point)}
            for folder in self._folders
            for found in [file_system_of(folder)]
            if found.kind != UNKNOWN
        }
        self.require_mounted()
        self._places = tuple(_place(folder) for folder in self._folders)
        with suppress(OSError):
            known = _read(self._state_dir)
            if known.get(self._inbox) == seen:
                return
            content = json.dumps({**known, self._inbox: seen}, indent=1).encode()
            small_file.write(self._state_dir / _FILE_NAME, content, mode=_MODE)


def missing_mount(state_dir: Path, inbox: str, folder: Path) -> str | None:
    """Return what is wrong, and what to do, where the mount that `folder` was on is missing; None if it is not."""
    try:
        known = _read(state_dir).get(inbox, {})
    except OSError:
        # Whoever cannot read it (another user) knows of no mount.
        return None
    before = known.get(storable(folder)) if isinstance(known, dict) else None
    if not isinstance(before, dict):
        return None
    kind, mount_point = str(before.get("kind")), Path(str(before.get("mount_point", "/")))
    now = file_system_of(folder)
    if now.kind == UNKNOWN or is_mount_point(mount_point) or not _is_beneath(now, mount_point):
        return None
    return (
        f"{folder} was on {mount_point} ({kind}), which is not mounted now; in its place is a folder of "
        f"{now.mount_point} ({now}): is its share mounted? If the folder was moved on purpose, remove "
        f"{state_dir / _FILE_NAME}"
    )


def _is_beneath(now: FileSystem, mount_point: Path) -> bool:
    """Whether this is what a missing mount leaves visible; another share in its place is a move."""
    return now.nature is not Nature.NETWORK and mount_point.is_relative_to(now.mount_point)


def _place(folder: Path) -> Place | None:
    try:
        with held(folder) as path:
            return place_of(path)
    except OSError:
        # What is wrong there is found by whoever uses it.
        return None


def _read(state_dir: Path) -> Mapping[str, Any]:
    """Return what is remembered; nothing where there is no such file, or no sense in it.

    Raises:
        OSError: it cannot be read now.

    """
    try:
        known = json.loads((state_dir / _FILE_NAME).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
