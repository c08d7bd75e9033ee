"""`invoicedrop support`: one report for whoever helps: versions, check, status and settings.

Nothing in it is secret, or a customer's: file names may have customers' names, and Channable's words about orders too,
so neither is shown; invoices are counted by what became of them.
"""

import io
import os
import platform
import re
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final

import typer
from rich.console import Console

from invoicedrop import __version__
from invoicedrop.commands import config
from invoicedrop.commands.check import command as check
from invoicedrop.commands.check.finding import Finding
from invoicedrop.errors import ConfigError
from invoicedrop.printable import printable
from invoicedrop.reporting.facts import read_overview
from invoicedrop.reporting.overview import Overview
from invoicedrop.service.status_file import without_quotes
from invoicedrop.settings.load import read_token
from invoicedrop.settings.settings import Settings
from invoicedrop.system.permissions import ourselves

_WIDE: Final = 10_000
_ABOUT_FILES: Final = {
    "waiting files": re.compile(r"(['\"]).*\1"),
    "left alone": re.compile(r"(?<=: ).*"),
    "planted": re.compile(r"^.*(?= has a name of ours)"),
}
"""Which findings of `check` name files, and where in their text."""
_LETTER: Final = re.compile(r"(?i)(?!pdf)[^\W\d_]")
"""A name without one is an order's, or a date."""
_QUOTED: Final = re.compile(r"(['\"]).*\1")
_REASON: Final = re.compile(r"(paused by a person since (?:[\d-]+ )?\d\d:\d\d): .*", re.DOTALL)
_FOR_DEVELOPERS: Final = re.compile(r"extra == .(test|bench|lint)")
_CONTAINERS: Final = (Path("/.dockerenv"), Path("/run/.containerenv"))


def support(settings: Settings) -> None:
    """Print the report, in Markdown, to be read through and then handed on."""
    overview = read_overview(settings)
    sections = {
        "Versions": "\n".join(_versions()),
        "Check": _check(settings),
        "Status": "\n".join(_status(overview)),
        "Settings": _settings(settings),
    }
    text = "\n\n".join(f"### {title}\n\n```\n{body.rstrip()}\n```" for title, body in sections.items())
    typer.echo(_without_secrets(text, settings, overview))


def _versions() -> Iterator[str]:
    yield f"invoicedrop {__version__} in {sys.prefix}"
    yield f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    with suppress(OSError):
        yield platform.freedesktop_os_release().get("PRETTY_NAME", "")
    yield f"{platform.system()} {platform.release()} {platform.machine()}"
    kept_by = "a container engine" if any(place.exists() for place in _CONTAINERS) else "hand"
    yield f"kept by {'systemd' if os.environ.get('INVOCATION_ID') else kept_by}; asked by {ourselves()}"
    needed = [line for line in requires("invoicedrop") or [] if not _FOR_DEVELOPERS.search(line)]
    names = {re.split(r"[^\w-]", line)[0] for line in needed}
    for name in sorted(names, key=str.casefold):
        with suppress(PackageNotFoundError):
            yield f"{name} {version(name)}"


def _check(settings: Settings) -> str:
    output = io.StringIO()
    findings = [_without_files(finding) for finding in check.collect(settings)]
    check.show(findings, Console(file=output, width=_WIDE, highlight=False))
    return output.getvalue()


def _without_files(finding: Finding) -> Finding:
    if finding.subject == "stopped":
        # The reason that a person gave may be about anybody.
        return replace(finding, text=_REASON.sub(r"\1", finding.text))
    named = _ABOUT_FILES.get(finding.subject)
    return finding if named is None else replace(finding, text=named.sub("[file]", finding.text), remedy="")


def _status(overview: Overview) -> Iterator[str]:
    daemon = overview.daemon
    yield f"daemon: running {daemon.running}, report fresh {daemon.is_fresh}{_told(daemon.trouble)}"
    if daemon.report is not None:
        yield f"its version: {daemon.report.version}, last report {daemon.report.age(overview.now):.0f} s ago"
    yield f"ledger: {'there' if overview.ledger_exists else 'none'}{_told(overview.ledger_trouble)}"
    for inbox in overview.inboxes:
        troubles = "".join(_told(words) for words in (inbox.trouble, inbox.paused, inbox.slow))
        yield f"inbox {inbox.name}: {inbox.waiting} waiting{troubles}"
    yield f"in doubt: {sum(file.in_doubt for file in overview.waiting)}"
    yield f"left alone, perhaps meant as invoices: {len(overview.left_alone)}"
    yield f"today: {overview.sent_today} sent, {overview.failed_today} failed"
    yield f"in the failed folders: {overview.failed_total}"
    for reason, count in Counter(file.reason for file in overview.failed).most_common():
        yield f"  {reason}: {count}"
    yield f"accepted, with trouble since: {len(overview.questioned)}"


def _told(words: str | None) -> str:
    return f"; {_QUOTED.sub('[file]', printable(without_quotes(words) or ''))}" if words else ""


def _settings(settings: Settings) -> str:
    output = io.StringIO()
    config.show(settings, Console(file=output, width=_WIDE, highlight=False))
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines())


def _without_secrets(text: str, settings: Settings, overview: Overview) -> str:
    """Take out, wherever it may have come from, each token, and each name of a file that says more than its order."""
    for inbox in settings.inboxes:
        with suppress(ConfigError):
            text = text.replace(read_token(inbox), "[secret]")
    groups = (overview.waiting, overview.left_alone, overview.failed, overview.questioned, overview.sent)
    names = {printable(file.file) for group in groups for file in group if _LETTER.search(file.file)}
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, "[file]")
    return text
