import io
import json
import os
import pwd
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

import without_confinement
from invoicedrop.commands.check import command
from invoicedrop.commands.check.finding import Finding, Level
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.sandbox import CUSTOMER_SURNAME
from invoicedrop.settings.settings import Settings
from invoicedrop.system import permissions
from invoicedrop.system.confinement import offered
from merchant import COMMAND, Merchant, running
from quick_service import UNCHECKED
from waiting import wait_until


def _all_below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def _findings(settings: Settings) -> dict[str, Finding]:
    return {finding.subject: finding for finding in command.collect(settings)}


def _printed(settings: Settings) -> tuple[int, str]:
    out = io.StringIO()
    code = command.check(settings, Console(file=out, width=80, force_terminal=True, no_color=True, highlight=False))
    return code, re.sub("\x1b\\[[0-9;]*m", "", out.getvalue())


def test_a_good_set_up_has_no_problem_and_is_left_as_it_was(merchant: Merchant) -> None:
    """Where everything is right the check exits with 0, finds no problem, and leaves no file or folder behind."""
    before = _all_below(merchant.home)
    settings = merchant.settings(requests_per_second="4")
    findings = command.collect(settings)
    assert not [finding for finding in findings if finding.level in {Level.WARNING, Level.PROBLEM}]
    right = {finding.subject for finding in findings if finding.level is Level.OK}
    assert right >= {
        "drop_dir",
        "processed_dir",
        "failed_dir",
        "drop to processed",
        "drop to failed",
        "events",
        "state_dir",
        "ledger",
        "rate",
        "API",
        "token",
    }
    assert _printed(settings)[0] == 0
    assert _all_below(merchant.home) == before


def test_output_shows_neither_token_nor_customer(merchant: Merchant) -> None:
    """Although the check reads a real order with the real token, it prints neither."""
    _, text = _printed(merchant.settings())
    assert merchant.sandbox.token not in text
    assert CUSTOMER_SURNAME not in text


def test_table_fits_80_columns_and_commands_stay_whole(merchant: Merchant) -> None:
    """The table folds at 80 columns, markup in a folder's name is literal, and a long command is never broken."""
    merchant.drop = merchant.home / ("[red]shared folder " + "x" * 80)
    merchant.environment["INVOICEDROP_DROP_DIR"] = str(merchant.drop)
    code, text = _printed(merchant.settings())
    assert code == 1
    table, mend = text.split("To mend:")
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80
    assert "[red]shared folder" in table
    us = f"{permissions.user_name(os.geteuid())}:{permissions.group_name(os.getegid())}"
    assert f"    mkdir -p '{merchant.drop}' && chown {us} '{merchant.drop}'\n" in mend


def test_findings_of_several_inboxes_are_labelled(merchant: Merchant) -> None:
    """With two inboxes each finding names its inbox, in the table and in the list of what to mend."""
    first = merchant.settings().inboxes[0]
    gone = merchant.home / "gone"
    other = first.model_copy(update={"name": "kaufland", "drop_dir": gone})
    _, text = _printed(merchant.settings().model_copy(update={"inboxes": (first, other)}))
    assert re.search(r"^problem +kaufland +drop_dir +", text, re.MULTILINE)
    assert re.search(r"^ok +default +drop_dir +", text, re.MULTILINE)
    assert "  problem drop_dir (inbox kaufland):" in text


def test_a_pipe_gets_one_line_for_each_finding(merchant: Merchant) -> None:
    """Into a pipe each finding is one line, so that grep finds it whole."""
    out = io.StringIO()
    command.check(merchant.settings(), Console(file=out, highlight=False))
    (line,) = (line for line in out.getvalue().splitlines() if " drop_dir " in line)
    assert str(merchant.drop) in line
    assert "free" in line


def test_a_running_daemon_is_noticed_and_not_disturbed(merchant: Merchant) -> None:
    """The check works beside a daemon, which stays the only instance, logs nothing about it, and goes on."""
    with running(merchant, program=UNCHECKED, scan_interval="0.05") as daemon:
        daemon.wait_for("inbox.watching")
        before = daemon.errors()
        findings = _findings(merchant.settings())
        assert findings["daemon"].text == "a daemon is running"
        assert not [finding for finding in findings.values() if finding.level is Level.PROBLEM]
        status_file = merchant.state / "service.json"
        last = json.loads(status_file.read_text())["beat"]
        # Two beats later it has scanned the folder again.
        wait_until(lambda: json.loads(status_file.read_text())["beat"] > last + 0.1, what="the daemon's beat")
        assert daemon.errors() == before
        assert daemon.stop() == 0


def test_warnings_of_the_settings_are_shown(merchant: Merchant) -> None:
    """A token file that everybody may read is a warning, with the command that fixes it."""
    file = merchant.home / "token"
    file.write_text(merchant.sandbox.token)
    file.chmod(0o644)
    del merchant.environment["INVOICEDROP_API_TOKEN"]
    finding = _findings(merchant.settings(api_token_file=str(file)))["settings"]
    assert finding.level is Level.WARNING
    assert "everybody may read it: chmod 600" in finding.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_check_by_another_user_than_the_service_is_a_warning(merchant: Merchant) -> None:
    """Root may do everything, so a check by root of a service that has its own user names the command to use."""
    merchant.state.mkdir()
    os.chown(merchant.state, 65534, 65534)
    finding = _findings(merchant.settings())["user"]
    assert finding.level is Level.WARNING
    assert finding.remedy.endswith(f"sudo -u {pwd.getpwuid(65534).pw_name} invoicedrop check")
    assert "sudo invoicedrop check" in finding.remedy


def test_the_ledger_is_opened_once(merchant: Merchant) -> None:
    """The check opens the ledger as often as it must: to look for damage, and then once, to write and to read."""
    merchant.state.mkdir()
    Ledger.open(merchant.state).close()
    program = """
import sys
connections = []
sys.addaudithook(lambda event, args: connections.append(args) if event == "sqlite3.connect" else None)
from invoicedrop.commands.check import command
from invoicedrop.settings.load import load
command.collect(load())
print(len(connections))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=merchant.environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == 3


def test_a_ledger_of_a_newer_program_is_a_problem(merchant: Merchant) -> None:
    """A ledger that a newer version wrote is a problem, and the rest of the check goes on."""
    merchant.state.mkdir()
    with Ledger.open(merchant.state) as ledger:
        path = ledger.path
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE schema_version SET version = 99")
    findings = _findings(merchant.settings())
    assert findings["ledger"].level is Level.PROBLEM
    assert "newer invoicedrop" in findings["ledger"].text
    assert findings["token"].level is Level.OK


@pytest.mark.long
@pytest.mark.skipif(not all(offered()), reason="the kernel does not offer Landlock and seccomp")
@pytest.mark.parametrize(("missing", "words"), [("landlock", "without Landlock,"), ("seccomp", "without seccomp,")])
def test_what_does_not_confine_the_pdf_check_is_a_warning(merchant: Merchant, missing: str, words: str) -> None:
    """Where the kernel, or a container, does not offer what confines the PDF check, the check says so in a line."""
    assert _findings(merchant.settings())["PDF check"].level is Level.OK
    wrapper = Path(without_confinement.__file__)
    program = (str(wrapper), missing, "EPERM", sys.executable, *COMMAND)
    daemon = merchant.start("check", program=program, forked=False)
    assert daemon.wait() == 0
    (line,) = [line for line in daemon.output().splitlines() if "PDF check" in line and "PDFs are" in line]
    assert line.startswith("warning")
    assert words in line


def test_a_pdf_check_that_does_not_start_is_a_problem(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation in which no process that checks PDFs starts is a problem, and the check goes on."""
    monkeypatch.setattr(sys, "path", [])
    findings = _findings(merchant.settings())
    assert findings["PDF check"].level is Level.PROBLEM
    assert findings["API"].level is Level.OK
