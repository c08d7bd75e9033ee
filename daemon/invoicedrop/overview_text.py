"""How `invoicedrop status` looks on a terminal of 80 columns; what it tells is `overview_facts`'s business.

File names and the API's words are shown literally: they are never read as markup, and their control characters never
reach the terminal.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from invoicedrop.config_sources import printable
from invoicedrop.overview_facts import InboxState, Overview
from invoicedrop.settings import Settings

_SHOWN: Final = 20
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400


def show(found: Overview, settings: Settings, console: Console) -> None:
    """Print the overview, what waits first."""
    several = len(settings.inboxes) > 1
    _say(console, *_daemon(found))
    _waiting(found, console, several=several)
    if found.ledger_trouble is None and not found.ledger_exists:
        _say(console, "Nothing was done yet: there is no ledger.")
        return
    _failed(found, console, several=several)
    if found.sent:
        _say(console, "")
        _say(console, "Last sent", style="bold green")
        _table(
            console,
            ("file", "order", "when"),
            ((one.inbox, one.file, str(one.order_id or ""), clock(one.when, found.now)) for one in found.sent),
            several=several,
        )
    _say(console, "")
    _say(console, f"Today: {found.sent_today} sent, {found.failed_today} failed.")


def _daemon(found: Overview) -> tuple[str, str]:
    running, report, fresh = found.alive
    if running is None:
        return "Whether a daemon is running cannot be told by this user.", "yellow"
    if not running:
        rest = ": what waits stays until one is started (invoicedrop run)" if found.waiting_total else ""
        return f"No daemon is running{rest}.", "yellow" if found.waiting_total else ""
    if report is None:
        return "The daemon is starting.", ""
    who = f"process {report.pid}, version {report.version}"
    if not fresh:
        return f"The daemon is running ({who}), but has said nothing for {span(found.now - report.beat)}.", "yellow"
    return f"The daemon is running ({who}).", ""


def _waiting(found: Overview, console: Console, *, several: bool) -> None:
    _say(console, "")
    total = found.waiting_total
    _say(console, f"Waiting: {_counted(total, 'invoice')}" if total else "Nothing waits", style="bold")
    for inbox in found.inboxes:
        _inbox(inbox, found, console, several=several)
    if not total:
        return
    # A reason that all have is told once, above.
    told = {inbox.trouble for inbox in found.inboxes} | {inbox.paused for inbox in found.inboxes}
    rows = [
        (
            one.inbox,
            one.file,
            clock(one.since, found.now),
            "" if one.why in told else one.why + _until(one.until, found.now),
        )
        for one in found.waiting[:_SHOWN]
    ]
    _table(console, ("file", "since", "why"), rows, several=several)
    if total > len(rows):
        _say(console, f"and {total - len(rows)} more")


def _inbox(inbox: InboxState, found: Overview, console: Console, *, several: bool) -> None:
    name = f"{inbox.name}: " if several else ""
    if inbox.trouble:
        _say(console, f"  {name}cannot go on: {inbox.trouble}", style="bold red")
    if inbox.paused:
        again = _until(inbox.next_probe, found.now)
        _say(console, f"  {name}paused: {inbox.paused}{again}", style="bold yellow")
    if inbox.waiting and inbox.seconds is not None:
        halted = inbox.trouble or inbox.paused or not found.alive.running
        once = "Once it goes on, all" if halted else "All"
        how_long = f"takes about {span(inbox.seconds)}" if inbox.seconds >= 1 else "can go at once"
        _say(console, f"  {name}{once} of it {how_long} at the API's rate.")


def _failed(found: Overview, console: Console, *, several: bool) -> None:
    if not found.failed_total:
        return
    _say(console, "")
    _say(console, f"Failed: {_counted(found.failed_total, 'invoice')}", style="bold red")
    rows = [(one.inbox, one.file, clock(one.when, found.now), one.problem) for one in found.failed[:_SHOWN]]
    _table(console, ("file", "since", "what is wrong"), rows, several=several)
    if found.failed_total > len(rows):
        _say(console, f"and {found.failed_total - len(rows)} more")
    _say(console, "Beside each, in the failed folder, a .reason.txt says what to do.")


def _table(console: Console, titles: Sequence[str], rows: Iterable[tuple[str, ...]], *, several: bool) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("inbox", *titles) if several else titles:
        table.add_column(title, overflow="fold", no_wrap=title in {"since", "when"})
    for inbox, *cells in rows:
        table.add_row(*(Text(printable(cell)) for cell in ((inbox, *cells) if several else cells)))
    console.print(table)


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(printable(text), style=style))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _until(moment: float | None, now: float) -> str:
    if moment is None:
        return ""
    return f" (next try in {span(moment - now)})" if moment > now else " (next try now)"


def clock(moment: float, now: float) -> str:
    """Write a moment (seconds since the epoch) in local time: the hour alone if it is of the day of `now`."""
    local = datetime.fromtimestamp(moment).astimezone()
    today = datetime.fromtimestamp(now).astimezone().date()
    return local.strftime("%H:%M:%S" if local.date() == today else "%Y-%m-%d %H:%M")


def span(seconds: float) -> str:
    """Write a length of time as people say it, rounded up: "40 s", "12 min", "3 h 20 min", "2 days"."""
    whole = int(-(-seconds // 1))
    if whole <= 2 * _MINUTE:
        return f"{whole} s"
    minutes = -(-whole // _MINUTE)
    if whole <= 2 * _HOUR:
        return f"{minutes} min"
    if whole <= 2 * _DAY:
        hours, rest = divmod(minutes, 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{-(-whole // _DAY)} days"
