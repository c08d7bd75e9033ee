"""Fixtures that tests of several rooms ask for, and how property tests run."""

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import hypothesis
import pytest

import bytecode  # noqa: F401 - before all that it is to keep
from invoicedrop.sandbox import Options, Running, serve
from merchant import Merchant
from postgres_server import end_shared, new_schema, shared_url

# Until the tests run everything that is made stays: there is nothing to collect (see `pytest_collection_finish`).
gc.disable()

_PROCESSES: Final = 10

# How this machine reaches the network is no test's: and a file of certificates is read anew by each daemon.
for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
    os.environ.pop(variable, None)
    os.environ.pop(variable.lower(), None)

# The same examples in every run: a new find comes from a search (--hypothesis-profile=search), not from bad luck in CI.
hypothesis.settings.register_profile("search", max_examples=20_000, deadline=None)
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


@pytest.hookimpl(trylast=True)  # when those that are not to run have been taken out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the tests that take long, so that all processes end together.

    Each process begins with its share of them, in this order, and takes from others' ends when it has done with that.
    The longest are in the first half of each share; those of the whole program lie evenly among the others.
    """
    groups: tuple[list[pytest.Item], ...] = ([], [], [])
    for item in items:
        long = item.get_closest_marker("long") is not None
        groups[0 if long else 1 if "whole" in item.path.parts else 2].append(item)
    long_ones, *others = groups
    half = 1 / (2 * len(long_ones) or 1)
    places = [((number % _PROCESSES + number * half) / _PROCESSES, item) for number, item in enumerate(long_ones)]
    places += [((number + 1) / len(group), item) for group in others for number, item in enumerate(group)]
    items[:] = [item for _, item in sorted(places, key=lambda place: place[0])]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Take modules and collected tests, hundreds of thousands of objects, out of what the collector goes through."""
    if not session.items:
        return  # the process that only hands out tests, and keeps what they report
    gc.freeze()
    # What is left to go through is little: more seldom than the few hundred objects of the default.
    gc.set_threshold(20_000)
    gc.enable()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Have a folder in memory, whose disk nobody waits for: a killed process loses nothing that the kernel has."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="invoicedrop-", dir=memory if os.access(memory, os.W_OK) else tmp_path))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def sandbox() -> Iterator[Running]:
    """A sandbox API without a rate limit, with the orders 1 to 100."""
    with serve(Options(rate=0)) as api:
        yield api


@pytest.fixture
def merchant(tmp_path: Path, sandbox: Running) -> Merchant:
    """A merchant whose daemon talks to the sandbox."""
    return Merchant(tmp_path, sandbox)


@pytest.fixture
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an empty PostgreSQL database, as good as."""
    with new_schema(shared_url(_shared_folder(tmp_path_factory))) as url:
        yield url


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End what all test processes share."""
    if not hasattr(session.config, "workerinput"):
        end_shared(session.config._tmp_path_factory.getbasetemp())  # type: ignore[attr-defined]


def _shared_folder(factory: pytest.TempPathFactory) -> Path:
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
