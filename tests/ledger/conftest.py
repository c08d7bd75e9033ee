from collections.abc import Iterator
from pathlib import Path

import pytest

from invoicedrop.ledger.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of its own."""
    with Ledger.open(tmp_path) as opened:
        yield opened
