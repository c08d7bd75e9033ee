"""`invoicedrop sandbox`: the stand-in API in the foreground; prints the settings to use with it."""

import json
from pathlib import Path

import typer

from invoicedrop.errors import ConfigError
from invoicedrop.sandbox import SAMPLES, EventRule, Fault, Options, run


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
    events: list[str],
    visible_after: float,
    list_lag: float,
    samples: bool,
    folder: Path | None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        ConfigError: an option is invalid, or the port is taken.

    """
    try:
        script = [Fault.from_json(json.loads(fault)) for fault in faults]
        event_rules = [EventRule.from_json(json.loads(event)) for event in events]
        options = Options(
            port=port,
            company_id=company_id,
            projects=projects,
            tokens=(token,),
            orders=orders,
            rate=rate,
            burst=burst,
            latency=latency,
            visible_after=visible_after,
            list_lag=list_lag,
            samples=samples,
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
        typer.echo("\nInvoices to drop (also 5_e-invoice.pdf and 5_credit-note.pdf; so for every order):\n")
        typer.echo(f"  curl -o /tmp/drop/5.pdf {url}/sandbox/samples/5.pdf")
        if samples:
            typer.echo("\nOrders of other kinds:\n")
            for order_id, sample in SAMPLES.items():
                typer.echo(f"  {order_id}  {sample.words}")

    try:
        run(options, print_settings, faults=script, events=event_rules)
    except OSError as error:
        raise ConfigError([f"the sandbox cannot listen on port {port}: {error.strerror or error}"]) from error
