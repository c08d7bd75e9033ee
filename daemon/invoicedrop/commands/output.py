"""How commands print their results: literally, for a terminal of 80 columns or for a pipe.

File names and the API's words are never read as markup, and their control characters never reach the terminal. Into a
pipe or a file nothing is wrapped: each row is one line, but where a person is to read it in a mail (`folded_in_pipe`).
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from invoicedrop.printable import printable

_MAX_UNFOLDED: Final = 26
"""Characters; a column with longer cells may be folded where the terminal is too narrow."""
_LEAST_FOLDED: Final = 8
"""Characters that a column which is folded needs so that it can be read."""
_GAP: Final = 2
"""Spaces between two columns."""
_PIPE_WIDTH: Final = 10_000

Cell = str | tuple[str, str]
"""Text, or text with its style."""


def print_table(
    console: Console,
    titles: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    foldable: Collection[str] = (),
    folded_in_pipe: bool = False,
) -> None:
    """Print rows below titles; columns with short cells are not folded, except the `foldable` ones.

    Where even so the terminal is too narrow, any column is: nothing is cut off.
    """
    cells = [[_text(cell) for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    longest = [max([len(title), *(row[column].cell_len for row in cells)]) for column, title in enumerate(titles)]
    whole = [size <= _MAX_UNFOLDED and title not in foldable for title, size in zip(titles, longest, strict=True)]
    least = sum(size if keep else min(size, _LEAST_FOLDED) for size, keep in zip(longest, whole, strict=True))
    width = console.width
    if not console.is_terminal and not folded_in_pipe:
        console.width = _PIPE_WIDTH
    fits = least + _GAP * (len(longest) - 1) <= console.width
    for title, keep in zip(titles, whole, strict=True):
        table.add_column(title, overflow="fold", no_wrap=keep and fits)
    for row in cells:
        table.add_row(*row)
    console.print(table)
    console.width = width


def print_line(console: Console, *parts: Cell, unbroken: bool = False, folded_in_pipe: bool = False) -> None:
    """Print one line; `unbroken` lets the terminal wrap it instead of breaking it at words: a command can be copied."""
    line = Text.assemble(*(_text(part) for part in parts))
    console.print(line, soft_wrap=unbroken or not (console.is_terminal or folded_in_pipe))


def _text(cell: Cell) -> Text:
    text, style = (cell, "") if isinstance(cell, str) else cell
    return Text(printable(text), style=style)
