"""`invoicedrop health`: is the service at work? For Docker's HEALTHCHECK and other monitors.

It needs no settings but where the status file is, no token, and no other right than to read that file. What it says
stands on one line, whatever is in the file.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import typer

from invoicedrop import exit_codes
from invoicedrop.printable import printable
from invoicedrop.reporting.daemon import read_daemon
from invoicedrop.reporting.overview import DaemonState
from invoicedrop.reporting.troubles import Trouble, TroubleKind, is_at_work, service_troubles
from invoicedrop.settings.status_place import status_files

_LONGEST: Final = 2000
"""Characters of the line; monitors cut it at 4 to 8 KB."""


def find_health(config: Path | None) -> int:
    """Print how the service is that these settings are of, and return the exit code: see `health`."""
    try:
        places = list(status_files(config))
    except (FileNotFoundError, NotADirectoryError):
        typer.echo(printable(f"settings file {config}, given by --config: does not exist"), err=True)
        return exit_codes.USAGE
    return health(*places)


def health(*places: Path) -> int:
    """Print how the service is, by the first of these files that is there; return 0 if it is at work, else 1."""
    now = time.time()
    line, code = judged(_first(places, now), now, places[0])
    typer.echo(line)
    return code


def judged(daemon: DaemonState, now: float, path: Path) -> tuple[str, int]:
    """Return, on one line, whether a service is at work, and the exit code that says so."""
    found = list(service_troubles(daemon, now))
    if daemon.report is None and not found:
        found = [Trouble(TroubleKind.STOPPED, None, None, f"no service has written {path} yet")]
    if any(trouble.kind is TroubleKind.HANGS for trouble in found) and _is_full(path):
        found.append(Trouble(TroubleKind.DISK, None, None, f"the disk of {path} is full: nothing new can be written"))
    said = _joined(trouble.sentence for trouble in found)
    if is_at_work(found):
        return (f"healthy, but {said}" if found else "healthy"), exit_codes.OK
    return said, exit_codes.FAILED


def _first(places: Iterable[Path], now: float) -> DaemonState:
    """Return the state that the first file tells which is there; if none is, why the first cannot be read."""
    states = [read_daemon(path, now) for path in places]
    return next((state for state in states if state.report is not None or state.running is False), states[0])


def _joined(sentences: Iterable[str]) -> str:
    said = printable("; ".join(sentences))
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]} ..."


def _is_full(path: Path) -> bool:
    try:
        return os.statvfs(path.parent).f_bavail == 0
    except OSError:
        return False
