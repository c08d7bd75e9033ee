import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreign_text import NAMES, TRICKS, is_harmless
from invoicedrop.printable import printable, printable_lines, storable

_any_text = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Rechnung Müller 8355.pdf", "Rechnung Müller 8355.pdf"),
        ("a\nb\x1b[2Jc", "a\\nb\\x1b[2Jc"),
        ("invoice\u202efdp.exe", "invoice\\u202efdp.exe"),
        ("two\u2028lines", "two\\u2028lines"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("caf\udce9.pdf", "caf\\udce9.pdf"),
        ("blank\u3164", "blank\\u3164"),
        *((name, name) for name in NAMES),
    ],
)
def test_what_a_person_reads_has_no_hidden_effect(text: str, shown: str) -> None:
    """Control characters, overrides of the writing direction, line separators and undecodable bytes are escaped."""
    assert printable(text) == shown


@given(_any_text)
def test_printable_text_is_one_line(text: str) -> None:
    """Whatever the text, its printable form is printable, and is its own printable form."""
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)


@given(TRICKS)
def test_printable_text_is_harmless(text: str) -> None:
    """Nothing in it steers a terminal, turns the writing direction, or cannot be seen."""
    assert is_harmless(printable(text))


@given(TRICKS)
def test_several_lines_stay_as_many_and_none_passes_for_ours(text: str) -> None:
    """A text of several lines keeps its line breaks alone, and each line is indented."""
    lines = printable_lines(text).split("\n")
    assert len(lines) == text.count("\n") + 1
    assert all(line.startswith("  ") and is_harmless(line) for line in lines)


@given(_any_text)
def test_storable_text_can_be_encoded(text: str) -> None:
    """Whatever the text, its storable form is UTF-8, and it is unchanged where the text was so already."""
    assert storable(text).encode().decode() == storable(text)
    assert storable(storable(text)) == storable(text)
