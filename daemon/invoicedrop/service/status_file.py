"""The status file, `service.json` in the state folder: what a running service last wrote about itself.

The heartbeat writes it; `status` and `health` read it, and believe it while it is fresh. They may be of another version
than the service, so no field changes its name or its meaning. All times are in seconds since the epoch.
"""

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from invoicedrop.printable import storable
from invoicedrop.system import disk, permissions
from invoicedrop.system.boot import boot_id

_FILE_NAME: Final = "service.json"
_MAX_BYTES: Final = 16 * 1024 * 1024
"""Far more than a service writes, whose deferred files are counted (`InboxReport.put_off`)."""
_MISSED_BEATS: Final = 3
_GRACE: Final = 10.0
"""Seconds that a fresh report may be older than that many intervals, for a machine that is busy."""


def _as_storable(value: Any) -> Any:
    # An error's words may quote a file name in bytes that are no text, which JSON cannot hold.
    return storable(value) if isinstance(value, str) else value


_Text = Annotated[str, BeforeValidator(_as_storable)]


class InboxReport(BaseModel):
    """How one inbox is doing. `put_off` holds, by file, until when it is deferred and why: not more than a hundred.

    `paused` and `unavailable` say in words why the API or the folders cannot be used, their `_cause` why (one of
    `errors.PauseCause`), and their `_since` since when; an older version says the words only. `slow` is how slowly the
    last upload left, if it did.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    waiting: int = 0
    mode: _Text = "scans"
    unavailable: _Text | None = None
    unavailable_cause: _Text | None = None
    unavailable_since: float | None = None
    paused: _Text | None = None
    paused_cause: _Text | None = None
    paused_since: float | None = None
    next_probe: float | None = None
    slow: _Text | None = None
    put_off: dict[_Text, tuple[float, _Text]] = {}


class Report(BaseModel):
    """How the service is doing: `beat` is when it wrote this, `interval` is how often it does.

    `pid` is None once the service has stopped. `monotonic` is the beat by the monotonic clock of the machine's start
    `boot`: an older version does not say it. `reporting` is what is wrong with those that tell others of the service
    (`Companion.troubles`).
    """

    model_config = ConfigDict(allow_inf_nan=False)

    pid: int | None
    version: str = ""
    beat: float
    interval: float
    inboxes: dict[_Text, InboxReport]
    boot: str = ""
    monotonic: float | None = None
    reporting: dict[_Text, _Text] = {}

    def age(self, now: float) -> float:
        """Return how old the report is, in seconds; `now` is the time of the wall clock.

        That clock counts only where the report is of another start of the machine, or of another machine: the age is
        negative where it was set back.
        """
        if self.monotonic is not None and self.boot and self.boot == boot_id():
            return time.monotonic() - self.monotonic
        return now - self.beat

    def is_fresh(self, now: float) -> bool:
        """Whether the report is young enough to be believed: a service that writes no other one hangs or is dead."""
        return abs(self.age(now)) <= self.interval * _MISSED_BEATS + _GRACE


def path_in(state_dir: Path) -> Path:
    """Return the path of the status file."""
    return state_dir / _FILE_NAME


def write(state_dir: Path, report: Report) -> None:
    """Replace the status file. A failure is ignored: no invoice depends on it, and a full disk is the ledger's news."""
    path = path_in(state_dir)
    temporary = path.with_suffix(".tmp")
    with suppress(OSError):
        temporary.write_text(json.dumps(report.model_dump()), encoding="utf-8")
        disk.replace(temporary, path)


def read(state_dir: Path) -> Report | None:
    """Return what the service last wrote; None if there is nothing, or nothing that a service has written.

    Raises:
        OSError: what is there cannot be read (`unreadable_in_words`).

    """
    try:
        # Not blocking: a FIFO in its place would hold us up for ever.
        descriptor = os.open(path_in(state_dir), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            content = os.read(descriptor, _MAX_BYTES)
        finally:
            os.close(descriptor)
        return Report.model_validate_json(content)
    except (FileNotFoundError, ValidationError):
        return None


def unreadable_in_words(state_dir: Path, error: OSError) -> str:
    """Return why the status file cannot be read, and what helps."""
    path = path_in(state_dir)
    if isinstance(error, PermissionError):
        who = permissions.ourselves()
        return f"{path} cannot be read by {who}: {error.strerror}; run this command as the service's user"
    return f"{path} cannot be read: {error.strerror or error}"
