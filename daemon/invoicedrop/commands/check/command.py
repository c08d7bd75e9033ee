"""`invoicedrop check`: tries out the whole set-up and says what is right, what is wrong, and how to mend it.

First everything is found out, as data; only then it is shown. Nothing of the daemon's is touched: neither its lock nor
any file but trial files of our own.
"""

import os
import stat
from collections import Counter
from pathlib import Path
from typing import Final

from rich.console import Console

from invoicedrop import exit_codes
from invoicedrop.commands import access
from invoicedrop.commands.check import folders, network
from invoicedrop.commands.check.finding import Finding, Level
from invoicedrop.commands.output import Cell, counted, print_line, print_table
from invoicedrop.errors import ConfigError, LedgerUnavailable
from invoicedrop.service import lock
from invoicedrop.settings.models import Settings
from invoicedrop.system import permissions

_STYLES: Final = {Level.OK: "green", Level.NOTE: "cyan", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}


def check(settings: Settings, console: Console) -> int:
    """Try out the set-up and print a table of the findings; return 1 if a problem is among them, else 0."""
    findings = find_out(settings)
    _show(findings, console)
    return exit_codes.FAILED if any(finding.level is Level.PROBLEM for finding in findings) else exit_codes.OK


def find_out(settings: Settings) -> list[Finding]:
    """Try out everything and return what was found out, each inbox's folders first."""
    findings = _user(settings)
    for inbox in settings.inboxes:
        findings += folders.of_inbox(inbox)
    findings += folders.of_state(settings.state_dir)
    findings += [Finding("settings", "", Level.WARNING, warning) for warning in settings.warnings]
    return findings + _ledger_and_network(settings)


def _user(settings: Settings) -> list[Finding]:
    """Say as whom this check runs: rights tried out by another user than the service's prove nothing."""
    us = os.geteuid()
    owner = _owner(settings.state_dir)
    if owner is not None and owner != us:
        name = permissions.user_name(owner)
        return [
            Finding(
                "user",
                "",
                Level.WARNING,
                f"this check runs as {permissions.ourselves()}, but {settings.state_dir} belongs to {name}: "
                "what is said of rights below is not true for the service",
                f"sudo -u {name} invoicedrop check",
            )
        ]
    level, more = (Level.NOTE, ", who may do everything") if us == 0 else (Level.OK, "")
    return [Finding("user", "", level, f"we run as {permissions.ourselves()}{more}")]


def _owner(state_dir: Path) -> int | None:
    """Return whose the service's memory is; None where there is none yet in a folder that is anybody's (1777)."""
    try:
        found = state_dir.stat()
        return (state_dir / access.LEDGER).stat().st_uid if found.st_mode & stat.S_ISVTX else found.st_uid
    except OSError:
        return None


def _ledger_and_network(settings: Settings) -> list[Finding]:
    running = {True: "a daemon is running", False: "no daemon is running", None: "whether a daemon runs cannot be told"}
    daemon = Finding("daemon", "", Level.NOTE, running[lock.is_held(settings.state_dir)])
    try:
        with access.existing_ledger(settings) as ledger:
            text = "none yet: it is made at the first start" if ledger is None else f"{ledger.path} can be used"
            findings = [Finding("ledger", "", Level.OK, text), daemon]
            return findings + network.of_inboxes(settings.inboxes, ledger)
    except (LedgerUnavailable, ConfigError) as error:
        bad = Finding("ledger", "", Level.PROBLEM, str(error))
        return [bad, daemon, *network.of_inboxes(settings.inboxes, None)]


def _show(findings: list[Finding], console: Console) -> None:
    several = len({finding.inbox for finding in findings if finding.inbox}) > 1
    titles = ("", "inbox", "what", "found") if several else ("", "what", "found")
    rows: list[tuple[Cell, ...]] = []
    for finding in findings:
        level = (str(finding.level), _STYLES[finding.level])
        inbox = (finding.inbox,) if several else ()
        rows.append((level, *inbox, finding.subject, finding.text))
    print_table(console, titles, rows, foldable={"found"})
    print_line(console)
    to_mend = [finding for finding in findings if finding.remedy]
    if to_mend:
        print_line(console, ("To mend:", "bold"))
    for finding in to_mend:
        where = f" (inbox {finding.inbox})" if several and finding.inbox else ""
        print_line(console, "  ", (str(finding.level), _STYLES[finding.level]), f" {finding.subject}{where}:")
        print_line(console, f"    {finding.remedy}", unbroken=True)
    counts = Counter(finding.level for finding in findings)
    problems, warnings = counts[Level.PROBLEM], counts[Level.WARNING]
    if problems or warnings:
        print_line(console, f"{counted(problems, 'problem')}, {counted(warnings, 'warning')}.")
    else:
        print_line(console, ("Everything is right.", "green"))
