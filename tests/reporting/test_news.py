import time
from dataclasses import replace
from typing import Any

import pytest

import page_facts
from invoicedrop.languages.catalogue import Language, catalogue
from invoicedrop.reporting.notify.news import Message, Told, news_for
from invoicedrop.reporting.notify.sightings import Sightings
from invoicedrop.reporting.overview import DaemonState, FailedFile, Overview
from invoicedrop.reporting.troubles import Trouble, TroubleKind
from invoicedrop.reporting.watch import Picture
from invoicedrop.service.status_file import InboxReport
from invoicedrop.timing import DEFAULT_TIMING

HOUR = 3600.0
NOW = time.time()


class Person:
    """Somebody who is told, on a clock of their own; every message gets out."""

    def __init__(self, language: Language = "en") -> None:
        self.words = catalogue(language)
        self.now = NOW
        self.clock = 0.0
        self.told = Told(failed=NOW, questioned=NOW)
        self.sightings = Sightings({}, DEFAULT_TIMING.well_after)
        self.messages: list[Message] = []
        self.standby: str | None = None

    def sees(self, *troubles: Trouble, failed: int = 0, after: float = 10.0) -> list[str]:
        """See these troubles for so many seconds, and so many invoices that failed just now; return what is told."""
        self.now += after
        self.clock += after
        files = [
            FailedFile("shop", f"Jan {n}.pdf", n, self.now - 1e-3 * n, "damaged", "", "", "", "") for n in range(failed)
        ]
        state = DaemonState(running=True, report=None, is_fresh=False)
        picture = Picture(self.now, state, _overview(files, self.standby), troubles)
        going_on = self.sightings.note(troubles, self.now, self.clock)
        message, self.told = news_for(
            self.told, picture, going_on, self.sightings, after=HOUR, timing=DEFAULT_TIMING, words=self.words
        )
        if message is None:
            return []
        self.messages.append(message)
        return message.title.partition(": ")[2].split(", ")

    def starts_again(self) -> None:
        """The service is started again: what was written down is read."""
        self.told = Told.model_validate_json(self.told.model_dump_json())
        self.sightings = Sightings(dict(self.sightings.since), DEFAULT_TIMING.well_after)


def _overview(failed: list[FailedFile], standby: str | None) -> Overview:
    nothing: dict[str, Any] = {name: [] for name in ("waiting", "left_alone", "questioned", "sent")}
    numbers = dict.fromkeys(("failed_total", "sent_today", "failed_today"), 0)
    state = DaemonState(running=True, report=None, is_fresh=False)
    return Overview(
        now=NOW,
        daemon=state,
        ledger_trouble=None,
        ledger_exists=True,
        failed=failed,
        inboxes=[replace(page_facts.overview(InboxReport()).inboxes[0], name="shop", standby=standby)],
        today_since=NOW,
        **nothing,
        **numbers,
    )


def _trouble(kind: TroubleKind, inbox: str | None = "shop") -> Trouble:
    return Trouble(kind, inbox, None, f"is in trouble: {kind}")


TOKEN, OUTAGE, FOLDER = (_trouble(kind) for kind in (TroubleKind.TOKEN, TroubleKind.OUTAGE, TroubleKind.FOLDER))


@pytest.mark.parametrize("kind", [TroubleKind.TOKEN, TroubleKind.WAITING, TroubleKind.TOKEN_AGE])
def test_what_does_not_pass_by_itself_is_told_at_once(kind: TroubleKind) -> None:
    """Trouble that a person has to end is told as soon as it is seen, and once."""
    anna = Person()
    assert len(anna.sees(_trouble(kind))) == 1
    assert [anna.sees(_trouble(kind), after=HOUR) for _ in range(100)] == [[]] * 100


def test_what_may_pass_is_told_when_it_has_lasted() -> None:
    """An outage is told after a quarter of an hour, a share that is gone after some seconds."""
    anna = Person()
    assert [bool(anna.sees(OUTAGE, after=100.0)) for _ in range(10)] == [False] * 9 + [True]
    bert = Person()
    assert [bool(bert.sees(FOLDER, after=6.0)) for _ in range(3)] == [False, False, True]


def test_all_is_well_once_all_is_over_for_a_while() -> None:
    """The end is told once, when no trouble was seen for a minute, and only to whom the trouble was told."""
    anna = Person()
    anna.sees(TOKEN, FOLDER)
    anna.sees(FOLDER, after=15.0)
    assert [anna.sees(FOLDER) for _ in range(9)] == [[]] * 9
    told = [anna.sees() for _ in range(10)]
    assert [news for news in told if news] == [["all is well again"]]
    assert told[0] == []
    assert [Person().sees() for _ in range(10)] == [[]] * 10


def test_what_flickers_is_told_once_in_an_hour() -> None:
    """Trouble that comes and goes all the time is two messages an hour, not one each time."""
    anna = Person()
    messages = 0
    for _ in range(30):
        messages += bool(anna.sees(TOKEN, after=60.0))
        for _ in range(2):
            messages += bool(anna.sees(after=60.0))
    assert messages == 4  # in an hour and a half


def test_a_crash_loop_tells_nothing_twice_and_forgets_nothing() -> None:
    """Over any number of starts trouble is told once; an outage that each start sees anew has lasted all the same."""
    anna = Person()
    told = []
    for _ in range(60):
        anna.starts_again()
        told += [anna.sees(after=5.0), anna.sees(TOKEN, OUTAGE), anna.sees(TOKEN, OUTAGE)]
    assert [news for news in told if news] == [["the API token is refused"], ["Channable cannot be used"]]


def test_failures_are_counted_once_in_an_hour() -> None:
    """The first failures are told at once, a thousand more in one digest, none twice, and no file's name in any."""
    anna = Person()
    assert anna.sees(failed=1) == ["1 invoice failed"]
    assert [anna.sees(failed=7, after=300.0) for _ in range(11)] == [[]] * 11
    assert anna.sees(failed=1000, after=400.0) == ["1000 or more invoices failed"]
    assert anna.sees(after=HOUR) == []
    assert "1000 damaged (orders 0, 1, 2" in anna.messages[-1].body
    assert "Jan" not in "".join(message.body for message in anna.messages)


def test_a_clock_that_is_set_back_silences_nobody() -> None:
    """What was told by a clock ahead keeps nothing from being told by the right one."""
    anna = Person()
    anna.sees(TOKEN, failed=1)
    anna.now -= 1000 * HOUR
    anna.told = anna.told.clamped(anna.now)
    assert anna.sees(failed=1) == []
    assert anna.sees(failed=2, after=HOUR) == ["all is well again", "2 invoices failed"]


def test_who_missed_a_message_is_told_that() -> None:
    """Where a message did not get out and its trouble is over, that there was one is told all the same."""
    anna = Person()
    anna.told = anna.told.model_copy(update={"attempts": 3})
    assert anna.sees() == ["an earlier message did not get out"]


def test_a_notifier_does_not_tell_of_itself() -> None:
    """That messages do not get out is for the other ways; that the heartbeat does not is worth a message."""
    anna = Person()
    for words, told in (("notify: address 1: no", []), ("heartbeat: no answer", ["somebody is not told"])):
        trouble = replace(_trouble(TroubleKind.REPORTING, None), words=words)
        anna.sees(trouble)
        assert anna.sees(trouble, after=901.0) == told


def test_messages_are_in_the_language_that_is_set() -> None:
    """With another language, what is wrong, how many failed and where there is more are told in it."""
    anna = Person("de")
    anna.sees(replace(TOKEN, words="is paused: HTTP 401"), failed=2)
    assert "das API-Token wird abgelehnt, 2 Rechnungen konnten nicht gesendet werden" in anna.messages[0].title
    assert "Eingang shop ist angehalten: HTTP 401 (seit " in anna.messages[0].body
    assert "Mehr zeigt `invoicedrop status` auf" in anna.messages[0].body


def test_a_standby_leaves_failures_to_the_machine_at_work() -> None:
    """What fails while another machine works on the inbox is told by that one, and not when this one takes over."""
    anna = Person()
    anna.standby = "process 7 on alpha"
    assert anna.sees(failed=2) == []
    at = anna.now
    anna.standby = None
    assert anna.sees(after=0.0) == []
    assert anna.told.failed == at
    assert anna.sees(failed=1) == ["1 invoice failed"]


def test_all_is_not_well_while_a_person_has_paused_the_inbox() -> None:
    """That invoices are sent again is said when the pause is over, not when it hides the trouble before."""
    anna, waiting, held = Person(), _trouble(TroubleKind.WAITING), _trouble(TroubleKind.HELD)
    assert len(anna.sees(waiting)) == 1
    assert anna.sees(held) == anna.sees(held, after=HOUR) == []
    assert anna.sees() == ["all is well again"]


def test_what_failed_at_a_time_still_to_come_is_told_once() -> None:
    """After the clock was set back, an invoice that failed by the clock before is not told again and again."""
    anna = Person()
    assert anna.sees(failed=1) == ["1 invoice failed"]
    ahead = anna.now
    for _ in range(3):
        anna.now = ahead - 24 * HOUR + anna.clock
        anna.told = anna.told.clamped(anna.now)
        files = [FailedFile("shop", "1.pdf", 1, ahead, "damaged", "", "", "", "")]
        picture = Picture(anna.now, DaemonState(running=True, report=None, is_fresh=False), _overview(files, None), [])
        message, anna.told = news_for(anna.told, picture, [], anna.sightings, after=HOUR, timing=DEFAULT_TIMING)
        assert message is None
        anna.clock += 2 * HOUR
