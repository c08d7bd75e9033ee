import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoicedrop.printable import printable, storable

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


@given(_any_text)
def test_storable_text_can_be_encoded(text: str) -> None:
    """Whatever the text, its storable form is UTF-8, and it is unchanged where the text was so already."""
    assert storable(text).encode().decode() == storable(text)
    assert storable(storable(text)) == storable(text)
