"""The progress bar of `run --once` on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr, below the log lines; give what updates it: how many are done, how many wait."""
    bar = Progress(
        TextColumn("invoices"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,
    )
    task = bar.add_task("invoices", total=None)

    def update(done: int, waiting: int) -> None:
        bar.update(task, completed=done, total=done + waiting)

    with bar:
        yield update
