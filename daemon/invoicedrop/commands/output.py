"""How results of commands are printed: literally, for a terminal of 80 columns or for a pipe.

File names and the API's words are never read as markup, and their control characters never reach the terminal. Where
nobody watches (a pipe, a file), nothing is wrapped: one line is one thing.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from invoicedrop.printable import printable

_KEPT_WHOLE: Final = 26
"""Characters; a column of longer words may be folded where the terminal is too narrow."""
_PIPE_WIDTH: Final = 10_000

Cell = str | tuple[str, str]
"""Text, or text with its style."""


def print_table(
    console: Console, titles: Sequence[str], rows: Iterable[Sequence[Cell]], *, foldable: Collection[str] = ()
) -> None:
    """Print rows below titles; columns of short words are kept whole, but for the `foldable` ones."""
    cells = [[_text(cell) for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for place, title in enumerate(titles):
        longest = max((len(row[place]) for row in cells), default=0)
        table.add_column(title, overflow="fold", no_wrap=longest <= _KEPT_WHOLE and title not in foldable)
    for row in cells:
        table.add_row(*row)
    width = console.width
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    console.print(table)
    console.width = width


def print_line(console: Console, *parts: Cell, unbroken: bool = False) -> None:
    """Print one line; `unbroken` keeps the terminal from breaking it at words, so that a command can be copied."""
    line = Text.assemble(*(_text(part) for part in parts))
    console.print(line, soft_wrap=unbroken or not console.is_terminal)


def counted(number: int, what: str) -> str:
    """Return "1 order", "2 orders"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _text(cell: Cell) -> Text:
    text, style = (cell, "") if isinstance(cell, str) else cell
    return Text(printable(text), style=style)
