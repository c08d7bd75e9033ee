"""What is odd and whole is taken, what is damaged is refused: by kind, made here and in the shared cases."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import bad_cases
import odd_cases
import pytest
from checking import verdict

SHARED = Path(__file__).parents[4] / "shared" / "cases" / "pdf"


class Case(NamedTuple):
    """A file of the shared cases, and the verdict that it is to get."""

    path: Path
    expected: str


def shared_cases() -> dict[str, list[Case]]:
    """Return the shared cases by kind; none where they are not."""
    cases = defaultdict(list)
    table = SHARED / "expected.tsv"
    for line in table.read_text().splitlines() if table.exists() else []:
        name, expected, kind, _ = line.split("\t")
        cases[kind].append(Case(SHARED / name, expected))
    return cases


def verdicts(files: dict[str, bytes]) -> dict[str, str]:
    """Return the verdict on each file."""
    return {name: verdict(pdf) for name, pdf in files.items()}


@pytest.mark.parametrize(("kind", "cases"), [pytest.param(k, c, id=k) for k, c in shared_cases().items()])
def test_shared_case_gets_its_verdict(kind: str, cases: list[Case]) -> None:
    """Every shared case is taken, or refused for its reason."""
    wrong = {}
    for case in cases:
        found = verdict(case.path.read_bytes())
        if found not in (bad_cases.DAMAGED if case.expected == "damaged" else {case.expected}):
            wrong[case.path.name] = f"{found}, not {case.expected}"
    assert wrong == {}, kind


@pytest.mark.parametrize(("kind", "make"), [pytest.param(k, m, id=k) for k, m in odd_cases.ALL.items()])
def test_whole_file_with_an_oddity_passes(kind: str, make: Callable[[], dict[str, bytes]]) -> None:
    """What is odd in a whole file is its generator's own, and no reason to refuse it."""
    refused = {name: reason for name, reason in verdicts(make()).items() if reason != "ok"}
    assert refused == {}, kind


@pytest.mark.parametrize(
    ("kind", "make", "reasons"), [pytest.param(k, *case, id=k) for k, case in bad_cases.ALL.items()]
)
def test_bad_file_is_refused(kind: str, make: Callable[[], dict[str, bytes]], reasons: frozenset[str]) -> None:
    """What lost something, needs a password or acts is refused, for its reason."""
    wrong = {name: reason for name, reason in verdicts(make()).items() if reason not in reasons}
    assert wrong == {}, kind
