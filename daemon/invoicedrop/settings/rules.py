"""What is wrong with the settings, as sentences: single values, tokens, and what does not fit together."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from invoicedrop.errors import ConfigError, NotSeen
from invoicedrop.printable import printable
from invoicedrop.settings.ledger_url import read_url_file
from invoicedrop.settings.sources import FOLDERS, PREFIX, Layer, Reading, SetValue
from invoicedrop.settings.tables import Table
from invoicedrop.settings.token import check_token, read_token_file, readable_by_all
from invoicedrop.system.dated_folder import DatedFolder

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_Model = TypeVar("_Model", bound=BaseModel)
_KINDS: Final = {
    "int": "must be a whole number",
    "float": "must be a number",
    "finite_number": "must be an ordinary number",
    "bool": "must be true or false",
    "string": "must be text in quotes",
}
_PASSWORD: Final = re.compile(r"://[^/@]*:[^/@]*@|[?&]password=")
_BOUNDS: Final = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}


def validated(validate: Callable[[dict[str, Any]], _Model], table: Table, reading: Reading) -> _Model | None:
    """Return what `validate` makes of the values; None, and the problems noted, if it refuses one of them."""
    try:
        return validate({name: entry.value for name, entry in table.entries.items()})
    except ValidationError as refused:
        for error in refused.errors(include_input=False, include_url=False):
            name = str(error["loc"][0])
            if name in table.entries:
                reading.problems.append(f"{name} ({table.entries[name].origin}): {sentence(error)}")
            elif error["type"] == "missing":
                reading.problems.append(_missing(name, table, reading))
            # Anything else follows from another problem: no folder inside a wrong drop_dir, no inbox that is right.
    return None


def sentence(error: "ErrorDetails") -> str:
    """Return what a pydantic error asks for, without the value (it may be a misplaced token)."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "sentence":
        return error["msg"]
    if kind == "literal_error":
        return f"must be {context['expected']}"
    for bound, words in _BOUNDS.items():
        if bound in context:
            return f"must be {words} {context[bound]:.10g}"
    return next((words for start, words in _KINDS.items() if kind.startswith(start)), f"is not right ({kind})")


def _missing(name: str, table: Table, reading: Reading) -> str:
    if table.label:
        return f"{name} (inbox {table.label}): is missing; set it for this inbox"
    return f"{name}: is missing; set it in {printable(reading.file_or_default)} or as {PREFIX}{name.upper()}"


def check_tokens(tables: Iterable[Table], reading: Reading) -> None:
    """Note for each inbox what is wrong with its token, and whether everybody can read it."""
    for table in tables:
        try:
            _check_token(table, reading)
        except NotSeen as error:
            reading.unseen.extend(error.problems)
        except ConfigError as error:
            reading.problems.extend(error.problems)


def _check_token(table: Table, reading: Reading) -> None:
    token, file = table.entries.get("api_token"), table.entries.get("api_token_file")
    if token is None and file is None:
        reading.problems.append(f"{_missing('api_token_file', table, reading)}, with the path of a file that holds it")
    elif token is not None and isinstance(token.value, str):
        check_token(token.value, f"api_token ({token.origin})")
        if token.layer is Layer.FILE:
            _warn_if_open(reading.file_or_default, "640", reading)
    elif file is not None and isinstance(file.value, Path):
        read_token_file(file.value)
        # Container engines make secrets readable by all, inside the container, where nobody else is.
        if file.layer is not Layer.SYSTEM and file.value.parent != reading.places.secret.parent:
            _warn_if_open(file.value, "600", reading)


def check_ledger_url(service: Table, reading: Reading) -> None:
    """Note what is wrong with the file that the ledger's address is in, and whether everybody can read a password."""
    url, file = service.entries.get("ledger_url"), service.entries.get("ledger_url_file")
    if url is not None and url.layer is Layer.FILE and isinstance(url.value, str) and _PASSWORD.search(url.value):
        _warn_if_open(reading.file_or_default, "640", reading, what="the database's password")
    if file is not None and isinstance(file.value, Path):
        try:
            found = read_url_file(file.value)
        except ConfigError as error:
            reading.problems.extend(error.problems)
            return
        if _PASSWORD.search(found) and file.value.parent != reading.places.secret.parent:
            _warn_if_open(file.value, "600", reading, what="the database's password")


def _warn_if_open(file: Path, mode: str, reading: Reading, *, what: str = "the API token") -> None:
    if readable_by_all(file):
        reading.warnings.append(f"{printable(file)} holds {what} and everybody may read it: chmod {mode}")


def same_names(tables: Iterable[Table]) -> Iterator[str]:
    """Yield a problem for each inbox with another one's name; upper and lower case are the same to people."""
    seen: set[str] = set()
    for table in tables:
        if table.label.casefold() in seen:
            yield f"name: two inboxes are called {table.label}; give each inbox a name of its own"
        seen.add(table.label.casefold())


def same_folders(tables: Iterable[Table]) -> Iterator[str]:
    """Yield a problem for each two settings that lead to one folder, also through symlinks and bind mounts.

    Of a folder for each month any may be the other one, at its time.
    """
    settings: dict[tuple[int, int] | str, str] = {}
    folders: list[tuple[str, Path]] = []
    clashing = set()
    for table in tables:
        for name in (*FOLDERS, "state_dir"):
            path = table.entries[name].value if name in table.entries else None
            if not isinstance(path, Path):
                continue
            setting = f"{name} of inbox {table.label}" if table.label else name
            folders.append((setting, path))
            identity = _identity(path)
            other = settings.setdefault(identity, setting)
            # Below one drop_dir that two inboxes share, processed and failed would only be named as well.
            if other != setting and _identity(path.parent) not in clashing:
                clashing.add(identity)
                yield f"{other} and {setting} are the same folder, {printable(path)}; give each its own"
    for (setting, path), (other, folder) in permutations(folders, 2):
        if DatedFolder.of(path).is_dated and path != folder and DatedFolder.of(path).may_be(folder):
            yield f"{setting} may be the same folder as {other}, {printable(folder)}; give each its own"


def is_same_place(folder: Path, other: Path) -> bool:
    """Whether two paths lead to one folder, which need not be there."""
    return _identity(folder) == _identity(other)


def same_pages(tables: Iterable[Table]) -> Iterator[str]:
    """Yield a problem for each two inboxes with one status page: each would replace the other's."""
    pages: dict[str, Table] = {}
    for table in tables:
        page = _page(table)
        if page is None:
            continue
        other = pages.setdefault(os.path.realpath(page.value), table)
        # Where both are by default in their drop folders, those are the same, and that is said.
        if other is not table and {page.origin, other.entries["status_page"].origin} != {"inside drop_dir"}:
            inboxes = f"inbox {other.label} and of inbox {table.label}"
            yield f"status_page of {inboxes} are the same file, {printable(page.value)}; give each its own"


def _page(table: Table) -> SetValue | None:
    entry = table.entries.get("status_page")
    return entry if entry is not None and isinstance(entry.value, Path) else None


def _identity(path: Path) -> tuple[int, int] | str:
    try:
        stat = path.stat()
    except OSError:
        return os.path.realpath(path)
    return stat.st_dev, stat.st_ino


def different_rates(rates: Iterable[tuple[str, str, float, int]]) -> Iterator[str]:
    """Yield a problem for each inbox with another limit than its company's first; account, inbox, rate, burst."""
    limits: dict[str, tuple[str, tuple[float, int]]] = {}
    for account, inbox, rate, burst in rates:
        other, limit = limits.setdefault(account, (inbox, (rate, burst)))
        if limit != (rate, burst):
            yield (
                f"requests_per_second and burst: inboxes {printable(other)} and {printable(inbox)} are of one company, "
                "whose limit they share; set both once, above the first [[inboxes]]"
            )
