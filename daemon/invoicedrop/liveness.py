"""Whether a daemon holds the state folder, and what it last said about itself. For other programs than the daemon.

The lock is the proof that it runs; its report (`service.json`, written about as often as it scans) tells how it does.
"""

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import BaseModel, ValidationError

from invoicedrop.settings import Settings

_LOCK: Final = "instance.lock"
_REPORT: Final = "service.json"
_BEATS: Final = 20
"""A report is believed for so many scan intervals: a scan of a slow share may make the loop late."""
_AT_LEAST: Final = 60.0
"""Seconds for which it is believed in any case."""


class InboxReport(BaseModel):
    """What the daemon says of one inbox; `next_probe` in seconds since the epoch."""

    waiting: int = 0
    mode: str = "scans"
    unavailable: str | None = None
    paused: str | None = None
    next_probe: float | None = None


class Report(BaseModel):
    """What the daemon last said of itself; `beat` is when, in seconds since the epoch."""

    pid: int | None = None
    version: str = ""
    beat: float = 0.0
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
    report = _read_report(settings.state_dir / _REPORT) if running is not False else None
    longest = max(_AT_LEAST, _BEATS * max(inbox.scan_interval for inbox in settings.inboxes))
    return Liveness(running, report, report is not None and time.time() - report.beat <= longest)


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
