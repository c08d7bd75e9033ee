"""What a page shows, made by hand: an inbox, and an overview of it with something of everything."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from invoicedrop.languages.catalogue import Language
from invoicedrop.reasons import Reason, advice
from invoicedrop.reporting.overview import (
    DaemonState,
    FailedFile,
    FolderOwner,
    InboxState,
    LeftAloneFile,
    Overview,
    QuestionedFile,
    SentFile,
    WaitingFile,
)
from invoicedrop.reporting.page.facts import PageFacts, page_facts
from invoicedrop.service.status_file import InboxReport, Report
from invoicedrop.settings.inbox import Inbox

NOW = 1_795_688_400.0
"""2026-11-26 10:20 UTC."""
DROP = Path("/srv/invoices")


def inbox(language: Language = "en", name: str = "default", **more: Any) -> Inbox:
    """Return an inbox as the settings would."""
    return Inbox(name=name, company_id=1, project_id=2, drop_dir=DROP, language=language, **more)


def failed(name: str, reason: Reason, detail: str = "", *, when: float = NOW - 600) -> FailedFile:
    """Return an invoice in the failed folder."""
    return FailedFile("default", name, None, when, str(reason), *advice(reason), detail, str(DROP / "failed" / name))


def waiting(name: str, why: str = "it waits for its turn", until: float | None = None) -> WaitingFile:
    """Return an invoice in the drop folder."""
    return WaitingFile("default", name, NOW - 300, None, in_doubt=False, why=why, until=until)


def overview(report: InboxReport | None = None, **changes: Any) -> Overview:
    """Return an inbox at work with nothing to tell, but for these changes; `report` is the service's of the inbox."""
    report = report or InboxReport()
    owner = FolderOwner("srv-files", 4711, "2026-11-24 06:00:12 UTC", NOW, ours=True, writer="invoicedrop")
    state = InboxState(
        name="default",
        folder=str(DROP),
        waiting=len(changes.get("waiting", ())),
        trouble=report.unavailable,
        paused=report.paused,
        next_probe=report.next_probe,
        stopped_by=report.stopped_by,
        slow=None,
        seconds=changes.pop("seconds", 0.0),
        owner=owner,
        failed=len(changes.get("failed", ())),
    )
    daemon = DaemonState(True, Report(pid=4711, beat=NOW - 2, interval=5, inboxes={"default": report}), is_fresh=True)
    nothing = Overview(
        now=NOW,
        daemon=daemon,
        ledger_trouble=None,
        ledger_exists=True,
        inboxes=[state],
        waiting=[],
        left_alone=[],
        failed=[],
        failed_total=state.failed,
        questioned=[],
        sent=[],
        today_since=NOW - 10 * 3600,
        sent_today=len(changes.get("sent", ())),
        failed_today=0,
    )
    return replace(nothing, **changes)


def facts(shown: Overview, language: Language = "en", **more: Any) -> PageFacts:
    """Return what the page of a single inbox shows."""
    return page_facts(inbox(language), shown, is_only=True, **more)


def full(report: InboxReport | None = None) -> Overview:
    """Return an inbox with something of everything."""
    return overview(
        report,
        failed=[
            failed(
                "2026_8355.pdf",
                Reason.NAME_AMBIGUOUS,
                'the name was read as order 2026; but 2026 may be a year, and the order be in "_8355"',
            ),
            failed("brief.pdf", Reason.NAME_WITHOUT_ORDER, '"brief" stands where the order number must stand'),
            failed("scan.pdf", Reason.NAME_WITHOUT_ORDER, when=NOW - 90_000),
            failed("8360.pdf", Reason.REFUSED_BY_API, "HTTP 422, file: wrong", when=NOW - 90_000),
        ],
        questioned=[
            QuestionedFile(
                "default", "8301.pdf", 8301, NOW - 7200, 12, "Amazon: Invoice rejected, VAT number is missing"
            )
        ],
        left_alone=[
            LeftAloneFile("default", "8399.docx", "named by an order, but without the ending .pdf", NOW - 4000)
        ],
        waiting=[
            waiting("8371.pdf", "it waits until order 8371 is shipped (not shipped now)", NOW + 1800),
            waiting("8372.pdf", "HTTP 500 (server error): Internal Server Error", NOW + 64),
            *(waiting(f"{number}.pdf") for number in range(8380, 8386)),
        ],
        seconds=754.0,
        sent=[
            SentFile("default", f"{number}.pdf", number, NOW - 60 * number % 9000, number, None)
            for number in range(8340, 8352)
        ],
    )
