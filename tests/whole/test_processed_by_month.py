"""A processed folder for each month, as the whole program uses it: the service, status and check."""

import json
import os
import shutil
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from invoicedrop import cli
from invoicedrop.errors import ConfigError
from merchant import Merchant
from quick_service import UNCHECKED


def ask(merchant: Merchant, *arguments: str) -> Result:
    """Run a command in this process."""
    environment: dict[str, str | None] = dict.fromkeys(name for name in os.environ if name.startswith("INVOICEDROP_"))
    return CliRunner().invoke(cli.app, arguments, env=environment | merchant.environment, catch_exceptions=False)


@pytest.mark.parametrize("place", ["drop/processed/{year}/{month}", "archive/{year}-{month}"])
def test_an_invoice_is_filed_in_its_month(merchant: Merchant, place: str) -> None:
    """Inside the drop folder or not: it is filed there, known when it comes again, and no command is confused."""
    merchant.environment["INVOICEDROP_PROCESSED_DIR"] = str(merchant.home / place)
    before = sorted(merchant.home.rglob("*"))
    told = ask(merchant, "check").stdout
    assert "drop to processed" in told
    assert [path for path in sorted(merchant.home.rglob("*")) if path not in before] == [], (
        "check leaves nothing behind"
    )
    body = merchant.drop_pdf("8.pdf")
    assert merchant.run("run", "--once", program=UNCHECKED).returncode == 0
    now = datetime.now().astimezone()
    folder = merchant.home / place.format(year=f"{now.year:04}", month=f"{now.month:02}")
    assert [path.name for path in folder.iterdir()] == ["8.pdf"]
    shown = json.loads(ask(merchant, "status", "--json").stdout)
    assert shown["left_alone"] == []
    assert shown["sent"][0]["filed_as"] == str(folder / "8.pdf")
    (merchant.state / "ledger.sqlite3").rename(merchant.home / "kept")
    lost = " ".join(ask(merchant, "check").stdout.split())
    assert "has invoices already" in lost, "a lost ledger is noticed by the folders of months, too"
    (merchant.home / "kept").rename(merchant.state / "ledger.sqlite3")
    shutil.rmtree(folder)
    merchant.drop_pdf("8.pdf", body)
    assert merchant.run("run", "--once", program=UNCHECKED).returncode == 0
    assert len(merchant.sandbox.uploads()) == 1, "the memory of what was sent is not the folder"
    assert (folder / "8.pdf").read_bytes() == body
    assert ask(merchant, "verify").exit_code == 0


def test_check_names_a_link_in_the_place_of_a_month(merchant: Merchant) -> None:
    """It says which, and what to do, and does not write where it leads."""
    merchant.environment["INVOICEDROP_PROCESSED_DIR"] = f"{merchant.processed}/{{year}}"
    merchant.processed.mkdir()
    (merchant.home / "elsewhere").mkdir()
    link = merchant.processed / f"{datetime.now().astimezone().year:04}"
    link.symlink_to(merchant.home / "elsewhere")
    done = ask(merchant, "check")
    assert done.exit_code == 1
    assert "no link is followed" in " ".join(done.stdout.split())
    merchant.drop_pdf("8.pdf")
    assert merchant.run("run", "--once", program=UNCHECKED).returncode == 75
    assert list((merchant.home / "elsewhere").iterdir()) == []
    assert (merchant.drop / "8.pdf").exists()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("processed_dir", "{home}/p/{{day}}", "{year} and {month} in it, and no other braces"),
        ("processed_dir", "{home}/p/{{year", "no other braces"),
        ("processed_dir", "{home}/drop/{{year}}", "would fill the drop folder itself"),
        ("processed_dir", "{home}/x/../drop/{{year}}", "would fill the drop folder itself"),
        ("processed_dir", "{home}/{{month}}/drop", "may be the same folder as failed_dir"),
        ("failed_dir", "{home}/f/{{year}}", "only processed_dir may have {year}"),
        ("drop_dir", "{home}/f/{{month}}", "only processed_dir may have {year}"),
    ],
)
def test_what_cannot_be_a_folder_for_each_month_is_refused(
    merchant: Merchant, name: str, value: str, words: str, tmp_path: Path
) -> None:
    """Each with a sentence that names the setting."""
    shown = value.replace("{home}", str(merchant.home)).replace("{{", "{").replace("}}", "}")
    (merchant.home / "x").mkdir()
    changes = {name: shown}
    if "same folder" in words:
        changes["failed_dir"] = str(tmp_path / "07" / "drop")
    with pytest.raises(ConfigError) as caught:
        merchant.settings(**changes)
    (problem,) = (problem for problem in caught.value.problems if words in problem)
    assert name in problem
