"""What surrounds the program: workflows and issue forms name what is there, and ask for what helps."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[1]
GITHUB = PROJECT / ".github"


def _read(name: str) -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load((GITHUB / name).read_text())
    return loaded


def test_ci_runs_what_everybody_runs_on_every_python() -> None:
    """.ci/run is called on each version that the classifiers name."""
    tests = _read("workflows/ci.yml")["jobs"]["tests"]
    assert ".ci/run" in tests["steps"][-1]["run"]
    classifiers = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["classifiers"]
    named = [found[0] for line in classifiers if (found := re.findall(r"Python :: (3\.\d+)$", line))]
    assert tests["strategy"]["matrix"]["python"] == named
    assert len(named) >= 4


def test_every_deployment_script_runs_before_a_tag() -> None:
    """Each script of tests/deploy that can be run is in CI's list, and nothing else; the release waits for them."""
    scripts = _read("workflows/ci.yml")["jobs"]["deploy"]["strategy"]["matrix"]["script"]
    there = {
        path.name for path in (PROJECT / "tests/deploy").glob("*.py") if "\ndef main() -> None:" in path.read_text()
    }
    # What the Samba script has its client do is no script of its own.
    assert {script.split()[0] for script in scripts} == there - {"smb_writer.py"}
    jobs = _read("workflows/release.yml")["jobs"]
    assert jobs["checks"]["uses"] == "./.github/workflows/ci.yml"
    assert all(job["needs"] == "checks" for name, job in jobs.items() if name != "checks")


@pytest.mark.parametrize("form", sorted(path.name for path in GITHUB.glob("ISSUE_TEMPLATE/*.yml")))
def test_issue_forms_are_forms(form: str) -> None:
    """Each form has a name, a description and questions; one about trouble asks for what `check` says."""
    content = _read(f"ISSUE_TEMPLATE/{form}")
    if form == "config.yml":
        assert content["blank_issues_enabled"] is False
        return
    assert content["name"]
    assert content["description"]
    for part in content["body"]:
        options = part["attributes"].get("options", [])
        assert all(isinstance(option, str) for option in options)
        assert part["type"] in {"markdown", "textarea", "input", "dropdown"}
    asked = str(content["body"])
    assert form == "idea.yml" or "invoicedrop check" in asked
    assert form != "problem.yml" or "invoicedrop support" in asked


def test_what_security_names_is_what_reads_strangers_bytes() -> None:
    """The libraries that SECURITY.md promises fixes of are locked ones."""
    text = (PROJECT / "SECURITY.md").read_text()
    locked = (PROJECT / "requirements.txt").read_text()
    for name in ("pypdf", "cryptography", "zlib-ng", "httpx", "httpcore", "h11", "certifi"):
        assert name in text
        assert f"\n{name}==" in locked
