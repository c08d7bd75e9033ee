"""`invoicedrop metrics`: the service in numbers, for node_exporter's textfile collector and for a look.

What is written is whole at every moment: node_exporter may read it at any one
(https://github.com/prometheus/node_exporter#textfile-collector).
"""

import os
import sys
from pathlib import Path

import typer
from prometheus_client import CollectorRegistry, generate_latest

from invoicedrop import exit_codes
from invoicedrop.printable import printable
from invoicedrop.reporting.metrics import Metrics
from invoicedrop.reporting.watch import Picture, read_picture
from invoicedrop.settings.settings import Settings
from invoicedrop.system import disk

_MODE = 0o644


def metrics(settings: Settings, file: Path | None) -> int:
    """Print the metrics, or write them to a file that takes the place of what is there; return the exit code.

    Raises:
        ConfigError: the ledger was written by a newer program.

    """
    picture: Picture = read_picture(settings)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Metrics(lambda: picture, [inbox.name for inbox in settings.inboxes]))
    content = generate_latest(registry)
    if file is None:
        sys.stdout.write(content.decode())
        return exit_codes.OK
    try:
        _replace(file, content)
    except OSError as error:
        typer.echo(printable(f"{file} cannot be written: {error.strerror or error}"), err=True)
        return exit_codes.FAILED
    return exit_codes.OK


def _replace(file: Path, content: bytes) -> None:
    folder = file.absolute().parent
    temporary = disk.write_new(folder, content)
    try:
        descriptor = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, _MODE)
        finally:
            os.close(descriptor)
        disk.replace(temporary, file)
    except BaseException:
        disk.remove(temporary)
        raise
