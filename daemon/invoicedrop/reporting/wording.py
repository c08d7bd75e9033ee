"""How facts are worded wherever they are shown."""


def counted(number: int, noun: str) -> str:
    """Return a number of things in words: "1 invoice", "2 invoices"."""
    return f"{number} {noun}{'s' * (number != 1)}"
