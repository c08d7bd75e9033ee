"""The status page as a document: what stands on it, in which language, and that nothing from outside is markup."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreign_text import NAMES, TRICKS, is_harmless
from invoicedrop.languages.catalogue import LANGUAGES, Language
from invoicedrop.reasons import Reason, advice
from invoicedrop.reporting.overview import LeftAloneFile, QuestionedFile, SentFile
from invoicedrop.reporting.page.document import document
from invoicedrop.reporting.page.facts import PAGE_OF
from invoicedrop.reporting.page.html import Html, element, joined
from invoicedrop.reporting.page.style import POLICY, STYLE
from invoicedrop.reporting.plain_words import in_plain_words
from invoicedrop.reporting.troubles import Trouble, TroubleKind
from invoicedrop.service.status_file import InboxReport
from page_facts import DROP, NOW, facts, failed, full, overview, waiting
from translations import OTHERS

TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "section",
        "footer",
        "div",
        "span",
        "b",
        "bdi",
        "small",
    ),
    *("h1", "h2", "h3", "p", "ul", "li", "dl", "dt", "dd", "a", "details", "summary"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "</title></style><h1>",
    "&lt;b&gt;",
    "-->",
    "{0}{detail}%s",
    "javascript:alert(1)",
    "http://example.com/",
)


class Page(HTMLParser):
    """What a browser makes of a page: its tags, its attributes, and its text without the style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        """Note a text."""
        if self.tags[-1:] != ["style"] or not data.lstrip().startswith(":root"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All that can be read."""
        return " ".join(text.strip() for text in self.texts if text.strip())


def page(shown: Any, language: Language = "en", **more: Any) -> Page:
    """Return the page that shows this."""
    return Page(document(facts(shown, language, **more), NOW - 2))


def test_what_needs_a_person_comes_first() -> None:
    """Failed invoices with their advice, then questioned ones, then what waits and why, then what was accepted."""
    text = page(full()).text
    order = [
        "At work",
        "Not sent",
        *advice(Reason.NAME_AMBIGUOUS),
        "2026_8355.pdf",
        "The name was read as order 2026",
        "Accepted, but the order reports trouble",
        "VAT number is missing",
        "8399.docx",
        "Waiting",
        "can be sent by",
        "8371.pdf",
        "It waits until order 8371 is shipped (not shipped now)",
        "Next try:",
        "Accepted today",
        "8340.pdf",
        "At work on this folder: srv-files, since",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert "4711" not in text


def test_invoices_with_the_same_fault_share_its_advice() -> None:
    """A thousand failures of one kind are one advice, some names, and how many more there are."""
    many = [failed(f"brief{number}.pdf", Reason.NAME_WITHOUT_ORDER) for number in range(1000)]
    text = page(overview(failed=many)).text
    assert text.count(advice(Reason.NAME_WITHOUT_ORDER).remedy) == 1
    assert "brief0.pdf" in text
    assert "and 980 more" in text
    assert "Not sent 1000" in text


def test_a_page_is_short_however_much_there_is() -> None:
    """Of thousands of files in each list the first are shown, and all are counted."""
    files = range(5000)
    shown = overview(
        waiting=[waiting(f"{number}.pdf") for number in files],
        left_alone=[LeftAloneFile("default", f"{number}.docx", "why", None) for number in files],
        questioned=[QuestionedFile("default", f"{number}.pdf", number, NOW, 1, "words") for number in files],
        failed=[failed(f"{number}.pdf", reason, "d" * 5000) for number in files for reason in list(Reason)[:2]],
        sent=[SentFile("default", f"{number}.pdf", number, NOW, 1, None) for number in files],
    )
    text = document(facts(shown), NOW)
    assert len(text) < 200_000
    assert Page(text).text.count("and 4900 more") == 4


@given(
    text=TRICKS | st.sampled_from(HOSTILE) | st.lists(st.sampled_from(HOSTILE)).map("".join),
    language=st.sampled_from(LANGUAGES),
)
def test_nothing_from_outside_is_markup(text: str, language: Language) -> None:
    """Whatever a file, an order or a machine is called, the page has our tags only, and nothing hides in its text."""
    shown = overview(
        InboxReport(paused=text, unavailable=text, unavailable_cause="folder"),
        failed=[failed(text, Reason.REFUSED_BY_API, text)],
        questioned=[QuestionedFile("default", text, 1, NOW, 1, text)],
        left_alone=[LeftAloneFile("default", text, text, NOW)],
        waiting=[waiting(text, "it may still be being written (" + text + ")"), waiting(text, text, NOW + 60)],
        sent=[SentFile("default", text, 1, NOW, 1, text)],
    )
    owner = replace(shown.inboxes[0].owner, host=text, since=text)  # type: ignore[type-var]
    shown = replace(shown, inboxes=[replace(shown.inboxes[0], owner=owner)])
    seen = page(shown, language)
    clean = page(replace(shown, inboxes=[replace(shown.inboxes[0], name="x")]), language)
    assert set(seen.tags) <= TAGS
    assert seen.tags == clean.tags
    assert not any(name.startswith("on") or name in {"src", "style", "srcset"} for name, _ in seen.attributes)
    assert all((value or "").startswith("#") for name, value in seen.attributes if name == "href")
    assert all(is_harmless(text.replace("\n", "")) for text in seen.texts)


def test_names_stand_there_as_they_are() -> None:
    """Honest names of any script are shown as they are; a very long one keeps its beginning and its end."""
    for name in NAMES:
        assert name in page(overview(waiting=[waiting(name)])).text
    text = page(overview(waiting=[waiting("8355_" + "a" * 250 + "_end.pdf")])).text
    assert "8355_aaaa" in text
    assert "aaa_end.pdf" in text
    assert "a" * 150 not in text


def test_html_is_escaped_unless_it_was_made_here() -> None:
    """Text is escaped by `element` itself, in children and attributes; what it made is not escaped twice."""
    assert element("p", "<&>", title='"') == '<p title="&quot;">&lt;&amp;&gt;</p>'
    assert element("p", element("b", "<")) == "<p><b>&lt;</b></p>"
    assert joined("<", None, Html("<br>")) == "&lt;<br>"
    assert element("p", class_="x", aria_label=None) == '<p class="x"></p>'


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_loads_and_runs_nothing(language: Language) -> None:
    """Its policy allows its own style and nothing else, and it has neither a script nor an address of elsewhere."""
    text = document(facts(full(), language), NOW)
    seen = Page(text)
    assert ("lang", language) in seen.attributes
    assert ("content", POLICY) in seen.attributes
    assert POLICY.startswith("default-src 'none'; style-src 'sha256-")
    assert STYLE in text
    assert not re.search(r"https?:|<script|url\(|@import|<link|<img", text)
    assert ("http-equiv", "refresh") in seen.attributes


@pytest.mark.parametrize("language", OTHERS)
def test_the_page_is_in_the_language_of_the_inbox(language: Language) -> None:
    """No sentence of ours is left in English but what is marked as technical."""
    english, ours = page(full()), page(full(), language)
    same = {text.strip() for text in english.texts} & {text.strip() for text in ours.texts}
    technical = re.compile(r"[\d: ]*|Order|.*\.(pdf|docx)|HTTP .*|Amazon: .*|invoicedrop .*|(Order )?\d+", re.DOTALL)
    assert [text for text in same if not technical.fullmatch(text)] == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", TroubleKind)
def test_every_trouble_has_plain_words(kind: TroubleKind, language: Language) -> None:
    """Whatever is wrong is told in whole sentences, in each language."""
    words = in_plain_words(Trouble(kind, None, None, "technical"), facts(overview(), language).words)
    assert words.endswith(".")
    assert language == "en" or words != in_plain_words(Trouble(kind, None, None, ""), facts(overview()).words)


def test_an_outage_is_told_once_and_for_all_that_wait() -> None:
    """While Channable cannot be reached the page says so at the top, what that means, and when it is tried again."""
    paused = "the API cannot be reached: connection refused"
    report = InboxReport(waiting=2, paused=paused, paused_cause="outage", next_probe=NOW + 60)
    shown = overview(report, waiting=[waiting("1.pdf", paused, NOW + 60), waiting("2.pdf", paused)], seconds=600.0)
    text = page(shown).text
    assert "Nothing can be sent now" in text
    assert "Nothing is lost" in text
    assert text.count("Next try:") == 1
    assert text.count(paused) == 1
    assert "can be sent within 10 minutes" in text


def test_a_folder_that_only_the_page_cannot_read_is_told() -> None:
    """Trouble with the drop folder that the service has not met yet is on the page, with what it means."""
    shown = overview()
    text = page(replace(shown, inboxes=[replace(shown.inboxes[0], trouble="/srv/invoices is gone")])).text
    assert "Nothing can be sent now" in text
    assert "A folder cannot be used now." in text
    assert "/srv/invoices is gone" in text
    assert "What waits cannot be seen now." in text


def test_a_paused_inbox_says_that_somebody_has_paused_it() -> None:
    """What a person has paused is told as that, and as no fault."""
    found = facts(overview())
    held = replace(found, troubles=(Trouble(TroubleKind.HELD, "default", None, "is paused by Ada (month's end)"),))
    text = Page(document(held, NOW)).text
    assert "Paused" in text
    assert "The sending is paused." in text
    assert "Paused by Ada (month's end)" in text


def test_an_inbox_in_order_says_so() -> None:
    """Where nothing waits, failed or is wrong, the page says that nothing needs to be done."""
    text = page(overview()).text
    for words in ("At work", "Nothing needs your attention.", "No invoice waits.", "No invoice yet.", "Last seen:"):
        assert words in text


def test_a_stopped_service_says_so() -> None:
    """The last page of a service says that it was stopped, and when, and claims no sign of life."""
    text = page(full(), stopped_at=NOW).text
    assert "The service is stopped" in text
    assert "It was stopped on " in text
    assert "Last seen" not in text
    assert "srv-files" not in text
    assert "can be sent by" not in text


def test_only_the_sign_of_life_changes() -> None:
    """Without the sign of life, the page of the same facts at another time is the same, and so need not be written."""
    later = replace(full(), now=NOW + 5)
    assert document(facts(later), None) == document(facts(full()), None)
    assert document(facts(full()), NOW) != document(facts(full()), NOW + 60)


def test_other_inboxes_trouble_is_not_on_the_page() -> None:
    """What is wrong with another inbox is not told on this one's page; what is wrong with the service is."""
    shown = overview()
    report = shown.daemon.report
    assert report is not None
    reports = {**report.inboxes, "other": InboxReport(paused="secret trouble", paused_cause="token")}
    pages = {f"{PAGE_OF}other": "secret trouble of its page"}
    daemon = replace(shown.daemon, report=report.model_copy(update={"inboxes": reports, "reporting": pages}))
    text = page(replace(shown, daemon=daemon)).text
    assert "secret trouble" not in text
    assert "At work" in text
    assert "Nothing needs your attention" in text
    hanging = page(replace(shown, daemon=replace(shown.daemon, is_fresh=False))).text
    assert "does not respond" in hanging


def _luminance(colour: str) -> float:
    """Return the relative luminance of a colour (https://www.w3.org/TR/WCAG21/#dfn-relative-luminance)."""
    digits = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_everybody_can_read_it(scheme: int) -> None:
    """Every colour of letters has the contrast of WCAG AA, 4.5, on every background that it stands on."""
    blocks = re.findall(r":root\{([^}]*)\}", STYLE)
    colours = dict(re.findall(r"--([\w-]+):#([0-9a-f]+)", blocks[scheme]))
    pairs = [(ink, back) for ink in ("ink", "pale", "link") for back in ("back", "card", "calm-back")]
    pairs += [(ink, back) for ink in ("bad", "warn", "good", "calm") for back in ("card",)]
    pairs += [(ink, back) for back in ("bad-back", "warn-back") for ink in ("ink", "pale", back.removesuffix("-back"))]
    pairs += [("calm", "calm-back")]
    for ink, back in pairs:
        light, dark = sorted((_luminance(colours[ink]), _luminance(colours[back])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, back)


def test_where_the_failed_lie_is_told_from_the_folder_that_people_see() -> None:
    """A failed folder inside the drop folder is named as people see it there, not by the server's path."""
    text = page(overview(failed=[failed("8355.pdf", Reason.EMPTY)])).text
    assert "in the folder failed," in text
    assert str(DROP) not in text
