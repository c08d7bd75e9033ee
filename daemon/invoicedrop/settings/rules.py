"""What settings must be to one another, and every wrong value as a sentence.

Pure judgement: what is written where is config_sources' business, what there is to set is that of settings.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from invoicedrop.printable import printable

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


_KINDS: Final = {
    "int": "must be a whole number",
    "float": "must be a number",
    "finite_number": "must be an ordinary number",
    "bool": "must be true or false",
    "string": "must be text in quotes",
    "path": "must be a path, as text in quotes",
}
_BOUNDS: Final = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}


def sentence(error: "ErrorDetails") -> str:
    """Say what one pydantic error asks for, without the value (it may be a misplaced token)."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "sentence":
        return error["msg"]
    if kind == "literal_error":
        return f"must be {context['expected']}"
    for bound, words in _BOUNDS.items():
        if bound in context:
            return f"must be {words} {context[bound]:.10g}"
    return next((words for start, words in _KINDS.items() if kind.startswith(start)), f"is not right ({kind})")


def same_names(names: Iterable[str]) -> list[str]:
    """Name the inboxes that cannot be told apart; upper and lower case are the same to people."""
    seen: set[str] = set()
    problems = []
    for name in names:
        if name.casefold() in seen:
            problems.append(f"name: two inboxes are called {printable(name)}; give each inbox a name of its own")
        seen.add(name.casefold())
    return problems


def same_folders(folders: Iterable[tuple[str, Path]]) -> list[str]:
    """Name the settings that lead to one folder, also through symlinks and bind mounts; `folders`: (setting, path)."""
    by_identity: dict[tuple[int, int] | str, str] = {}
    clashing = set()
    problems = []
    for setting, path in folders:
        identity = _identity(path)
        other = by_identity.setdefault(identity, setting)
        # Below one drop_dir that two inboxes share, processed and failed would only be told as well.
        if other != setting and _identity(path.parent) not in clashing:
            clashing.add(identity)
            problems.append(f"{other} and {setting} are the same folder, {printable(path)}; give each its own")
    return problems


def _identity(path: Path) -> tuple[int, int] | str:
    try:
        found = path.stat()
    except OSError:
        return os.path.realpath(path)
    return found.st_dev, found.st_ino


def different_rates(rates: Iterable[tuple[str, str, float, int]]) -> list[str]:
    """Name the inboxes that disagree on their company's limit; `rates`: (account, inbox, requests a second, burst)."""
    by_account: dict[str, tuple[str, tuple[float, int]]] = {}
    problems = []
    for account, inbox, rate, burst in rates:
        other, limit = by_account.setdefault(account, (inbox, (rate, burst)))
        if limit != (rate, burst):
            problems.append(
                f"requests_per_second and burst: inboxes {printable(other)} and {printable(inbox)} are of one company, "
                "whose limit they share; set both once, above the first [[inboxes]]"
            )
    return problems
