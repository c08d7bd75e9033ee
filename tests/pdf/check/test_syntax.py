"""Tokens and values of PDF."""

import pytest
from checking import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from invoicedrop.pdf.check.syntax import Malformed, Name, Ref, parse, tokens_end


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"<< /A 1 /B [1 0 R 2.5 -3 (a\\(b\\)\\101\\n) <48 69 7>] /C#20D true >>", None),
        (b"% comment\n 42", 42),
        (b"/Name", Name("Name")),
        (b"null", None),
        (b"12 0 R", Ref(12, 0)),
        (b"((nested) \\\nline)", b"(nested) line"),
    ],
)
def test_parsing_values(text: bytes, expected: object) -> None:
    """Values are read as ISO 32000-1 has them."""
    value, _ = parse(text)
    if text.startswith(b"<<"):
        assert value == {"A": 1, "B": [Ref(1, 0), 2.5, -3, b"a(b)A\n", b"Hip"], "C D": True}
    else:
        assert value == expected


@pytest.mark.parametrize("text", [b"", b"<<", b"<< /A >>", b"<< 1 2 >>", b"[ 1 >>", b"]", b"word", b"(open", b"<</A 1"])
def test_parsing_refuses_what_is_no_value(text: bytes) -> None:
    """What is unbalanced, unfinished or no value is not read as one."""
    with pytest.raises(Malformed):
        parse(text)


@settings(max_examples=examples(100), deadline=None)
@given(text=st.binary(max_size=200))
def test_tokens_and_values_agree(text: bytes) -> None:
    """What parses as a value without a word of its own consists of right tokens all the way."""
    try:
        value, end = parse(text)
    except Malformed:
        return
    if not isinstance(value, bytes):
        assert tokens_end(text, 0) >= end or b"<" in text
