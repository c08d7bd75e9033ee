"""`invoicedrop health`: is the service at work? For Docker's HEALTHCHECK and other monitors."""

import time
from collections.abc import Iterator
from pathlib import Path

import typer

from invoicedrop import exit_codes
from invoicedrop.printable import printable
from invoicedrop.service import status_file


def health(state_dir: Path) -> int:
    """Print "healthy" and return 0 if the heartbeat is fresh and every inbox can be used; else print why not, and 1."""
    problems = list(_problems(state_dir))
    for problem in problems:
        typer.echo(printable(problem))
    if problems:
        return exit_codes.FAILED
    typer.echo("healthy")
    return exit_codes.OK


def _problems(state_dir: Path) -> Iterator[str]:
    try:
        report = status_file.read(state_dir)
    except OSError as error:
        yield status_file.unreadable_in_words(state_dir, error)
        return
    if report is None:
        yield f"no service has written {status_file.path_in(state_dir)} yet"
        return
    now = time.time()
    if report.pid is None:
        yield "the service has stopped"
    elif not report.is_fresh(now):
        age = report.age(now)
        how_old = f"{age:.0f} s old" if age >= 0 else f"{-age:.0f} s in the future: the clock was set back"
        yield f"the service's last sign of life is {how_old}: it hangs, or has been killed"
    for name, inbox in report.inboxes.items():
        if inbox.unavailable is not None:
            yield f"inbox {name} is unavailable: {inbox.unavailable}"
