"""Whether the service is at work, on one line: what `health` prints and /health answers."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from invoicedrop.printable import printable
from invoicedrop.reporting.daemon import read_daemon
from invoicedrop.reporting.overview import DaemonState
from invoicedrop.reporting.troubles import Trouble, TroubleKind, is_at_work, service_troubles

_LONGEST: Final = 2000
"""Characters of the line; monitors cut it at 4 to 8 KB."""


def read_health(places: Sequence[Path], now: float) -> tuple[str, bool]:
    """Return how the service is, and whether it is at work, by the first of these files that is there.

    `now` is the time of the wall clock.
    """
    states = [read_daemon(path, now) for path in places]
    there = (state for state in states if state.report is not None or state.running is False)
    return _judged(next(there, states[0]), now, places[0])


def _judged(daemon: DaemonState, now: float, path: Path) -> tuple[str, bool]:
    found = list(service_troubles(daemon, now))
    if daemon.report is None and not found:
        found = [Trouble(TroubleKind.STOPPED, None, None, f"no service has written {path} yet")]
    if any(trouble.kind is TroubleKind.HANGS for trouble in found) and _is_full(path):
        found.append(Trouble(TroubleKind.DISK, None, None, f"the disk of {path} is full: nothing new can be written"))
    said = _joined(trouble.sentence for trouble in found)
    if is_at_work(found):
        return (f"healthy, but {said}" if found else "healthy"), True
    return said, False


def _joined(sentences: Iterable[str]) -> str:
    said = printable("; ".join(sentences))
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]} ..."


def _is_full(path: Path) -> bool:
    try:
        return os.statvfs(path.parent).f_bavail == 0
    except OSError:
        return False
