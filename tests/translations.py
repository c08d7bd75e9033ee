"""What tests of several rooms ask of translations."""

import string

from invoicedrop.languages.catalogue import LANGUAGES

OTHERS = tuple(language for language in LANGUAGES if language != "en")
"""The languages that have a catalogue."""


def fields(template: str) -> list[str]:
    """Return the names of a template's values."""
    return sorted({name for _, name, _, _ in string.Formatter().parse(template) if name is not None})
