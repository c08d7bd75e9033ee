"""Sentences composed in English and shown in another language."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreign_text import NAMES, TRICKS
from invoicedrop.errors import Rejected
from invoicedrop.inbox.names import parse_name
from invoicedrop.languages.catalogue import LANGUAGES, Language, catalogue, phrase
from invoicedrop.languages.moments import day, span, when
from invoicedrop.reasons import Reason, reason_text
from translations import OTHERS, fields


def test_english_is_what_stands_in_the_code() -> None:
    """Without another language, every text is as it was written, whoever made it."""
    words = catalogue("en")
    assert words("What is wrong:") == "What is wrong:"
    assert words.counted("{count} day", "{count} days", 2) == "2 days"
    for text in ("it waits for its turn", "anything else", ""):
        assert words.translated(text) == text


@pytest.mark.parametrize("language", OTHERS)
def test_a_finished_sentence_is_known_again(language: Language) -> None:
    """Each sentence with values that was composed in English is shown in another language, its values as before."""
    words = catalogue(language)
    known = 0
    for template in words.templates:
        values = {name: 14.0 if f"{{{name}:" in template else f"8355 {name}" for name in fields(template)}
        sentence = phrase(template, **values)
        translated = words.translated(sentence)
        if translated != sentence:
            assert translated == words(template, **values)
            known += 1
    assert known > 150


def test_a_sentence_in_a_sentence_is_translated_as_well() -> None:
    """What a sentence quotes is translated where it is ours, and stays as it is where it is not."""
    german = catalogue("de")
    inner = phrase("this very PDF was accepted by Channable for order {order}, as {file}", order=7, file="7.pdf")
    outer = phrase(
        "{detail}; the same PDF still lies in the failed folder, as {twin}: only one can be moved back",
        detail=inner,
        twin="7.pdf",
    )
    assert german.translated(outer).startswith("genau diese PDF-Datei hat Channable für Bestellung 7 angenommen, als")
    foreign = phrase("it may still be being written ({detail})", detail="the end-of-file marker is missing")
    assert german.translated(foreign) == "wird vielleicht noch geschrieben (the end-of-file marker is missing)"
    assert german.translated("HTTP 422: order_id is wrong") == "HTTP 422: order_id is wrong"


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("brief.pdf", "channable"),
        ("8355x.pdf", "channable"),
        ("8355_itmes-11.pdf", "channable"),
        ("0.pdf", "channable"),
        ("9" * 40 + ".pdf", "channable"),
        ("302-1234567-1234567.pdf", "channable"),
        ("rechnung.pdf", "marketplace"),
        ("8355\u200b.pdf", "channable"),
        ("\u0668355.pdf", "channable"),
    ],
)
def test_what_was_read_of_a_name_is_told_in_each_language(language: Language, name: str, kind: str) -> None:
    """Whatever is wrong with a name, what the reason says of it has no English left."""
    with pytest.raises(Rejected) as refused:
        parse_name(name, kind)  # type: ignore[arg-type]
    told = catalogue(language).translated(refused.value.detail)
    for word in ("was read", "stands where", "right name", "looks like", "digits", "order id", "no ordinary"):
        assert word not in told


@given(text=TRICKS, language=st.sampled_from(LANGUAGES))
def test_no_text_from_outside_breaks_a_translation(text: str, language: Language) -> None:
    """Whatever a file is called and the API says, braces included, it can be shown, and stands there as it is."""
    sentence = phrase("it may still be being written ({detail})", detail=text)
    assert text.strip() in catalogue(language).translated(sentence) or "{" not in text
    reason_text(text, Reason.GAVE_UP, "{0}{detail}" + text, None, at=0, language=language)


def test_a_long_text_takes_no_time() -> None:
    """A text made to look like many sentences at once is given up quickly."""
    hostile = ("; the last one: " * 300 + " was read, but then comes " * 200)[:10_000]
    started = time.thread_time()
    for language in LANGUAGES:
        catalogue(language).translated(hostile)
        catalogue(language).translated(hostile * 1000)
    assert time.thread_time() - started < 1


@pytest.mark.parametrize(
    ("language", "date", "length"),
    [
        ("en", "26 Nov 2026", "3 h 20 min"),
        ("de", "26.11.2026", "3 Std. 20 Min."),
        ("nl", "26-11-2026", "3 uur 20 min."),
        ("fr", "26/11/2026", "3 h 20 min"),
    ],
)
def test_dates_are_written_as_local_people_do(language: Language, date: str, length: str) -> None:
    """A day, a moment of another day and a length of time have the form of the reader's country."""
    words = catalogue(language)
    noon = time.mktime((2026, 11, 26, 12, 0, 0, 0, 0, -1))
    assert day(noon, words) == date
    assert when(noon, words, now=noon + 60) == "12:00"
    assert when(noon, words, now=noon + 86_400) == f"{date} 12:00"
    assert span(12_000, words) == length


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_a_reason_in_each_language_names_the_file(language: Language, name: str) -> None:
    """The first line of a reason has the file's name as it is called."""
    assert name in reason_text(name, Reason.EMPTY, "", None, at=0, language=language).split("\n")[0]


def test_the_catalogues_are_in_the_package() -> None:
    """Beside the module that reads them lie the compiled catalogues and their sources, for whoever installs it."""
    folder = Path(__import__("invoicedrop").__file__).parent / "languages"
    assert {path.name for path in folder.glob("*.?o")} == {f"{each}.{form}" for each in OTHERS for form in ("mo", "po")}
