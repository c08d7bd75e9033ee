"""Whether a daemon holds the state folder, and what it last said about itself. For other programs than the daemon.

The lock is the proof that it runs; its report (`service.json`, see `heartbeat`) tells how it does.
"""

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import BaseModel, ValidationError

from invoicedrop.settings.models import Settings

_LOCK: Final = "instance.lock"
_BEATS: Final = 3
_GRACE: Final = 10.0
"""A report is believed for so many of its own intervals, and so many seconds more, as `health` does."""


class InboxReport(BaseModel):
    """What the daemon says of one inbox; times in seconds since the epoch.

    `put_off` is, of the files put off, until when and why: the first few by name.
    """

    waiting: int = 0
    mode: str = "scans"
    unavailable: str | None = None
    paused: str | None = None
    next_probe: float | None = None
    put_off: dict[str, tuple[float, str]] = {}


class Report(BaseModel):
    """What the daemon last said of itself; `beat` is when, in seconds since the epoch, `interval` how often."""

    pid: int | None = None
    version: str = ""
    beat: float = 0.0
    interval: float = 5.0
    inboxes: dict[str, InboxReport] = {}


class Liveness(NamedTuple):
    """`running` is None where this user may not know. `report` is None if the daemon does not run or says nothing.

    `fresh` says whether the report is young enough to be believed.
    """

    running: bool | None
    report: Report | None
    fresh: bool


def liveness(settings: Settings) -> Liveness:
    """Say whether a daemon runs on these settings' state folder; nothing is changed by that."""
    running = _is_held(settings.state_dir / _LOCK)
    report = _read_report(settings.state_dir / FILE) if running is not False else None
    fresh = report is not None and time.time() - report.beat <= report.interval * _BEATS + _GRACE
    return Liveness(running, report, fresh)


def _is_held(lock: Path) -> bool | None:
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None
    try:
        # A shared lock is refused while the daemon holds its own; if we get it, we give it back in the same breath,
        # as a daemon that starts in between would take us for another one.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False


def _read_report(path: Path) -> Report | None:
    try:
        report = Report.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError, ValidationError):
        return None
    # Without a process it is the last word of one that has ended.
    return report if report.pid is not None else None


FILE: Final = "service.json"
"""In the state folder: what the service last wrote of itself."""
