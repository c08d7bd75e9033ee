"""The catalogues against the code: nothing is missing, and nothing is left in English."""

import ast
import re
import runpy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from invoicedrop.languages.catalogue import Language, catalogue
from invoicedrop.reasons import Reason, advice, reason_text
from translations import OTHERS, fields

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "daemon" / "invoicedrop" / "languages"
SAME_WORD = {("nl", "Order"), ("nl", "Order {number}"), ("fr", "{day}, {time}"), ("fr", "{hours} h")} | {
    ("fr", "{hours} h {minutes} min"),
    ("nl", "order {orders}"),
    ("nl", "orders {orders}"),
    ("fr", "{count} minute"),
    ("fr", "{count} minutes"),
}
"""What is the same in English, by chance or as a form."""
ENGLISH = re.compile(
    r"\b(the|and|invoices?|folder|file|customer|wrong|move|back|order (number|item)s?|marketplace's|sent|wait|"
    r"with|your|cannot|this|again|status|drop|failed)\b",
    re.IGNORECASE,
)
"""Words of English that no bookkeeper of another language should meet."""
AS_IT_IS = re.compile(
    r"_items|items-11-12|max_file_bytes|hold_above|invoicedrop resume|order_id_kind|`[^`]*`|\{[^}]*\}|\bfailed(?=[.: ])"
)
"""Names of files, settings and commands, which are the same everywhere."""


@cache
def source(language: Language) -> Catalog:
    """Return what stands in a language's .po file."""
    with (FOLDER / f"{language}.po").open("rb") as file:
        return read_po(file, locale=language)


@cache
def collected() -> Catalog:
    """Return what is marked in the code."""
    tool: dict[str, Any] = runpy.run_path(str(ROOT / ".ci" / "catalogues"))
    found: Catalog = tool["collected"]()
    return found


def texts(message: str | tuple[str, ...] | list[str] | None) -> tuple[str, ...]:
    """Return the forms of a message: several where it has a plural."""
    return (message,) if isinstance(message, str) else tuple(message or ())


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_of_the_code_is_translated(language: Language) -> None:
    """Each marked text has a translation with the same values in it, and no catalogue has texts that are gone."""
    wanted = {message.id for message in collected() if message.id}
    assert len(wanted) > 150
    assert {message.id for message in source(language) if message.id} == wanted
    for message in source(language):
        if not message.id:
            continue
        assert not message.fuzzy, message.id
        originals, translations = texts(message.id), texts(message.string)
        assert len(translations) >= len(originals), message.id
        for translation in translations:
            assert translation.strip(), message.id
            assert fields(translation) == fields(originals[0]), translation
            assert translation.isprintable(), translation


def test_every_marked_text_is_collected() -> None:
    """What the code marks is what `.ci/catalogues` finds: no text stands where its reader does not look (f-strings)."""
    marked: set[object] = set()
    for path in (ROOT / "daemon" / "invoicedrop").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            literals = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            if name in {"phrase", "words"} and literals:
                marked.add(literals[0])
            elif name == "counted" and len(literals) > 1:
                marked.add((literals[0], literals[1]))
    assert marked == {message.id for message in collected() if message.id}


@pytest.mark.parametrize("language", OTHERS)
def test_what_is_compiled_is_what_is_written(language: Language) -> None:
    """The .mo file, which is what the program reads, says the same as the .po file: `.ci/catalogues` was run."""
    words = catalogue(language)
    assert set(words.templates) == {m.id for m in source(language) if m.id and isinstance(m.id, str)}
    for message in source(language):
        if isinstance(message.id, str) and message.id:
            assert words(message.id) == message.string
        elif message.id:
            one, many = texts(message.id)
            others = {name: name for name in fields(one) if name != "count"}
            forms = [text.format(count=count, **others) for count, text in enumerate(texts(message.string), 1)]
            assert [words.counted(one, many, count, **others) for count in (1, 2)] == forms


@pytest.mark.parametrize("language", OTHERS)
def test_no_english_is_left(language: Language) -> None:
    """No translation is the English text, nor has an English word in it."""
    for message in source(language):
        for original, translation in zip(texts(message.id), texts(message.string), strict=False):
            if original:
                assert translation != original or (language, original) in SAME_WORD, original
                assert not ENGLISH.search(AS_IT_IS.sub("", translation)), translation


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("reason", Reason)
def test_every_reason_speaks_each_language(language: Language, reason: Reason) -> None:
    """A reason's file is in the reader's language from its first line to its headings, with the same file names."""
    english, ours = advice(reason), advice(reason, language)
    assert ours.problem != english.problem
    assert ours.remedy != english.remedy
    text = reason_text("8355.pdf", reason, "", None, at=0, language=language)
    assert not ENGLISH.search(AS_IT_IS.sub("", text.replace(str(reason), ""))), text
    names = re.compile(r"[\w-]+\.pdf|max_\w+|`.*?`")
    assert names.findall(ours.problem + ours.remedy) == names.findall(english.problem + english.remedy)


@pytest.mark.parametrize(
    ("language", "word"), [("de", "Bestellnummer"), ("nl", "ordernummer"), ("fr", "numéro de commande")]
)
def test_the_order_number_has_its_plain_name(language: Language, word: str) -> None:
    """What a bookkeeper calls the order number stands where they are told to name a file by it."""
    problem, remedy = advice(Reason.NAME_WITHOUT_ORDER, language)
    assert word in problem
    assert word in remedy
