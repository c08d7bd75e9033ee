"""What commands print, whatever the words are."""

import io
import time
from pathlib import Path

import pytest
from hypothesis import given
from rich.console import Console

from foreign_text import TRICKS, is_harmless
from invoicedrop.commands import health
from invoicedrop.commands.output import print_line, print_table
from invoicedrop.service.status_file import InboxReport, Report
from merchant import Merchant


@given(text=TRICKS)
def test_what_is_printed_is_harmless(text: str) -> None:
    """A row of a table is one line, a line is one line, and neither steers the terminal."""
    stream = io.StringIO()
    console = Console(file=stream, width=80)
    print_table(console, ("file", "found"), [(text, text), ("8355.pdf", (text, "red"))])
    print_line(console, "about ", (text, "bold"))
    lines = stream.getvalue().removesuffix("\n").split("\n")
    assert len(lines) == 4
    assert all(map(is_harmless, lines))


def test_health_is_told_in_harmless_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What an inbox's trouble quotes (a file name, the API) is one line of `health`."""
    inbox = InboxReport(unavailable="8355\n\x1b[2J\u202e.pdf cannot be moved")
    report = Report(pid=1, beat=time.time(), interval=60, inboxes={"shop": inbox})
    (tmp_path / "service.json").write_text(report.model_dump_json())
    assert health.health(tmp_path / "service.json") == 1
    assert capsys.readouterr().out == "inbox shop is unavailable: 8355\\n\\x1b[2J\\u202e.pdf cannot be moved\n"


def test_config_in_a_pipe_has_a_line_for_each_setting(merchant: Merchant) -> None:
    """A long path is not broken, so that a program can read it."""
    merchant.environment["INVOICEDROP_FAILED_DIR"] = folder = f"/srv/{'long/' * 40}failed"
    lines = merchant.run("config").stdout.splitlines()
    (line,) = [line for line in lines if "failed_dir" in line]
    assert folder in line
    assert "environment INVOICEDROP_FAILED_DIR" in line
