"""Text from outside made safe: file names, the API's words, what a PDF says of itself.

`printable` is what a person reads, on a terminal, in a reason, in the log, in systemd's status line; `storable` is what
a database or a file keeps.
"""

import re
from pathlib import Path
from typing import Final

_INVISIBLE: Final = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0]")
"""Shown as nothing, though Unicode counts them among letters, marks and symbols (Default_Ignorable_Code_Point in
https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt, and the blank Braille pattern). The variation
selectors stay, which emoji and Japanese names have."""


def printable(text: str | Path) -> str:
    """Return text for people, on one line: what could break the line, steer a terminal or hide is escaped.

    Kept is what `str.isprintable` allows and can be seen: no control characters, line separators, overrides of the
    writing direction, invisible characters, or undecodable bytes of a file name.
    """
    text = str(text)
    if not text.isprintable():
        text = "".join(character if character.isprintable() else _escaped(character) for character in text)
    return text if text.isascii() else _INVISIBLE.sub(lambda match: _escaped(match[0]), text)


def printable_lines(text: str) -> str:
    """Return a text of several lines for people, each `printable` and indented: none can pass for a line of ours."""
    return "\n".join(f"  {printable(line)}" for line in text.split("\n"))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def storable(text: str | Path) -> str:
    """Return text that can be encoded: undecodable bytes of a file name are escaped, all else stays as it is.

    The ledger knows a file by this form of its name, so that it must stay the same from version to version.
    """
    return str(text).encode("utf-8", "backslashreplace").decode()
