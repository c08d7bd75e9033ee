"""Sandboxes of this room's own tests, with other options than everybody's."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from invoicedrop.sandbox import Options, Running, serve
from sandbox_caller import Caller, Started


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """Share one client among all tests: creating one takes longer than most of them."""
    with httpx.Client(trust_env=False, timeout=10) as client:
        yield client


@pytest.fixture
def started(client: httpx.Client) -> Iterator[Started]:
    """Start sandboxes, without a rate limit by default, and stop them at the end."""
    running: list[Running] = []

    def start(**options: Any) -> Caller:
        sandbox = serve(Options(**({"rate": 0} | options)))
        running.append(sandbox)
        sandbox.start()
        return Caller(sandbox, client)

    yield start
    for sandbox in running:
        sandbox.close()
