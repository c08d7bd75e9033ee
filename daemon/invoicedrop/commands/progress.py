"""The progress bar of `run --once` on a terminal."""

from types import TracebackType
from typing import Self

from rich import progress as bars
from rich.console import Console


class Progress:
    """A bar on stderr, between the log lines."""

    def __init__(self) -> None:
        self._bar = bars.Progress(
            bars.TextColumn("invoices"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TimeRemainingColumn(),
            console=Console(stderr=True),
            redirect_stdout=False,
        )
        self._task = self._bar.add_task("invoices", total=None)

    def update(self, done: int, waiting: int) -> None:
        """Show how many are done and how many wait."""
        self._bar.update(self._task, completed=done, total=done + waiting)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._bar.stop()
