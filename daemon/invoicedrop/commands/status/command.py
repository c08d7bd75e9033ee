"""`invoicedrop status`: what waits and why and until when, what failed and why, what Channable has accepted.

With `--json`, one object (times are UTC, ISO 8601, or null; lists hold at most 1000, totals count all):

    daemon    {running: true, false or null (this user may not know), pid, version, last_report, trouble}: `trouble` is
              why its report cannot be read, or null
    ledger    why the ledger cannot be read now, or null
    troubles  [{kind, inbox, since, words, count}]: what is wrong, the worst first; `kind` is one of
              reporting.troubles.TroubleKind, `inbox` is null for the whole service
    inboxes   [{name, folder, waiting, trouble, standby, paused, next_probe, stopped_by, slow, seconds, owner, oldest,
              in_doubt, failed, token_since, unseen}]: `trouble` and `paused` say in words why the folders or the API
              cannot be used now, `standby` which other daemon works on the inbox while this one stands by (process,
              host, since when), `stopped_by` that a person has paused the inbox, or that its first start holds
              what waits, `seconds` is how long the backlog takes at the API's rate, `owner` {host, pid, since,
              last_beat, ours, writer} is the daemon that holds the drop folder (`writer`: the user whose file says so),
              or null, `oldest` is since when the oldest invoice waits, `in_doubt` and `failed` are counts,
              `token_since` is when the token was first seen, `unseen` why this user may not see the folder
    waiting   {total, files: [{inbox, file, since, order_id, in_doubt, why, until}]}
    left_alone  [{inbox, file, why, since}]: what is no invoice, and perhaps meant as one
    failed    {total, files: [{inbox, file, order_id, when, reason, problem, remedy, detail, filed_as}]}: those that
              still lie in the failed folder
    questioned  [{inbox, file, order_id, when, attachment_id, words}]: accepted by Channable, but the order has shown
              trouble within the last 30 days, in these words of Channable or the marketplace
    sent      the last ten: [{inbox, file, order_id, when, attachment_id, filed_as}]
    today     {since, sent, failed}: since midnight, local time
"""

import json
import sys
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console

from invoicedrop import exit_codes
from invoicedrop.commands.status import terminal
from invoicedrop.printable import printable
from invoicedrop.reporting.facts import read_overview
from invoicedrop.reporting.overview import (
    FailedFile,
    InboxState,
    LeftAloneFile,
    Overview,
    QuestionedFile,
    SentFile,
    WaitingFile,
)
from invoicedrop.reporting.troubles import Trouble, troubles_in
from invoicedrop.settings.settings import Settings
from invoicedrop.system.local_time import iso

_TIMES: Final = frozenset({"since", "until", "when", "next_probe", "last_report", "last_beat", "oldest", "token_since"})


def status(settings: Settings, console: Console, *, as_json: bool) -> int:
    """Print the overview; return 0, also if the ledger cannot be read: that is told, and the folders are shown.

    Raises:
        ConfigError: the ledger was written by a newer program.

    """
    overview = read_overview(settings)
    if as_json:
        console.out(json.dumps(_as_json(overview)), highlight=False)
    else:
        terminal.show(overview, settings, console)
    if overview.ledger_trouble is not None:
        sys.stderr.write(f"{printable(overview.ledger_trouble)}\n")
    return exit_codes.OK


def _as_json(overview: Overview) -> dict[str, Any]:
    report = overview.daemon.report
    return {
        "daemon": {
            "running": overview.daemon.running,
            "pid": report.pid if report is not None else None,
            "version": report.version if report is not None else None,
            "last_report": _time(report.beat) if report is not None else None,
            "trouble": overview.daemon.trouble,
        },
        "ledger": overview.ledger_trouble,
        "troubles": [_fields(trouble) for trouble in troubles_in(overview)],
        "inboxes": [_fields(inbox) for inbox in overview.inboxes],
        "waiting": {"total": overview.waiting_total, "files": [_fields(file) for file in overview.waiting]},
        "left_alone": [_fields(file) for file in overview.left_alone],
        "failed": {"total": overview.failed_total, "files": [_fields(file) for file in overview.failed]},
        "questioned": [_fields(file) for file in overview.questioned],
        "sent": [_fields(file) for file in overview.sent],
        "today": {"since": _time(overview.today_since), "sent": overview.sent_today, "failed": overview.failed_today},
    }


def _fields(
    record: Trouble | WaitingFile | LeftAloneFile | FailedFile | QuestionedFile | SentFile | InboxState,
) -> dict[str, Any]:
    return {name: _shown(name, value) for name, value in asdict(record).items()}


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {inner: _shown(inner, item) for inner, item in value.items()}
    return _time(value) if name in _TIMES and not isinstance(value, str) else value


def _time(moment: float | None) -> str | None:
    return None if moment is None else iso(moment)
