from hypothesis import given
from hypothesis import strategies as st

from foreign_text import NAMES, TRICKS, is_harmless
from invoicedrop.reasons import Reason, reason_text


@given(name=TRICKS, detail=TRICKS, reason=st.sampled_from(Reason))
def test_no_name_and_no_answer_adds_to_a_reason(name: str, detail: str, reason: Reason) -> None:
    """Whatever a file is called and the API says, a reason has the lines that we wrote, and each is harmless."""
    lines = reason_text(name, reason, detail, "ab" * 32, at=0).split("\n")
    assert len(lines) == len(reason_text("8355.pdf", reason, "", "ab" * 32, at=0).split("\n"))
    assert all(map(is_harmless, lines))


def test_a_reason_names_the_file_as_it_is_called() -> None:
    """An honest name stands there as it is, and of one that plays tricks what can be read."""
    for name in NAMES:
        assert reason_text(name, Reason.DAMAGED, "", None, at=0).startswith(f"{name} was not sent")
    text = reason_text("8355\n\x1b[2J\u202efdp.pdf", Reason.DAMAGED, "", None, at=0)
    assert text.startswith("8355\\n\\x1b[2J\\u202efdp.pdf was not sent")
