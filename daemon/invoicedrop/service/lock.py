"""One instance for each state folder: the lock that proves that a daemon runs on it.

A state folder is held by what is open, not by its name: it may be moved away, or replaced, under the service.
"""

import fcntl
import json
import os
import shlex
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from invoicedrop.errors import ConfigError, InstanceRunning
from invoicedrop.system import permissions

_FILE_NAME: Final = "instance.lock"
"""In the state folder."""


class StateFolder:
    """The state folder that this process holds."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._open = {path / _FILE_NAME: os.fstat(lock)}

    def keep(self, path: Path) -> None:
        """Remember a file of it that was just opened."""
        self._open[path] = path.stat()

    def trouble(self) -> str | None:
        """Return what is wrong if what has its name now is not what is open; None if it is, or cannot be seen."""
        try:
            if all(os.path.samestat(path.stat(), status) for path, status in self._open.items()):
                return None
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError:
            return None
        return (
            f"the state folder {self.path} was moved away or replaced: put it back, or stop the service and start it "
            "with the state_dir that it has now"
        )


@contextmanager
def only_instance(state_dir: Path) -> Iterator[StateFolder]:
    """Hold the state folder alone; the kernel releases it however this process ends.

    Raises:
        InstanceRunning: another process holds it; the sentence names that process.
        ConfigError: the folder cannot be used.

    """
    path = state_dir / _FILE_NAME
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            [f"state_dir: {state_dir} cannot be used: {_refusal(state_dir, path, error).sentence}"]
        ) from error
    with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InstanceRunning(f"{state_dir} is in use by another invoicedrop ({_holder(file.read())})") from error
        started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        ours = {"pid": os.getpid(), "host": socket.gethostname(), "started": started}
        # Only a courtesy to the next one: on a full disk the lock holds without it.
        with suppress(OSError):
            file.truncate(0)
            os.pwrite(descriptor, json.dumps(ours).encode(), 0)
        yield StateFolder(state_dir, descriptor)


def is_held(state_dir: Path) -> bool | None:
    """Whether a daemon holds the state folder; None if this user may not know. Nothing is changed by asking."""
    try:
        descriptor = os.open(state_dir / _FILE_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None
    try:
        # A shared lock is refused while the daemon holds its own; if we get it, we release it at once, since a daemon
        # that starts in between would take us for another one.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False


def _refusal(state_dir: Path, lock: Path, error: OSError) -> permissions.Refusal:
    """Return what is wrong: with the folder, or with what another user has left in it."""
    try:
        stat = lock.lstat()
    except OSError:
        return permissions.explained(state_dir, error)
    if not isinstance(error, PermissionError) or stat.st_uid == os.geteuid():
        return permissions.explained(state_dir, error)
    name = permissions.user_name(os.geteuid())
    return permissions.Refusal(
        f"{lock} belongs to {permissions.owned(stat)}; we run as {permissions.ourselves()}",
        f"chown -R {name} {shlex.quote(str(state_dir))}, or run it as {permissions.user_name(stat.st_uid)}",
    )


def _holder(content: str) -> str:
    try:
        holder = json.loads(content)
        return f"process {holder['pid']} on {holder['host']}, since {holder['started']}"
    except (ValueError, KeyError, TypeError):
        return "which is just starting"
