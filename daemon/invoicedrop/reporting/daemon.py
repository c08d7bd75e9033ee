"""Whether a service runs, and what it last reported."""

from pathlib import Path

from invoicedrop.reporting.overview import DaemonState
from invoicedrop.service import lock, status_file


def read_daemon(path: Path, now: float, *, state_dir: Path | None = None, in_full: bool = True) -> DaemonState:
    """Read the status file; `now` is the time of the wall clock.

    With the `state_dir`, its lock tells whether a service runs, and the report has the details that are for its user
    alone (`in_full`). Without, only a process that is certainly over tells that.
    """
    running = None if state_dir is None else lock.is_held(state_dir)
    try:
        report = None if running is False else status_file.read(path, state_dir if in_full else None)
    except OSError as error:
        trouble = status_file.unreadable_in_words(path, error)
        return DaemonState(running, None, is_fresh=False, trouble=trouble)
    if report is None:
        return DaemonState(running, None, is_fresh=False)
    if report.pid is None or report.is_over:
        # The last report of a service that has stopped, or was killed; another one may be about to report.
        return DaemonState(running or False, None, is_fresh=False)
    return DaemonState(running, report, report.is_fresh(now))
