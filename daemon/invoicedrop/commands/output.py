"""How commands print their results: literally, for a terminal of 80 columns or for a pipe.

File names and the API's words are never read as markup, and their control characters never reach the terminal. Into a
pipe or a file nothing is wrapped: each row is one line.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from invoicedrop.printable import printable

_MAX_UNFOLDED: Final = 26
"""Characters; a column with longer cells may be folded where the terminal is too narrow."""
_PIPE_WIDTH: Final = 10_000

Cell = str | tuple[str, str]
"""Text, or text with its style."""


def print_table(
    console: Console, titles: Sequence[str], rows: Iterable[Sequence[Cell]], *, foldable: Collection[str] = ()
) -> None:
    """Print rows below titles; columns with short cells are never folded, except the `foldable` ones."""
    cells = [[_text(cell) for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column, title in enumerate(titles):
        longest = max((len(row[column]) for row in cells), default=0)
        table.add_column(title, overflow="fold", no_wrap=longest <= _MAX_UNFOLDED and title not in foldable)
    for row in cells:
        table.add_row(*row)
    width = console.width
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    console.print(table)
    console.width = width


def print_line(console: Console, *parts: Cell, unbroken: bool = False) -> None:
    """Print one line; `unbroken` lets the terminal wrap it instead of breaking it at words: a command can be copied."""
    line = Text.assemble(*(_text(part) for part in parts))
    console.print(line, soft_wrap=unbroken or not console.is_terminal)


def _text(cell: Cell) -> Text:
    text, style = (cell, "") if isinstance(cell, str) else cell
    return Text(printable(text), style=style)
