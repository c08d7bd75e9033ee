"""The names of what is filed: made unique, an invoice's name still is one, and its reason still its own."""

from pathlib import Path

import pytest

from invoicedrop.inbox.filed_names import named_like, orphaned_reasons, reason_path, targets
from invoicedrop.inbox.names import parse_name

AT = 1795342500.0
STAMP = "20261122T101500Z"


@pytest.mark.parametrize("ending", [".pdf", ".PDF", ".pdf.pdf", ".pdf ", ".pdf.", ".pdf . ."])
def test_a_name_made_unique_is_still_an_invoices(tmp_path: Path, ending: str) -> None:
    """However the name ends, what it becomes where it is taken can be moved back, and has a reason of its own."""
    name = f"8355{ending}"
    paths = targets(tmp_path, name, AT)
    for unique in (next(paths), next(paths), next(paths)):
        assert parse_name(unique.name, "channable").order == "8355"
        unique.touch()
        assert unique in named_like(tmp_path, name)
        reason = reason_path(unique).name
        assert orphaned_reasons([reason]) == [(reason, unique.name)]
        assert orphaned_reasons([reason, unique.name]) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [name, f"8355_{STAMP}{ending}", f"8355_{STAMP}-2{ending}"]
    )
