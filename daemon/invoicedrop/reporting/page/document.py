"""The page as one HTML document: how the inbox is doing, then `sections`. Nothing in it is loaded, and nothing runs."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from invoicedrop import __version__
from invoicedrop.languages.moments import clock, day, when
from invoicedrop.printable import printable
from invoicedrop.reporting.page import sections
from invoicedrop.reporting.page.facts import Condition, PageFacts
from invoicedrop.reporting.page.file import MARK
from invoicedrop.reporting.page.html import Html, element, joined
from invoicedrop.reporting.page.style import POLICY, STYLE
from invoicedrop.reporting.plain_words import in_plain_words

_REFRESH: Final = "60"
"""Seconds after which a browser loads the page again."""
_COLOURS: Final = {
    Condition.AT_WORK: "good",
    Condition.STARTING: "calm",
    Condition.HELD: "warn",
    Condition.HALTED: "bad",
    Condition.STOPPED: "bad",
}


def document(facts: PageFacts, seen: float | None) -> str:
    """Return the page; `seen` is when the service was last seen, in seconds since the epoch.

    Without it, what is returned is the same as long as nothing else has changed.
    """
    words = facts.words
    title = words("Invoices")
    name = None if facts.is_only else printable(facts.inbox.name)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", http_equiv="refresh", content=_REFRESH),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="robots", content="noindex"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", " - ".join(filter(None, (title, name, _headline(facts))))),
        # Not escaped, as the style is ours and its hash must be right.
        element("style", Html(STYLE)),
    )
    needs_a_person = joined(sections.failed(facts), sections.questioned(facts), sections.left_alone(facts))
    main = element(
        "main",
        element("h1", title, None if name is None else joined(" ", element("small", name))),
        _state(facts, seen, quiet=not needs_a_person),
        _figures(facts),
        needs_a_person,
        sections.waiting(facts),
        sections.accepted(facts),
        _footer(facts),
    )
    return f"<!doctype html>\n{MARK}\n{element('html', head, element('body', main), lang=facts.inbox.language)}\n"


def _headline(facts: PageFacts) -> str:
    words = facts.words
    match facts.condition:
        case Condition.AT_WORK:
            return words("At work")
        case Condition.STARTING:
            return words("Starting")
        case Condition.HELD:
            return words("Paused")
        case Condition.HALTED:
            return words("Nothing can be sent now")
        case Condition.STOPPED:
            return words("The service is stopped")


def _state(facts: PageFacts, seen: float | None, *, quiet: bool) -> Html:
    """Return how the inbox is doing, and what that means."""
    words = facts.words
    told = [] if facts.stopped_at is not None else [*facts.halting, *facts.minor]
    sentences = list(dict.fromkeys(in_plain_words(trouble, words) for trouble in told))
    if facts.stopped_at is not None:
        moment = facts.stopped_at
        sentences.append(
            words(
                "It was stopped on {day} at {time}. Invoices wait in the drop folder until it is started again.",
                day=day(moment, words),
                time=clock(moment),
            )
        )
    elif facts.next_probe is not None:
        sentences.append(words("Next try: {time}", time=when(facts.next_probe, words, now=facts.overview.now)))
    elif quiet and facts.condition is Condition.AT_WORK and not told:
        sentences.append(words("Nothing needs your attention."))
    life = None
    if facts.stopped_at is None and seen is not None:
        life = words(
            "Last seen: {time}. This page is renewed every minute: if that is long ago, the service does not run, and "
            "your administrator should know.",
            time=f"{day(seen, words)} {clock(seen)}",
        )
    return element(
        "div",
        element("h2", _headline(facts)),
        *(element("p", sentence) for sentence in sentences),
        *(
            sections.told("p", trouble.words.removeprefix("is "), facts)
            for trouble in told
            if not trouble.kind.is_alarm
        ),
        _technical(facts),
        None if life is None else element("p", life, class_="seen"),
        class_=f"state {_COLOURS[facts.condition]}",
    )


def _technical(facts: PageFacts) -> Html | None:
    """Return what an administrator wants to read of what is wrong."""
    lines = dict.fromkeys(trouble.words for trouble in (*facts.halting, *facts.minor) if trouble.kind.is_alarm)
    if facts.stopped_at is not None or not lines:
        return None
    return element(
        "details",
        element("summary", facts.words("Details for your administrator")),
        *(element("p", sections.short(line), lang="en") for line in lines),
    )


def _figures(facts: PageFacts) -> Html:
    """Return the numbers that one looks for first, each leading to its part of the page."""
    words, overview = facts.words, facts.overview
    figures = (
        (facts.state.failed, words("not sent"), "failed", "bad"),
        (len(overview.questioned), words("accepted, with trouble since"), "questioned", "warn"),
        (facts.state.waiting, words("waiting"), "waiting", "calm"),
        (overview.sent_today, words("accepted today"), "accepted", "good"),
    )
    return element(
        "ul",
        *(
            element(
                "li",
                element("a", element("b", str(number)), text, href=f"#{anchor}", class_=colour)
                if number
                else element("span", element("b", "0"), text, class_="none"),
            )
            for number, text, anchor, colour in figures
        ),
        class_="figures",
    )


def _footer(facts: PageFacts) -> Html:
    words, owner = facts.words, facts.state.owner
    works = None
    if owner is not None and facts.stopped_at is None:
        works = words(
            "At work on this folder: {host}, since {time}.",
            host=sections.short(owner.host),
            time=_since(owner.since, facts),
        )
    return element(
        "footer",
        None if works is None else element("p", works),
        element("p", f"invoicedrop {__version__}"),
    )


def _since(stamp: str, facts: PageFacts) -> str:
    """Return when a daemon was started, as the owner file says it, in local time; as it is where it says otherwise."""
    with suppress(ValueError):
        started = datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC).timestamp()
        return when(started, facts.words, now=facts.overview.now)
    return sections.short(stamp)
