import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from invoicedrop.commands import demo


def test_the_demo_shows_what_becomes_of_each_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real daemon logs what the demo shows (each kind of end, a way back, a lost answer); exit 0, nothing left."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    out = io.StringIO()
    code = demo.show(Console(file=out, width=80, highlight=False), keep=False)
    marks = {(mark, name.strip()) for mark, name in re.findall(r"^  ([✓=✗↩…?!]) (.{28})", out.getvalue(), re.MULTILINE)}
    assert code == 0, out.getvalue()
    assert {mark for mark, name in marks if name == "1004.pdf"} == {"?", "!", "✓"}
    assert {mark for mark, name in marks if name == "1007.pdf"} == {"…", "✗"}
    assert sorted(mark for mark, name in marks if name.startswith("1005")) == ["=", "✓"]
    assert ("✗", "Invoice March.pdf") in marks
    # Refused softly, moved back by hand, and then sent.
    assert {mark for mark, name in marks if name == "2026_1010.pdf"} == {"✗", "↩", "✓"}
    assert "✓" in {mark for mark, name in marks if name == "1008_e-invoice.pdf"}
    assert "✓" in {mark for mark, name in marks if name == "1009_credit note.pdf"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("event", "mark"),
    [
        ({"event": "invoice.deferred", "reason": "incomplete", "detail": "any words"}, "…"),
        ({"event": "invoice.deferred", "detail": "it may still be being written"}, None),
        ({"event": "upload.reconciled", "found": True, "attachment_id": 1}, "!"),
        ({"event": "upload.reconciled", "found": False, "looks": 1}, None),
        ({"event": "invoice.failed", "reason": "damaged", "detail": "any words"}, "✗"),
    ],
)
def test_the_demo_reads_fields_and_no_prose(event: dict[str, Any], mark: str | None) -> None:
    """What the demo shows depends on an event's name and fields; the words of a detail change nothing."""
    description = demo._describe(event)
    assert (None if description is None else description[0][0]) == mark
