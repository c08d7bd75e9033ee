"""Names and words made safe to store and to show."""

from pathlib import Path


def printable(text: str | Path) -> str:
    """Escape what would break a line or a terminal: control characters, undecodable bytes of a file name."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in str(text)
    )


def readable(name: str) -> str:
    """Return a file name as it can be stored and shown, whatever bytes it is made of."""
    return name.encode("utf-8", "backslashreplace").decode()
