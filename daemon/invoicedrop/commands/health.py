"""`invoicedrop health`: is the service at work? For Docker's HEALTHCHECK and other monitors.

It needs no settings but where the status file is, no token, and no other right than to read that file. What it says
stands on one line, whatever is in the file.
"""

import time
from pathlib import Path

import typer

from invoicedrop import exit_codes
from invoicedrop.printable import printable
from invoicedrop.reporting.health import read_health
from invoicedrop.settings.status_place import status_files


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
    line, is_at_work = read_health(places, time.time())
    typer.echo(line)
    return exit_codes.OK if is_at_work else exit_codes.FAILED
