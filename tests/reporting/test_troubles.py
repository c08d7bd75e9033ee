import time
from typing import Any

import pytest

from invoicedrop.errors import FolderUnavailable, LedgerUnavailable, PauseCause
from invoicedrop.reporting.overview import DaemonState, FailedFile, InboxState, Overview, QuestionedFile
from invoicedrop.reporting.troubles import Trouble, TroubleKind, is_at_work, service_troubles, troubles_in
from invoicedrop.service.status_file import InboxReport, Report
from invoicedrop.timing import DEFAULT_TIMING

NOW = time.time()
DAY = 86_400.0


def _daemon(*, running: bool | None = True, is_fresh: bool = True, **inbox: Any) -> DaemonState:
    report = Report(pid=7, beat=NOW - 600.0 * (not is_fresh), interval=5.0, inboxes={"shop": InboxReport(**inbox)})
    return DaemonState(running, report, is_fresh)


def _overview(daemon: DaemonState | None = None, *, in_failed: int = 0, **changes: Any) -> Overview:
    inbox = {"name": "shop", "folder": "/srv", "waiting": 2, "failed": in_failed} | dict.fromkeys(
        ("trouble", "paused", "next_probe", "stopped_by", "slow", "seconds", "owner")
    )
    values: dict[str, Any] = {
        "now": NOW,
        "daemon": daemon or _daemon(),
        "ledger_trouble": None,
        "ledger_exists": True,
        "waiting": [],
        "left_alone": [],
        "failed": [],
        "failed_total": 0,
        "questioned": [],
        "sent": [],
        "today_since": NOW,
        "sent_today": 0,
        "failed_today": 0,
    }
    states = {name: changes.pop(name) for name in list(changes) if name not in values}
    return Overview(**values | changes, inboxes=[InboxState(**inbox | states)])


def _kinds(overview: Overview) -> list[TroubleKind]:
    return [trouble.kind for trouble in troubles_in(overview)]


def test_where_all_is_well_there_is_no_trouble() -> None:
    """A service that beats, and invoices that wait for their turn, are no trouble."""
    assert troubles_in(_overview(oldest=NOW - 60)) == []


@pytest.mark.parametrize("cause", [cause for cause in PauseCause if cause is not PauseCause.RATE_LIMIT])
@pytest.mark.parametrize("field", ["paused", "unavailable"])
def test_what_holds_up_everybody_is_trouble_of_its_kind(field: str, cause: PauseCause) -> None:
    """Whatever keeps an inbox from sending is told by its cause, with the words and the time, and stops work."""
    daemon = _daemon(**{field: "why", f"{field}_cause": cause, f"{field}_since": NOW - 5})
    assert troubles_in(_overview(daemon)) == [Trouble(TroubleKind[cause.name], "shop", NOW - 5, f"is {field}: why")]
    assert not is_at_work(troubles_in(_overview(daemon)))


def test_a_wait_for_the_rate_limit_is_no_trouble() -> None:
    """A company whose rate limit is used up is at work, only not faster."""
    assert troubles_in(_overview(_daemon(paused="429", paused_cause="rate limit"))) == []


@pytest.mark.parametrize("cause", [None, "what a later version knows"])
def test_a_cause_that_is_not_known_is_told_all_the_same(cause: str | None) -> None:
    """A report of another version, with a cause that is missing or unknown, is trouble of the nearest kind."""
    daemon = _daemon(paused="why", paused_cause=cause, unavailable="gone", unavailable_cause=cause)
    assert _kinds(_overview(daemon)) == [TroubleKind.OUTAGE, TroubleKind.FOLDER]


@pytest.mark.parametrize(
    ("daemon", "kind"),
    [
        (DaemonState(running=False, report=None, is_fresh=False), TroubleKind.STOPPED),
        (DaemonState(running=None, report=None, is_fresh=False, trouble="unreadable"), TroubleKind.STOPPED),
        (_daemon(running=None, is_fresh=False), TroubleKind.HANGS),
        (_daemon(running=True, is_fresh=False), TroubleKind.HANGS),
        (_daemon(running=False, is_fresh=False), TroubleKind.STOPPED),
    ],
    ids=["stopped", "unreadable", "hangs, perhaps dead", "hangs", "killed"],
)
def test_a_service_that_does_not_go_round_is_not_at_work(daemon: DaemonState, kind: TroubleKind) -> None:
    """One that is not there, and one that is silent, are told apart, and neither is at work."""
    found = list(service_troubles(daemon, NOW))
    assert [trouble.kind for trouble in found] == [kind]
    assert not is_at_work(found)


def test_what_waits_too_long_is_trouble_unless_a_person_holds_it() -> None:
    """An invoice older than the limit is trouble that does not stop work; one at the limit is none."""
    limit = NOW - DEFAULT_TIMING.longest_wait
    assert _kinds(_overview(oldest=limit)) == []
    found = troubles_in(_overview(oldest=limit - 1))
    assert [(trouble.kind, trouble.since, trouble.count) for trouble in found] == [(TroubleKind.WAITING, limit - 1, 2)]
    assert is_at_work(found)
    held = troubles_in(_overview(_daemon(stopped_by="paused by a person since 14:32: stocktaking"), oldest=limit - 1))
    assert [trouble.sentence for trouble in held] == ["inbox shop is paused by a person since 14:32: stocktaking"]
    assert not held[0].kind.is_alarm


def test_what_a_person_has_paused_is_no_alarm() -> None:
    """An inbox that a person holds is told as that, is at work, and what waits in it has nobody to wait for."""
    daemon = _daemon(stopped_by="paused by a person since 09:03")
    (held,) = troubles_in(_overview(daemon, oldest=NOW - 10 * DAY))
    assert (held.kind, held.sentence) == (TroubleKind.HELD, "inbox shop is paused by a person since 09:03")
    assert is_at_work([held])
    assert not held.kind.is_alarm


def test_of_an_inbox_that_another_machine_works_on_that_one_tells() -> None:
    """Its invoices that wait and that failed are no news of the daemon that stands by: nobody is told twice."""
    assert troubles_in(_overview(oldest=NOW - 1e6, in_failed=5, standby="process 7 on alpha")) == []


def test_failed_and_questioned_invoices_are_counted() -> None:
    """What failed, and what the order complains of, is told with its number and the time of the last one."""
    failed = [
        FailedFile("shop", f"{n}.pdf", n, NOW - n, "damaged", "p", "r", "Jan Jansen", f"/f/{n}.pdf") for n in range(3)
    ]
    questioned = [QuestionedFile("shop", "9.pdf", 9, NOW - 7, 1, "refused for Jan Jansen")]
    found = troubles_in(_overview(failed=failed, questioned=questioned, in_failed=5))
    assert [(trouble.kind, trouble.since, trouble.count) for trouble in found] == [
        (TroubleKind.FAILED, NOW, 5),
        (TroubleKind.QUESTIONED, NOW - 7, 1),
    ]
    assert is_at_work(found)
    assert "Jan" not in "".join(trouble.sentence for trouble in found)


def test_a_token_is_told_of_a_month_before_its_year_is_over() -> None:
    """A token first seen 11 months ago is trouble, one of ten months is none, and one of a year may have expired."""
    assert _kinds(_overview(token_since=NOW - 334 * DAY)) == []
    (soon,) = troubles_in(_overview(token_since=NOW - 336 * DAY))
    assert (soon.kind, is_at_work([soon])) == (TroubleKind.TOKEN_AGE, True)
    assert "in about 29 days" in soon.words
    (late,) = troubles_in(_overview(token_since=NOW - 366 * DAY))
    assert "may expire" in late.words


def test_who_cannot_be_told_is_told_of_elsewhere() -> None:
    """A way of telling that does not work is trouble for all the other ways, and stops no work."""
    daemon = _daemon()
    assert daemon.report is not None
    daemon.report.reporting["notify"] = "address 1 (mailto): no answer"
    (found,) = troubles_in(_overview(daemon))
    assert (found.kind, found.sentence) == (TroubleKind.REPORTING, "notify: address 1 (mailto): no answer")
    assert is_at_work([found])


def test_a_full_disk_is_told_from_a_folder_that_is_gone() -> None:
    """ENOSPC and a used-up quota, beneath the folders or the ledger, are a full disk; any other error is not."""
    for number, cause in ((28, PauseCause.DISK), (122, PauseCause.DISK), (5, PauseCause.FOLDER)):
        error = FolderUnavailable("it cannot be written")
        error.__cause__ = OSError(number, "why")
        assert error.cause is cause
    assert LedgerUnavailable("why").cause is PauseCause.LEDGER
