"""`invoicedrop check`: tests the whole set-up and shows what is right, what is wrong, and how to mend it.

Everything is collected as data first, and then shown. The daemon is left alone: its lock is not taken, and no file is
touched but our own trial files.
"""

import os
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from typing import Final

from rich.console import Console

from invoicedrop import exit_codes
from invoicedrop.commands.check import folders, left_alone, network, status_page, stops, tokens
from invoicedrop.commands.check.finding import Finding, Level
from invoicedrop.commands.check.ledger import ledger_problem, of_ledger
from invoicedrop.commands.output import Cell, print_line, print_table
from invoicedrop.errors import CheckUnavailable, LedgerUnavailable
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.ledger.stops import Stop
from invoicedrop.pdf.validator import Validator
from invoicedrop.reporting.asker import is_another, user_of_service
from invoicedrop.reporting.daemon import read_daemon
from invoicedrop.reporting.wording import counted
from invoicedrop.service import lock
from invoicedrop.service.inbox_stops import stopped
from invoicedrop.service.ledger_place import key_of
from invoicedrop.service.service import new_validator
from invoicedrop.service.status_file import InboxReport
from invoicedrop.settings.inbox import Inbox
from invoicedrop.settings.settings import Settings
from invoicedrop.system import permissions

_STYLES: Final = {
    Level.OK: "green",
    Level.NOTE: "cyan",
    Level.UNSEEN: "magenta",
    Level.WARNING: "yellow",
    Level.PROBLEM: "bold red",
}


def check(settings: Settings, console: Console) -> int:
    """Test the set-up and print a table of the findings.

    Return 1 if one is a problem, 75 if this user may not see all that the service would, else 0.
    """
    findings = collect(settings)
    show(findings, console)
    levels = {finding.level for finding in findings}
    if Level.PROBLEM in levels:
        return exit_codes.FAILED
    return exit_codes.TRY_LATER if Level.UNSEEN in levels else exit_codes.OK


def collect(settings: Settings) -> list[Finding]:
    """Test everything and return the findings, those of each inbox's folders first."""
    with closing(new_validator(settings)) as validator, ExitStack() as opened:
        # Its process starts while we look at the folders.
        with suppress(CheckUnavailable):
            validator.warm_up()
        findings = _user(settings)
        ledger, ledger_findings = of_ledger(settings, opened)
        reports = _reports(settings)
        known_stops = _stopped(ledger)
        for inbox in settings.inboxes:
            report = reports.get(inbox.name)
            put_off = None if report is None else report.put_off
            identity = _identity(ledger, inbox)
            findings += folders.of_inbox(inbox, state_dir=settings.state_dir, ledger=identity, put_off=put_off)
            findings += left_alone.of_inbox(inbox, settings.own_paths)
            findings += status_page.of_inbox(inbox)
            # Who cannot read the ledger does not know whether a start would be the first.
            if known_stops is not None and all(finding.level is not Level.PROBLEM for finding in ledger_findings):
                findings += _stops(inbox, ledger, known_stops.get(inbox.name))
        findings += stops.of_no_inbox(settings.inboxes, known_stops or {})
        findings += folders.of_state(settings.state_dir)
        findings += [Finding("settings", "", Level.WARNING, warning) for warning in settings.warnings]
        findings.append(_pdf_check(validator))
        for inbox in settings.inboxes:
            findings += tokens.in_use(inbox, reports)
        findings += _ledger_and_network(settings, ledger, ledger_findings)
        return [_for_another(finding) for finding in findings] if is_another(settings) else findings


def _for_another(finding: Finding) -> Finding:
    """Return a finding as it counts where another user's service is checked: our own rights say nothing of its."""
    if finding.level is Level.PROBLEM and finding.by_rights:
        return replace(finding, level=Level.UNSEEN, remedy="")
    return finding


def _pdf_check(validator: Validator) -> Finding:
    """Judge what confines the processes that read PDFs."""
    subject = "PDF check"
    try:
        shortcoming = validator.confinement().shortcoming
    except CheckUnavailable as error:
        remedy = "see that memory and processes are left for us, and that the installation is whole"
        return Finding(subject, "", Level.PROBLEM, str(error), remedy)
    if not shortcoming:
        return Finding(subject, "", Level.OK, "PDFs are read in a process that Landlock and seccomp confine")
    remedy = (
        "run Linux 5.13 or newer with landlock in /sys/kernel/security/lsm (boot option lsm=), and a container with a "
        "seccomp profile that lets landlock_* and seccomp through"
    )
    return Finding(subject, "", Level.WARNING, shortcoming, remedy)


def _identity(ledger: Ledger | None, inbox: Inbox) -> str | None:
    """Return what the inbox's owner file calls our ledger; None where it cannot be read: that is told below."""
    with suppress(LedgerUnavailable):
        return None if ledger is None else ledger.identity_of(key_of(inbox))
    return None


def _stopped(ledger: Ledger | None) -> Mapping[str, Stop] | None:
    """Return what is stopped; None where the ledger cannot be read: that is told below."""
    with suppress(LedgerUnavailable):
        return {} if ledger is None else stopped(ledger)
    return None


def _stops(inbox: Inbox, ledger: Ledger | None, stop: Stop | None) -> list[Finding]:
    """Tell why an inbox is stopped, or will be at the first start; that the ledger cannot be read is told below."""
    with suppress(LedgerUnavailable):
        return list(stops.of_inbox(inbox, ledger, stop, time.time()))
    return []


def _reports(settings: Settings) -> dict[str, InboxReport]:
    """Return what a running service reports of its inboxes; what cannot be believed is nothing."""
    daemon = read_daemon(settings.status_file, time.time(), state_dir=settings.state_dir)
    return {} if daemon.report is None or not daemon.is_fresh else daemon.report.inboxes


def _user(settings: Settings) -> list[Finding]:
    """Judge the user that this check runs as: rights tested by another user than the service's prove nothing."""
    uid = os.geteuid()
    owner = user_of_service(settings)
    if owner is not None and owner != uid:
        name = permissions.user_name(owner)
        return [
            Finding(
                "user",
                "",
                Level.WARNING,
                f"this check runs as {permissions.ourselves()}, but {settings.state_dir} belongs to {name}: "
                "what is said of rights below is not true for the service",
                f"sudo invoicedrop check (where the systemd unit is at work), or sudo -u {name} invoicedrop check",
            )
        ]
    level, comment = (Level.NOTE, ", who may do everything") if uid == 0 else (Level.OK, "")
    return [Finding("user", "", level, f"we run as {permissions.ourselves()}{comment}")]


def _ledger_and_network(settings: Settings, ledger: Ledger | None, of_ledger: list[Finding]) -> list[Finding]:
    running = {True: "a daemon is running", False: "no daemon is running", None: "whether a daemon runs cannot be told"}
    daemon = Finding("daemon", "", Level.NOTE, running[lock.is_held(settings.state_dir)])
    try:
        return [*of_ledger, daemon, *network.of_inboxes(settings.inboxes, ledger)]
    except LedgerUnavailable as error:
        return [ledger_problem(error), daemon, *network.of_inboxes(settings.inboxes, None)]


def show(findings: list[Finding], console: Console) -> None:
    """Print findings as a table, and below it what is to be mended."""
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
    if counts[Level.UNSEEN]:
        print_line(console, f"{counted(counts[Level.UNSEEN], 'thing')} could not be seen by this user.")
    problems, warnings = counts[Level.PROBLEM], counts[Level.WARNING]
    if problems or warnings:
        print_line(console, f"{counted(problems, 'problem')}, {counted(warnings, 'warning')}.")
    elif not counts[Level.UNSEEN]:
        print_line(console, ("Everything is right.", "green"))
