"""What stands on the page, from what needs a person down to what went. Whatever comes from outside is text, and short.

Each list shows its first rows and says how many there are.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from invoicedrop.languages.catalogue import Catalogue
from invoicedrop.languages.moments import span, when
from invoicedrop.printable import printable
from invoicedrop.reasons import Reason, advice
from invoicedrop.reporting.overview import (
    NO_DAEMON,
    FailedFile,
    LeftAloneFile,
    QuestionedFile,
    SentFile,
    WaitingFile,
)
from invoicedrop.reporting.page.facts import Condition, PageFacts
from invoicedrop.reporting.page.html import Html, element, joined

MOST_ROWS: Final = 100
"""Rows of a list."""
_MOST_ALIKE: Final = 20
"""Failed invoices that are named for each thing that can be wrong."""
_LONGEST_NAME: Final = 120
_LONGEST_TEXT: Final = 600
"""Characters."""
_MINUTE: Final = 60.0
_Row = TypeVar("_Row")


def failed(facts: PageFacts) -> Html | None:
    """Return the invoices that could not be sent: by what is wrong, each time with what to do, the latest first."""
    total = facts.state.failed
    if not total:
        return None
    words = facts.words
    folder = facts.inbox.failed_dir
    where = folder.relative_to(facts.inbox.drop_dir) if folder.is_relative_to(facts.inbox.drop_dir) else folder
    listed = facts.overview.failed
    groups: dict[str, list[FailedFile]] = {}
    for file in listed:
        groups.setdefault(file.reason, []).append(file)
    return _section(
        "failed",
        words("Not sent"),
        total,
        element("p", words("They lie in the folder {folder}, each with a text beside it.", folder=printable(where))),
        element("ul", *(_failed_card(reason, files, facts) for reason, files in groups.items()), class_="cards"),
        # What is listed is counted in its group.
        _more(total - len(listed), 0, words),
    )


def questioned(facts: PageFacts) -> Html | None:
    """Return the invoices that Channable accepted, and whose orders report trouble since."""
    files = facts.overview.questioned
    if not files:
        return None
    words = facts.words
    return _section(
        "questioned",
        words("Accepted, but the order reports trouble"),
        len(files),
        element("p", words("Look at these orders in Channable. Each is shown here for 30 days.")),
        element("ul", *_rows(files, lambda file: _questioned_card(file, facts)), class_="cards warn"),
        _more(len(files), len(files), words),
    )


def left_alone(facts: PageFacts) -> Html | None:
    """Return what lies in the drop folder, is no invoice, and is perhaps meant as one."""
    files = facts.overview.left_alone
    if not files:
        return None
    words = facts.words
    return _section(
        "left-alone",
        words("Left alone, perhaps meant as invoices"),
        len(files),
        element("ul", *_rows(files, lambda file: _left_alone_row(file, facts)), class_="rows"),
        _more(len(files), len(files), words),
    )


def waiting(facts: PageFacts) -> Html:
    """Return what waits, why, and when all of it will be sent."""
    words, total = facts.words, facts.state.waiting
    title = words("Waiting")
    if not total:
        nothing = words("What waits cannot be seen now.") if facts.state.trouble else words("No invoice waits.")
        return _section("waiting", title, None, element("p", nothing))
    return _section(
        "waiting",
        title,
        total,
        _backlog(facts),
        element("ul", *_rows(facts.overview.waiting, lambda file: _waiting_row(file, facts)), class_="rows"),
        _more(total, len(facts.overview.waiting), words),
    )


def accepted(facts: PageFacts) -> Html:
    """Return what Channable has accepted today."""
    words, overview = facts.words, facts.overview
    title = words("Accepted today")
    today = [file for file in overview.sent if file.when >= overview.today_since]
    if not today:
        return _section("accepted", title, None, element("p", words("No invoice yet.")))
    head = (words("Time"), words("File"), words("Order"))
    table = element(
        "table",
        element("thead", element("tr", *(element("th", text, scope="col") for text in head))),
        element("tbody", *_rows(today, lambda file: _accepted_row(file, facts))),
    )
    total = max(overview.sent_today, len(today))
    return _section(
        "accepted",
        title,
        total,
        # What can be scrolled by a finger must be reachable by the keyboard as well.
        element("div", table, class_="scroll", tabindex="0", role="region", aria_labelledby="accepted"),
        _more(total, len(today), words),
    )


# One row


def _failed_card(reason: str, files: Sequence[FailedFile], facts: PageFacts) -> Html:
    words = facts.words
    problem, remedy = advice(Reason(reason), facts.inbox.language)
    return element(
        "li",
        element("h3", problem),
        element("dl", element("dt", words("What to do")), element("dd", remedy)),
        element("ul", *(_failed_file(file, facts) for file in files[:_MOST_ALIKE]), class_="files"),
        _more(len(files), min(len(files), _MOST_ALIKE), words),
    )


def _failed_file(file: FailedFile, facts: PageFacts) -> Html:
    return element("li", _head("div", file.file, file.when, facts), told("p", file.detail, facts))


def _questioned_card(file: QuestionedFile, facts: PageFacts) -> Html:
    return element(
        "li",
        _head("h3", file.file, file.when, facts),
        element("p", _order(file.order_id, facts.words)),
        # Channable's words, or the marketplace's, in whatever language they are.
        element("p", short(file.words), lang=""),
    )


def _left_alone_row(file: LeftAloneFile, facts: PageFacts) -> Html:
    return element("li", _head("div", file.file, file.since, facts), told("p", file.why, facts))


def _waiting_row(file: WaitingFile, facts: PageFacts) -> Html:
    words, overview = facts.words, facts.overview
    # What all wait for stands at the top.
    is_common = file.why in {NO_DAEMON, facts.state.trouble, facts.state.paused, facts.state.stopped_by}
    again = None
    if not is_common and file.until is not None and file.until > overview.now:
        again = element("p", words("Next try: {time}", time=when(file.until, words, now=overview.now)))
    return element(
        "li", _head("div", file.file, file.since, facts), None if is_common else told("p", file.why, facts), again
    )


def _accepted_row(file: SentFile, facts: PageFacts) -> Html:
    order = "" if file.order_id is None else str(file.order_id)
    return element(
        "tr",
        element("td", when(file.when, facts.words, now=facts.overview.now)),
        element("td", _name(file.file)),
        element("td", order),
    )


# What they share


def _section(anchor: str, title: str, count: int | None, *content: Html | None) -> Html:
    shown = None if count is None else element("span", str(count), class_="count")
    return element("section", element("h2", title, joined(" ", shown), id=anchor), *content, aria_labelledby=anchor)


def _rows(files: Sequence[_Row], row: Callable[[_Row], Html]) -> list[Html]:
    return [row(file) for file in files[:MOST_ROWS]]


def _more(total: int, listed: int, words: Catalogue) -> Html | None:
    """Return how many there are beside those that are shown."""
    rest = total - min(listed, MOST_ROWS)
    return (
        element("p", words.counted("and {count} more", "and {count} more", rest), class_="more") if rest > 0 else None
    )


def _head(tag: str, name: str, moment: float | None, facts: PageFacts) -> Html:
    shown = None if moment is None else when(moment, facts.words, now=facts.overview.now)
    time = None if shown is None else element("span", shown, class_="when")
    return element("div", element(tag, _name(name)), time, class_="head")


def _name(name: str) -> Html:
    """Return a file's name, which may be of any length and in any direction, without becoming more than a name."""
    name = printable(name)
    if len(name) > _LONGEST_NAME:
        half = _LONGEST_NAME // 2 - 1
        name = f"{name[:half]}…{name[-half:]}"
    return element("bdi", name)


def _order(order_id: int | None, words: Catalogue) -> str | None:
    return None if order_id is None else words("Order {number}", number=order_id)


def told(tag: str, sentence: str, facts: PageFacts) -> Html | None:
    """Return a finished sentence in the page's language; one that is not ours as the technical text that it is."""
    if not sentence:
        return None
    shown = facts.words.translated(sentence)
    if shown == sentence and facts.inbox.language != "en":
        return element(tag, short(sentence), class_="technical", lang="en")
    return element(tag, short(shown[:1].upper() + shown[1:]))


def short(text: str) -> str:
    """Return a text from outside that is no longer than a page can bear."""
    text = printable(text)
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


def _backlog(facts: PageFacts) -> Html | None:
    """Return when all that waits will be sent, as far as Channable's rate says it."""
    words, seconds = facts.words, facts.state.seconds
    if seconds is None or seconds < _MINUTE:
        return None
    if facts.condition is not Condition.AT_WORK:
        takes = span(seconds, words)
        return element("p", words("Once it goes on, all of them can be sent within {span}.", span=takes))
    end = when(facts.overview.now + seconds, words, now=facts.overview.now)
    return element("p", words("At the rate that Channable allows, all of them can be sent by {time}.", time=end))
