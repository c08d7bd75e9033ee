"""`invoicedrop health`: is the service at work? For Docker's HEALTHCHECK and other monitors."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import typer

from invoicedrop.service.status_file import FILE

_LATE: Final = 3
"""A beat older than so many intervals is no beat."""
_GRACE: Final = 10.0
"""Seconds more, for a machine that is busy."""


def health(state_dir: Path) -> int:
    """Say whether the work loop's beat is fresh and every inbox can be used; return 0 if so, else 1, saying why."""
    troubles = list(_troubles(state_dir / FILE))
    for trouble in troubles:
        typer.echo(trouble)
    if not troubles:
        typer.echo("healthy")
    return 1 if troubles else 0


def _troubles(path: Path) -> Iterator[str]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        yield f"no service has written {path} yet"
        return
    age = time.time() - report["beat"]
    if report["pid"] is None:
        yield "the service has stopped"
    elif age > report["interval"] * _LATE + _GRACE:
        yield f"the service's last sign of life is {age:.0f} s old: it hangs, or has been killed"
    for name, inbox in report["inboxes"].items():
        if inbox["unavailable"] is not None:
            yield f"inbox {name} is unavailable: {inbox['unavailable']}"
