"""Text from outside made safe: file names, the API's words, what a PDF says of itself.

`printable` is what a person reads, `storable` what a database or a file keeps.
"""

from pathlib import Path


def printable(text: str | Path) -> str:
    """Return text for people, on one line: what could break the line, steer a terminal or hide is escaped.

    Kept is what `str.isprintable` allows: no control characters, line separators, overrides of the writing direction,
    invisible characters, or undecodable bytes of a file name.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in str(text)
    )


def storable(text: str | Path) -> str:
    """Return text that can be encoded: undecodable bytes of a file name are escaped, all else stays as it is.

    The ledger knows a file by this form of its name, so that it must stay the same from version to version.
    """
    return str(text).encode("utf-8", "backslashreplace").decode()
