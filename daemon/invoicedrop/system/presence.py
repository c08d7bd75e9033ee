"""Whether something is there. Gone means ENOENT (or ENOTDIR: its folder is none any more), and nothing else.

`os.path.lexists` is False on any error, and so are `Path.exists` and its kin from Python 3.14 on: a file that answers
EIO would be taken for gone, and what belongs to it removed.
"""

import stat
from pathlib import Path


def is_there(path: Path) -> bool:
    """Whether there is something at `path`, a dangling link included.

    Raises:
        OSError: it cannot be looked at, so nobody knows.

    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def is_folder(path: Path) -> bool:
    """Whether there is a folder at `path`, or at the end of a link.

    Raises:
        OSError: it cannot be looked at, so nobody knows.

    """
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_gone(path: Path) -> bool:
    """Whether there is nothing at `path` for certain; what cannot be looked at may be there."""
    try:
        return not is_there(path)
    except OSError:
        return False
