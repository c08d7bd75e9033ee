"""How `invoicedrop status` looks on a terminal of 80 columns, or in a mail; what it shows comes from `facts`."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from rich.console import Console

from invoicedrop.commands.output import print_line, print_table
from invoicedrop.reporting.overview import NO_DAEMON, InboxState, Overview
from invoicedrop.reporting.troubles import TroubleKind, troubles_in
from invoicedrop.reporting.wording import counted
from invoicedrop.settings.settings import Settings
from invoicedrop.system.local_time import local, minute

_MAX_ROWS: Final = 20
_NOWHERE_ELSE: Final = frozenset({TroubleKind.REPORTING, TroubleKind.TOKEN_AGE})
"""The kinds of trouble that no other line here tells of."""
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400
_line = partial(print_line, folded_in_pipe=True)


def show(overview: Overview, settings: Settings, console: Console) -> None:
    """Print the overview, what waits first."""
    several = len(settings.inboxes) > 1
    _line(console, _daemon(overview))
    for trouble in troubles_in(overview):
        if trouble.kind in _NOWHERE_ELSE:
            _line(console, (f"{trouble.sentence}.", "yellow"))
    _waiting(overview, console, several=several)
    _left_alone(overview, console, several=several)
    if overview.ledger_trouble is None and not overview.ledger_exists:
        _line(console, "Nothing was done yet: there is no ledger.")
        return
    _failed(overview, console, several=several)
    _questioned(overview, console, several=several)
    if overview.sent:
        _line(console)
        _line(console, ("Last accepted by Channable", "bold green"))
        rows = [
            (file.inbox, file.file, str(file.order_id or ""), clock(file.when, overview.now)) for file in overview.sent
        ]
        _table(console, ("file", "order", "when"), rows, several=several)
    _line(console)
    if overview.ledger_trouble is None:
        _line(console, f"Today: {overview.sent_today} sent, {overview.failed_today} failed.")


def _daemon(overview: Overview) -> tuple[str, str]:
    daemon = overview.daemon
    if daemon.running is None:
        why = f": {daemon.trouble}" if daemon.trouble else ""
        return f"Whether a daemon is running cannot be told by this user{why}.", "yellow"
    if not daemon.running:
        rest = ": what waits stays until one is started (invoicedrop run)" if overview.waiting_total else ""
        return f"No daemon is running{rest}.", "yellow" if overview.waiting_total else ""
    if daemon.trouble is not None:
        return f"A daemon is running, but what it reports is unknown: {daemon.trouble}.", "yellow"
    if daemon.report is None:
        return "The daemon is starting.", ""
    who = f"process {daemon.report.pid}, version {daemon.report.version}"
    if not daemon.is_fresh:
        silence = span(abs(daemon.report.age(overview.now)))
        return f"The daemon is running ({who}), but has said nothing for {silence}.", "yellow"
    return f"The daemon is running ({who}).", ""


def _waiting(overview: Overview, console: Console, *, several: bool) -> None:
    _line(console)
    total = overview.waiting_total
    unknown = any(inbox.trouble or inbox.unseen for inbox in overview.inboxes)
    nothing = "Waiting: unknown" if unknown else "Nothing waits"
    _line(console, (f"Waiting: {counted(total, 'invoice')}" if total else nothing, "bold"))
    for inbox in overview.inboxes:
        _inbox(inbox, overview, console, several=several)
    if not total:
        return
    # A reason that all have is shown once, above.
    shown_above = {
        NO_DAEMON,
        *(inbox.trouble for inbox in overview.inboxes),
        *(inbox.paused for inbox in overview.inboxes),
        *(inbox.stopped_by for inbox in overview.inboxes),
    }
    rows: list[tuple[str, ...]] = []
    for file in overview.waiting[:_MAX_ROWS]:
        why = "" if file.why in shown_above else file.why + until_words(file.until, overview.now)
        rows.append((file.inbox, file.file, clock(file.since, overview.now), why))
    if not any(row[-1] for row in rows):
        rows = [row[:-1] for row in rows]
    _table(console, ("file", "since", "why"), rows, several=several)
    if total > len(rows):
        _line(console, f"and {total - len(rows)} more")


def _left_alone(overview: Overview, console: Console, *, several: bool) -> None:
    if not overview.left_alone:
        return
    _line(console)
    _line(console, ("Left alone, perhaps meant as invoices", "bold yellow"))
    files = overview.left_alone
    rows = [
        (file.inbox, file.file, "" if file.since is None else clock(file.since, overview.now), file.why)
        for file in files[:_MAX_ROWS]
    ]
    _table(console, ("file", "since", "why"), rows, several=several)
    if len(files) > len(rows):
        _line(console, f"and {len(files) - len(rows)} more")


def _inbox(inbox: InboxState, overview: Overview, console: Console, *, several: bool) -> None:
    name = f"{inbox.name}: " if several else ""
    if inbox.owner is not None and not inbox.owner.ours:
        who = f"process {inbox.owner.pid} on {inbox.owner.host}, since {inbox.owner.since}"
        beat = clock(inbox.owner.last_beat, overview.now)
        line = (
            f"  {name}the drop folder is another invoicedrop's ({who}; last sign of life {beat}; "
            f"the file is {inbox.owner.writer}'s)"
        )
        _line(console, (line, "yellow"))
    if inbox.standby:
        _line(console, f"  {name}stands by: {inbox.standby}, works on it")
    if inbox.stopped_by:
        _line(console, (f"  {name}{inbox.stopped_by}", "bold yellow"))
    if inbox.unseen:
        _line(console, (f"  {name}this user may not see it: {inbox.unseen}", "yellow"))
    if inbox.trouble:
        _line(console, (f"  {name}cannot go on: {inbox.trouble}", "bold red"))
    if inbox.paused:
        _line(console, (f"  {name}paused: {inbox.paused}{until_words(inbox.next_probe, overview.now)}", "bold yellow"))
    if inbox.slow:
        _line(console, (f"  {name}{inbox.slow}", "yellow"))
    if inbox.waiting and inbox.seconds is not None:
        halted = inbox.trouble or inbox.paused or inbox.stopped_by or not overview.daemon.running
        takes = f"takes about {span(inbox.seconds)}" if inbox.seconds >= 1 else "can go at once"
        _line(console, f"  {name}{'Once it goes on, all' if halted else 'All'} of it {takes} at the API's rate.")


def _failed(overview: Overview, console: Console, *, several: bool) -> None:
    if not overview.failed_total:
        return
    _line(console)
    _line(console, (f"Failed: {counted(overview.failed_total, 'invoice')}", "bold red"))
    rows = [
        (file.inbox, file.file, clock(file.when, overview.now), file.problem) for file in overview.failed[:_MAX_ROWS]
    ]
    _table(console, ("file", "since", "what is wrong"), rows, several=several)
    if overview.failed_total > len(rows):
        _line(console, f"and {overview.failed_total - len(rows)} more")
    _line(console, "Beside each, in the failed folder, a .reason.txt says what to do.")


def _questioned(overview: Overview, console: Console, *, several: bool) -> None:
    files = overview.questioned
    if not files:
        return
    _line(console)
    _line(console, (f"Accepted, but trouble is reported: {counted(len(files), 'invoice')}", "bold red"))
    rows = [
        (file.inbox, file.file, str(file.order_id or ""), clock(file.when, overview.now), file.words)
        for file in files[:_MAX_ROWS]
    ]
    _table(console, ("file", "order", "when", "what the order says"), rows, several=several)
    if len(files) > len(rows):
        _line(console, f"and {len(files) - len(rows)} more")
    _line(console, "Look at these orders in Channable. Nothing was moved; each is shown here for 30 days.")


def _table(console: Console, titles: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, several: bool) -> None:
    """Print rows that begin with the inbox, which is shown where there are several."""
    first = 0 if several else 1
    shown = ("inbox", *titles)[: len(rows[0])] if rows else ()
    print_table(
        console,
        shown[first:],
        [row[first:] for row in rows],
        foldable={"why", "what is wrong", "what the order says"},
        folded_in_pipe=True,
    )


def until_words(moment: float | None, now: float) -> str:
    """Return when something is tried again, for the end of a sentence; nothing if that is not known."""
    if moment is None:
        return ""
    return f" (next try in {span(moment - now)})" if moment > now else " (next try now)"


def clock(moment: float, now: float) -> str:
    """Write a moment (seconds since the epoch) in local time: the hour alone if it is of the day of `now`."""
    shown = local(moment)
    return f"{shown:%H:%M:%S}" if shown.date() == local(now).date() else minute(moment)


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
