"""Text as strangers write it, and what may become of it where a person reads it."""

import unicodedata

from hypothesis import strategies as st

_TRICKS = (
    "\n12:00:00 [info     ] invoice.processed",
    '\n{"event": "invoice.processed"}',
    "\r",
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x9b1m",
    "\x85",
    "\u2028",
    "\u2029",
    "\u202e",
    "\u2066",
    "\u2069",
    "\u200f",
    "\u200b",
    "\u2060",
    "\ufeff",
    "\u00ad",
    "\u061c",
    "\u3164",
    "\u115f",
    "\u034f",
    "\U000e0041",
    "\udce9",
    "\0",
    "\t",
)
TRICKS = st.lists(
    st.one_of(st.text(st.characters(exclude_categories=()), max_size=8), st.sampled_from(_TRICKS)), max_size=8
).map("".join)
"""Any text, and much of what steers a terminal, breaks a line, turns the writing direction or cannot be seen."""
NAMES = (
    "Rechnung Müller 8355.pdf",
    "8355_فاتورة.pdf",
    "8355_חשבונית.pdf",
    "8355 🧾❤️.pdf",
    "8355_請求書.pdf",
    "8355_счёт.pdf",
)
"""Names that honest people give their files."""
_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u180f\u2800\u3164\uffa0"


def is_harmless(line: str) -> bool:
    """Whether a line has no effect but its letters: by Unicode's own categories and writing directions."""
    return not any(
        unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        or unicodedata.bidirectional(character) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
        or character in _INVISIBLE
        for character in line
    )
