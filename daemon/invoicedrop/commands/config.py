"""`invoicedrop config`: the settings in force and where each comes from, or the commented example."""

import typer
from rich.console import Console

from invoicedrop.commands.output import print_table
from invoicedrop.commands.packaged import example
from invoicedrop.printable import printable
from invoicedrop.settings.load import describe
from invoicedrop.settings.settings import Settings


def show(settings: Settings, console: Console) -> None:
    """Print the settings; secrets are masked. What this user may not read is told on stderr."""
    print_table(console, ("inbox", "setting", "value", "from"), describe(settings), foldable={"value", "from"})
    for sentence in settings.unseen:
        typer.echo(f"Not seen: {printable(sentence)}", err=True)


def show_example() -> None:
    """Print the commented example of a settings file."""
    typer.echo(example("config/invoicedrop.toml"), nl=False)
