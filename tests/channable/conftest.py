"""Fixtures for the tests of the API's client."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from api_caller import Caller, caller_of, invoice_of
from invoicedrop.inbox.snapshot import Snapshot
from invoicedrop.sandbox import Running


@pytest.fixture
def caller(sandbox: Running) -> Iterator[Caller]:
    """A caller of the sandbox."""
    with caller_of(sandbox.url, timeout=1.0) as caller:
        yield caller


@pytest.fixture
def invoice(tmp_path: Path) -> Iterator[Snapshot]:
    """A small invoice."""
    with invoice_of(b"%PDF-1.7 small", tmp_path) as invoice:
        yield invoice
