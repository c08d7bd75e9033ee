from collections.abc import Iterator
from pathlib import Path

import pytest

from invoicedrop.ledger.ledger import Ledger

SQLITE, POSTGRES = "sqlite", "postgres"


@pytest.fixture(params=[SQLITE, POSTGRES])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of its own, on each engine."""
    if request.param == SQLITE:
        with Ledger.open(tmp_path) as opened:
            yield opened
    else:
        with Ledger.at(request.getfixturevalue("postgres_url")) as opened:
            opened.connect()
            yield opened


@pytest.fixture
def sqlite_ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of its own in a file."""
    with Ledger.open(tmp_path) as opened:
        yield opened
