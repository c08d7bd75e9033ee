from collections.abc import Iterator
from pathlib import Path

import pytest

from invoicedrop.ledger.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of its own."""
    with Ledger.open(tmp_path) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgres"])
def each_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of its own, on each engine."""
    if request.param == "sqlite":
        with Ledger.open(tmp_path) as opened:
            yield opened
    else:
        with Ledger.at(request.getfixturevalue("postgres_url")) as opened:
            opened.connect()
            yield opened
