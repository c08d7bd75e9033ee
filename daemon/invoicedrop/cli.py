"""The commands, their exit codes, and the one place where an error becomes a sentence.

Results go to stdout, logs to stderr. A command imports what it needs when it runs, so that `--help` is quick.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from invoicedrop import __version__, exit_codes
from invoicedrop.errors import ConfigError, InvoicedropError, LedgerDamaged, NotInstalled, NotSeen
from invoicedrop.printable import printable
from invoicedrop.timing import DEFAULT_TIMING, Timing

if TYPE_CHECKING:
    from rich.console import Console

    from invoicedrop.reporting.watch import Watch
    from invoicedrop.settings.settings import Settings


app = typer.Typer(
    name="invoicedrop",
    help="Uploads invoice PDFs from a shared drop folder to their orders in Channable, exactly once.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # typer's boxes load rich with its Markdown and its lexers: half of the time of --help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        readable=False,  # what is wrong with it is said by what reads it
        help="The settings file (default: $INVOICEDROP_CONFIG, /etc/invoicedrop/invoicedrop.toml, the user's own).",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"invoicedrop {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    config: ConfigOption = None,
    version: Annotated[  # noqa: ARG001 - its callback acts
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    context.obj = config


def _settings(context: typer.Context, config: Path | None, *, token_is_needed: bool = True) -> "Settings":
    """Load the settings, and log as they say."""
    from invoicedrop import logs
    from invoicedrop.settings.load import load

    settings = load(config or context.obj, token_is_needed=token_is_needed)
    logs.configure(settings.log_format, settings.log_level)
    return settings


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """Import what an extra brings; a library that is not installed becomes a sentence.

    Raises:
        NotInstalled: how to install the extra.

    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise NotInstalled(error.name or "what it needs", name) from error


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False)


@app.command()
def run(
    context: typer.Context,
    config: ConfigOption = None,
    once: Annotated[bool, typer.Option("--once", help="Work off what is there and stop.")] = False,
) -> None:
    """Watch the drop folders and upload what comes: the daemon."""
    settings = _settings(context, config)
    from invoicedrop.reporting.page.writer import status_pages
    from invoicedrop.service.service import Service
    from invoicedrop.system.allocator import keep_little

    keep_little()
    companions = status_pages(settings)
    if not once:
        raise typer.Exit(Service(settings, companions=[watch_of(settings), *companions]).run())
    if sys.stderr.isatty():
        from invoicedrop.commands.progress import progress_bar

        with progress_bar() as update:
            service = Service(settings, on_progress=update, companions=companions)
            code = service.run(once=True)
    else:
        service = Service(settings, companions=companions)
        code = service.run(once=True)
    for remark in service.remarks:
        _print_error(f"inbox {remark}")
    raise typer.Exit(code)


def watch_of(settings: "Settings", timing: Timing = DEFAULT_TIMING) -> "Watch":
    """Return what tells others of the service, as the settings ask for.

    Raises:
        ConfigError: what it needs is not installed.

    """
    from invoicedrop.logs import hide
    from invoicedrop.reporting.extras import require
    from invoicedrop.reporting.watch import Watch

    watch = Watch(settings, timing)
    if addresses := _notify_addresses(settings):
        from invoicedrop.reporting.notify.notifier import Notifier

        # Messages are about the whole service: in the language of its first inbox.
        language = settings.inboxes[0].language
        watch.add(Notifier(addresses, settings.state_dir, settings.notify_after, timing, language=language))
    if settings.heartbeat_url is not None:
        from invoicedrop.reporting.pings import Pings

        url = settings.heartbeat_url.get_secret_value()
        hide(url)
        watch.add(Pings(url, settings.inboxes[0].network, timing))
    if settings.metrics_address is not None:
        require("prometheus_client", "metrics", "metrics_address")
        from invoicedrop.reporting.health import read_health
        from invoicedrop.reporting.metrics_server import MetricsServer

        inboxes = [inbox.name for inbox in settings.inboxes]
        health = partial(read_health, [settings.status_file])
        watch.add(MetricsServer(settings.metrics_address, inboxes, watch.picture, health, timing))
    return watch


def _notify_addresses(settings: "Settings") -> list[str]:
    """Return the addresses that messages go to.

    Raises:
        ConfigError: one is none, or Apprise is not installed.

    """
    from invoicedrop.logs import hide
    from invoicedrop.reporting.extras import require
    from invoicedrop.settings.notify_addresses import read_addresses

    addresses = read_addresses(settings.notify, settings.notify_file)
    if addresses:
        require("apprise", "notify", "notify")
    for address in addresses:
        hide(address)
    return addresses


@app.command()
def check(context: typer.Context, config: ConfigOption = None) -> None:
    """Test the set-up: folders, rights, clock, network, token, orders. Names every problem with its fix."""
    settings = _settings(context, config, token_is_needed=False)
    from invoicedrop.commands.check.command import check

    raise typer.Exit(check(settings, _console()))


@app.command()
def status(
    context: typer.Context,
    what: Annotated[
        str | None, typer.Argument(metavar="ORDER or FILE", help="What became of it, in short (else of everything).")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what waits and why, what failed, what Channable accepted."""
    settings = _settings(context, config, token_is_needed=False)
    from invoicedrop.commands.status import one_order
    from invoicedrop.commands.status.command import status

    if what is not None:
        raise typer.Exit(one_order.show(settings, _console(), what, as_json=as_json))
    raise typer.Exit(status(settings, _console(), as_json=as_json))


@app.command(short_help="List recent orders: their ids, their invoices, and what is owed.")
def orders(
    context: typer.Context,
    config: ConfigOption = None,
    search: Annotated[str, typer.Option(help="Only orders in which this text occurs.")] = "",
    days: Annotated[int, typer.Option(min=1, help="How many days to look back.")] = 30,
    without_invoice: Annotated[
        bool, typer.Option("--without-invoice", help="Only orders that are owed one, and since when.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="The other orders too, with why they are owed none.")
    ] = False,
    items: Annotated[bool, typer.Option("--items", help="The order items to name a file by (bol).")] = False,
    overdue: Annotated[
        int | None, typer.Option(min=0, metavar="HOURS", help="Exit 1 if an invoice is owed for longer.")
    ] = None,
    inbox: Annotated[str | None, typer.Option(help="Only the project of this inbox.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List recent orders: their ids (to name files by), their invoices, and which are owed one."""
    settings = _settings(context, config)
    from invoicedrop.commands.orders import orders

    raise typer.Exit(
        orders(
            settings,
            _console(),
            search=search,
            days=days,
            without_invoice=without_invoice,
            as_json=as_json,
            inbox=inbox,
            everything=everything,
            items=items,
            overdue=overdue,
        )
    )


@app.command(short_help="Compare, byte for byte, what Channable has with what was sent.")
def verify(
    context: typer.Context,
    config: ConfigOption = None,
    order: Annotated[int | None, typer.Option(help="Only what was uploaded to this order (its Channable id).")] = None,
    days: Annotated[int, typer.Option(min=1, help="How many days to look back.")] = 30,
    as_json: JsonOption = False,
) -> None:
    """Download from Channable what was uploaded and compare it, byte for byte, with what was sent."""
    settings = _settings(context, config)
    from invoicedrop.commands.verify import verify

    raise typer.Exit(verify(settings, _console(), order=order, days=days, as_json=as_json))


@app.command()
def health(context: typer.Context, config: ConfigOption = None) -> None:
    """Check whether the service is at work: exit 0 if so, else 1 and why. For monitors."""
    from invoicedrop.commands.health import find_health

    raise typer.Exit(find_health(config or context.obj))


@app.command()
def notify(
    context: typer.Context,
    config: ConfigOption = None,
    test: Annotated[bool, typer.Option("--test", help="Send a test message.")] = False,
) -> None:
    """Send a test message to each address of `notify`, and say what came of it."""
    settings = _settings(context, config)
    addresses = _notify_addresses(settings)
    if not test or not addresses:
        _print_error("say --test to send a message" if addresses else "no address is set: see notify and notify_file")
        raise typer.Exit(exit_codes.USAGE)
    from invoicedrop.commands.notify import send_test

    raise typer.Exit(send_test(addresses, settings.inboxes[0].language))


@app.command()
def metrics(
    context: typer.Context,
    config: ConfigOption = None,
    textfile: Annotated[
        Path | None, typer.Option(help="Write them to this file (*.prom), for node_exporter.", metavar="FILE")
    ] = None,
) -> None:
    """Print the service in numbers, in Prometheus's format."""
    settings = _settings(context, config)
    from invoicedrop.reporting.extras import require

    require("prometheus_client", "metrics", "metrics")
    from invoicedrop.commands.metrics import metrics

    raise typer.Exit(metrics(settings, textfile))


@app.command(short_help="Show every step of an invoice, or the receipts since a day.")
def history(
    context: typer.Context,
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="ORDER or FILE",
            help="An order's id or marketplace number, a file, or the first digits of a SHA-256.",
        ),
    ] = None,
    config: ConfigOption = None,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="The receipts since this day, like 2026-11-01, one each.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the receipts as CSV.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show every step of an invoice, from the drop folder to what its order shows later; or receipts since a day."""
    settings = _settings(context, config)
    from invoicedrop.commands.history import history

    code = history(settings, _console(), what=what, since=since, as_csv=as_csv, as_json=as_json)
    raise typer.Exit(code)


@app.command(short_help="Stop an inbox, or all: nothing new is sent until resume.")
def pause(
    context: typer.Context,
    config: ConfigOption = None,
    inbox: Annotated[str | None, typer.Option(help="Only this inbox.")] = None,
    reason: Annotated[str, typer.Option(help="Why, for whoever asks.")] = "",
) -> None:
    """Stop an inbox, or all: uploads under way end, nothing new is sent or moved until `invoicedrop resume`."""
    settings = _settings(context, config)
    from invoicedrop.commands.pause import pause

    raise typer.Exit(pause(settings, _console(), inbox=inbox, reason=reason))


@app.command(short_help="Let an inbox, or all, go on that was paused, or held.")
def resume(
    context: typer.Context,
    config: ConfigOption = None,
    inbox: Annotated[str | None, typer.Option(help="Only this inbox.")] = None,
) -> None:
    """Let an inbox, or all, go on: what a person has paused, and what a first start holds."""
    settings = _settings(context, config)
    from invoicedrop.commands.pause import resume

    raise typer.Exit(resume(settings, _console(), inbox=inbox))


@app.command(short_help="Copy the ledger into FILE, while the service runs.")
def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy; an older one is replaced in one step.")],
    config: ConfigOption = None,
) -> None:
    """Copy the ledger, the memory of what was sent, into FILE, while the service runs; the copy is checked."""
    settings = _settings(context, config)
    from invoicedrop.commands.backup import backup

    raise typer.Exit(backup(settings, file))


@app.command("config", short_help="Print the settings in force; secrets masked.")
def show_config(
    context: typer.Context,
    config: ConfigOption = None,
    example: Annotated[bool, typer.Option("--example", help="Print the commented example file.")] = False,
) -> None:
    """Print the settings in force and where each one comes from; secrets masked."""
    from invoicedrop.commands import config as command

    if example:
        command.show_example()
    else:
        command.show(_settings(context, config, token_is_needed=False), _console())


@app.command(short_help="Write settings and token from four answers.")
def setup(
    context: typer.Context,
    config: ConfigOption = None,
    company: Annotated[str | None, typer.Option(help="Company id, or the project's address in the browser.")] = None,
    project: Annotated[str | None, typer.Option(help="Project id.")] = None,
    drop_dir: Annotated[str | None, typer.Option(help="The drop folder, as a full path.")] = None,
    token_file: Annotated[
        str | None, typer.Option(help="A file with the API token, read once; - is standard input.")
    ] = None,
    api_url: Annotated[str | None, typer.Option(help="Another API's address, for example the sandbox's.")] = None,
    answers: Annotated[Path | None, typer.Option(help="A TOML file with answers: company, project ...")] = None,
    no_folder: Annotated[bool, typer.Option("--no-folder", help="Do not make a missing drop folder.")] = False,
) -> None:
    """Write settings and token from four answers (asked, or given as options); nothing is overwritten."""
    from invoicedrop.commands.setup.answers import Answers
    from invoicedrop.commands.setup.command import setup

    said = Answers(company, project, drop_dir, token_file, api_url)
    setup(said.over(Answers.read(answers)) if answers else said, config or context.obj, make_folder=not no_folder)


@app.command(short_help="Print a report for a question or an issue; nothing secret in it.")
def support(context: typer.Context, config: ConfigOption = None) -> None:
    """Print what whoever helps has to know: versions, check, status, settings. No secret, no customer is in it."""
    settings = _settings(context, config, token_is_needed=False)
    from invoicedrop.commands.support import support

    support(settings)


@app.command(short_help="Serve a local stand-in for the Channable API.")
def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8077,
    token: Annotated[str, typer.Option(help="The token that is valid.")] = "sandbox-token",  # noqa: S107 - of the sandbox
    orders: Annotated[int, typer.Option(min=0, help="How many orders there are (ids 1, 2, 3 ...).")] = 100,
    company_id: Annotated[int, typer.Option(help="The only company.")] = 1001,
    project_id: Annotated[list[int] | None, typer.Option(help="A project; may be given several times.")] = None,
    rate: Annotated[float, typer.Option(min=0, help="Requests a second; 0 = no limit.")] = 4.0,
    burst: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 200,
    latency: Annotated[float, typer.Option(min=0, help="Seconds that every answer takes.")] = 0.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(help='What goes wrong, as JSON, for example \'{"kind": "status", "status": 503, "count": 3}\'.'),
    ] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(
            help='What is said of an order after an upload, as JSON, for example \'{"status": "error", "after": 5}\'.'
        ),
    ] = None,
    visible_after: Annotated[float, typer.Option(min=0, help="Seconds until an upload is shown at its order.")] = 0.0,
    list_lag: Annotated[float, typer.Option(min=0, help="Seconds more until lists of orders show it.")] = 0.0,
    samples: Annotated[
        bool,
        typer.Option("--samples", help="Add an order of each other kind: cancelled, other channels ..."),
    ] = False,
    folder: Annotated[Path | None, typer.Option(help="Keep the uploaded PDFs there (default: in memory).")] = None,
) -> None:
    """Serve a local stand-in for the Channable API, for trying things out without an account."""
    with _extra("sandbox"):
        from invoicedrop.commands.sandbox import serve_sandbox

    serve_sandbox(
        port=port,
        token=token,
        orders=orders,
        company_id=company_id,
        projects=tuple(project_id or (2001,)),
        rate=rate,
        burst=burst,
        latency=latency,
        faults=fault or [],
        events=event or [],
        visible_after=visible_after,
        list_lag=list_lag,
        samples=samples,
        folder=folder,
    )


@app.command(short_help="Show the whole thing in a few seconds: nothing is needed.")
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folders to look at them.")] = False,
) -> None:
    """Show the whole thing in a few seconds: no account, no network, nothing left behind."""
    with _extra("sandbox"):
        from invoicedrop.commands.demo import show

    raise typer.Exit(show(_console(), keep=keep))


def main() -> NoReturn:
    """Run a command; every error of ours becomes a sentence and an exit code."""
    if os.getpid() == 1:
        # In a container: the kernel spares PID 1 the default actions, so that until the service has its own handlers
        # a SIGTERM would be lost, and the engine would wait for its whole time-out.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        app()
    except ConfigError as error:
        count = f" ({len(error.problems)} to mend)" if len(error.problems) > 1 else ""
        _print_error(f"{error.heading}{count}:")
        for problem in error.problems:
            _print_error(f"  - {problem}")
        sys.exit(exit_codes.TRY_LATER if isinstance(error, NotSeen) else exit_codes.CONFIG)
    except LedgerDamaged as error:
        _print_error(str(error))
        sys.exit(exit_codes.CONFIG)
    except InvoicedropError as error:
        _print_error(str(error))
        sys.exit(exit_codes.TRY_LATER)
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing may be flushed into the broken pipe at exit.
        sys.stdout = None
        sys.exit(0)
    raise AssertionError("typer always exits")


def _print_error(sentence: str) -> None:
    typer.echo(printable(sentence), err=True)


if __name__ == "__main__":
    main()
