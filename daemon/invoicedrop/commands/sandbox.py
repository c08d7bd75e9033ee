"""`invoicedrop sandbox`: the stand-in API in the foreground; prints the settings to use with it."""

import json
from pathlib import Path

import typer

from invoicedrop.errors import ConfigError
from invoicedrop.sandbox import Fault, Options, run


def serve_sandbox(
    *,
    port: int,
    token: str,
    orders: int,
    company_id: int,
    projects: tuple[int, ...],
    rate: float,
    burst: int,
    latency: float,
    faults: list[str],
    folder: Path | None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        ConfigError: an option is invalid, or the port is taken.

    """
    try:
        script = [Fault.from_json(json.loads(fault)) for fault in faults]
        options = Options(
            port=port,
            company_id=company_id,
            projects=projects,
            tokens=(token,),
            orders=orders,
            rate=rate,
            burst=burst,
            latency=latency,
            folder=folder,
        )
    except (ValueError, TypeError) as error:
        raise ConfigError([str(error)]) from error

    def print_settings(url: str) -> None:
        typer.echo(f"The sandbox API listens on {url} (open it in a browser to see what arrives); Ctrl-C stops it.")
        typer.echo(f"Orders 1 to {orders} exist. In another terminal, with a drop folder of your choice:\n")
        for line in (
            "mkdir -p /tmp/drop",
            f"export INVOICEDROP_API_URL={url} INVOICEDROP_API_TOKEN={token}",
            f"export INVOICEDROP_COMPANY_ID={company_id} INVOICEDROP_PROJECT_ID={projects[0]}",
            "export INVOICEDROP_DROP_DIR=/tmp/drop INVOICEDROP_STATE_DIR=/tmp/drop-state",
            "invoicedrop run",
        ):
            typer.echo(f"  {line}")

    try:
        run(options, print_settings, faults=script)
    except OSError as error:
        raise ConfigError([f"the sandbox cannot listen on port {port}: {error.strerror or error}"]) from error
