"""English sentences and their translations: gettext's catalogues, `de.po` and its kin, compiled to `de.mo`.

A sentence stands in the code where it is composed, marked by `phrase`; that returns it in English. So the log, the
ledger and `status --json` have one language, whatever a reader's is, and no room below has to know that. Whoever shows
it to a person calls `Catalogue.translated`, which knows a finished sentence by its template again: also one that was
written down by an earlier version of the service, or while another language was set.

`.ci/catalogues` collects what is marked, and compiles; a test says what is missing.
"""

import re
from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib.resources import files
from typing import Final, Literal, NamedTuple, get_args

Language = Literal["en", "de", "nl", "fr"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
_LONGEST: Final = 10_000
"""Characters of a sentence that is looked for among the templates."""
_LEAST_WEIGHT: Final = 10
"""Characters of a template's own without which a sentence may look like it by chance."""
_DEEPEST: Final = 3
"""Sentences in sentences."""
_FIELD: Final = re.compile(r"\{(\w+)(?::[^}]*)?\}")


def phrase(template: str, /, **values: object) -> str:
    """Return a sentence in English: a template, literal where it stands, with its named values filled in."""
    return template.format(**values) if values else template


class _Pattern(NamedTuple):
    """How a finished sentence is known: by what stands between its values; `weight` is how much that is."""

    weight: int
    literals: tuple[str, ...]
    names: tuple[str, ...]
    template: str

    def values_in(self, sentence: str) -> dict[str, str] | None:
        """Return the values in a sentence that was made of this template; None if it was not.

        Each value is as short as it can be, but the last: no sentence takes longer than it is long.
        """
        first, *between, last = self.literals
        if not (sentence.startswith(first) and sentence.endswith(last)):
            return None
        start, end, values = len(first), len(sentence) - len(last), []
        for literal in between:
            found = sentence.find(literal, start + 1, end)
            if found < 0:
                return None
            values.append(sentence[start:found])
            start = found + len(literal)
        return dict(zip(self.names, (*values, sentence[start:end]), strict=True)) if start < end else None


class Catalogue:
    """All sentences in one language."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language
        self._translations = _load(language)
        self._patterns: list[_Pattern] | None = None

    def __call__(self, template: str, /, **values: object) -> str:
        """Return a sentence in this language, its named values filled in."""
        translation = self._translations.gettext(template)
        return translation.format(**values) if values else translation

    def counted(self, one: str, many: str, count: int, /, **values: object) -> str:
        """Return a sentence about so many of something; `count` is one of its values."""
        return self._translations.ngettext(one, many, count).format(count=count, **values)

    def translated(self, sentence: str) -> str:
        """Return a finished English sentence (of `phrase`) in this language; as it is, if none of ours is known.

        What it quotes stays as it is, unless that is a sentence of ours as well.
        """
        return self._translated(sentence, _DEEPEST)

    def _translated(self, sentence: str, depth: int) -> str:
        known = self._translations.gettext(sentence) if sentence else sentence
        if known != sentence or self.language == "en" or not 0 < len(sentence) <= _LONGEST or not depth:
            return known
        for pattern in self._known_patterns():
            found = pattern.values_in(sentence)
            if found is not None:
                translation = self._translations.gettext(pattern.template)
                values = {name: self._translated(value, depth - 1) for name, value in found.items()}
                # The values are texts by now: what a field says of a number's form is done.
                return _FIELD.sub(r"{\1}", translation).format(**values)
        return sentence

    def _known_patterns(self) -> list[_Pattern]:
        """Return how sentences with values are known, those that say most first."""
        if self._patterns is None:
            patterns = (_pattern(text) for text in self.templates if _FIELD.search(text))
            self._patterns = sorted((each for each in patterns if each.weight >= _LEAST_WEIGHT), reverse=True)
        return self._patterns

    @property
    def templates(self) -> list[str]:
        """The English templates that this catalogue has; none for English itself."""
        if not isinstance(self._translations, GNUTranslations):
            return []
        # A form of a plural is a pair; the empty text heads the catalogue.
        return [text for text in _messages(self._translations) if isinstance(text, str) and text]


@cache
def catalogue(language: Language) -> Catalogue:
    """Return the catalogue of a language, read once."""
    return Catalogue(language)


def _load(language: Language) -> NullTranslations:
    if language == "en":
        return NullTranslations()
    with files(__package__).joinpath(f"{language}.mo").open("rb") as file:
        return GNUTranslations(file)


def _messages(translations: GNUTranslations) -> list[object]:
    # The standard library has no other way to list them; typeshed does not know the attribute.
    return list(vars(translations)["_catalog"])


def _pattern(template: str) -> _Pattern:
    literals = tuple(_FIELD.split(template)[::2])
    return _Pattern(sum(map(len, literals)), literals, tuple(_FIELD.findall(template)), template)
