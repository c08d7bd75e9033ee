"""The documents and examples tell the truth, as far as a test can hold them to it."""

import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from invoicedrop.cli import app
from invoicedrop.settings.inbox import Inbox
from invoicedrop.settings.load import load
from invoicedrop.settings.settings import Settings

PROJECT = Path(__file__).parent.parent
_INTERNAL = {"inboxes", "source", "warnings", "unseen", "origins", "name"}


def test_the_readme_names_every_setting() -> None:
    """Each setting of the code stands in the table of config/README.md, and the table names no other."""
    table = (PROJECT / "config/README.md").read_text().partition("## Settings")[2].partition("## Commands")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    known = (Inbox.model_fields.keys() | Settings.model_fields.keys()) - _INTERNAL
    # What only loosens the address has no row of its own: it stands in the address's.
    assert named == known - {"allow_http"}
    assert "`allow_http" in table or "allow_http =" in table


def test_the_readme_names_every_command() -> None:
    """Each command that --help lists stands in config/README.md's table of commands."""
    said = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    table = (PROJECT / "config/README.md").read_text().partition("## Commands")[2].partition("## The log")[0]
    commands = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    assert {name for name in commands if f"`invoicedrop {name}`" not in table} == set()
    assert {name for name in commands if name not in said} == set()


DOCUMENTS = sorted(
    path
    for path in (*PROJECT.glob("*.md"), *PROJECT.glob("[!.]*/**/*.md"), *PROJECT.glob(".github/*.md"))
    if "node_modules" not in path.parts and ".venv" not in path.parts
)


def _anchors(document: Path) -> set[str]:
    """Return what the headings of a document are called in links, as GitHub makes it."""
    headings = re.findall(r"(?m)^#+ (.*)$", document.read_text())
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    """Each relative link of a document leads to a file, and its anchor to a heading there."""
    for target, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)]*))?\)", document.read_text()):
        file = (document.parent / target).resolve() if target else document
        assert file.exists(), target
        assert not anchor or anchor in _anchors(file), f"{target}#{anchor}"


def test_the_readme_is_short() -> None:
    """What everybody needs is read in a sitting: the rest stands in documents of its own."""
    assert (PROJECT / "README.md").stat().st_size <= 9 * 1024


def test_the_locked_requirements_hold_every_dependency() -> None:
    """What pyproject.toml asks for is locked, with hashes and without the address of any index."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras["notify"], *extras["metrics"]]
    wanted = {re.split(r"[^A-Za-z0-9_-]", line)[0].lower() for line in asked}
    locked = (PROJECT / "requirements.txt").read_text()
    assert wanted <= set(re.findall(r"^([a-z0-9_-]+)==", locked, re.MULTILINE))
    assert len(re.findall(r"==", locked)) <= len(re.findall(r"--hash=sha256:[0-9a-f]{64}", locked))
    assert "://" not in locked


def test_the_example_of_three_marketplaces_loads(tmp_path: Path) -> None:
    """One company, three projects: each inbox has its own folder, all of them one token and one rate limit."""
    token = tmp_path / "api_token"
    token.write_text("a-token\n")
    token.chmod(0o600)
    text = (
        (PROJECT / "config" / "three-marketplaces.toml").read_text().replace("/etc/invoicedrop/api_token", str(token))
    )
    (tmp_path / "invoicedrop.toml").write_text(text)
    found = load(tmp_path / "invoicedrop.toml", {"INVOICEDROP_STATE_DIR": str(tmp_path / "state")})
    assert [inbox.name for inbox in found.inboxes] == ["bol", "amazon", "kaufland"]
    assert len({inbox.project_id for inbox in found.inboxes}) == 3
    assert len({inbox.account for inbox in found.inboxes}) == 1
