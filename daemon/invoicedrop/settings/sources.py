"""Where settings are written down: TOML file, environment, secret files; with the place each value came from.

pydantic-settings merges the layers (environment over file). Its own sources would lose where a value came from, and
they ignore misspelt environment variables even with `extra="forbid"`; so the two sources here hand it `Written` values
and report what nobody asked for. No value is ever part of a problem's text: any of them may be a misplaced token.
"""

import difflib
import json
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from invoicedrop.errors import ConfigError
from invoicedrop.printable import printable

PREFIX: Final = "INVOICEDROP_"
_CONFIG_VARIABLE: Final = f"{PREFIX}CONFIG"


@dataclass(frozen=True, slots=True)
class Places:
    """The fixed places outside: settings file, container secret, user's state folder (None: ask platformdirs)."""

    config: Path = Path("/etc/invoicedrop/invoicedrop.toml")
    secret: Path = Path("/run/secrets/api_token")
    user_state: Path | None = None


class Names(NamedTuple):
    """The names of all settings: those that an inbox can have, and those of the whole service."""

    inbox: tuple[str, ...]
    service: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """One value as somebody wrote it; a relative path in it starts from `folder` (None: the working directory)."""

    value: Any = field(repr=False)
    source: str
    layer: Literal["environment", "file", "default"] = "default"
    folder: Path | None = None


class Table(NamedTuple):
    """One of the `[[inboxes]]`: its name, or its number where it has none, and what it sets itself."""

    label: str
    own: dict[str, Written]


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that is written down: top level (merged), inboxes (None: plain settings), the TOML file read, problems."""

    top: dict[str, Written]
    tables: list[Table] | None
    file: Path | None
    problems: list[str]


class _Layer(PydanticBaseSettingsSource):
    """A layer of values that were read already."""

    def __init__(self, settings_cls: type[BaseSettings], written: dict[str, Written]) -> None:
        super().__init__(settings_cls)
        self._written = written

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - inherited
        return self._written.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return dict(self._written)


def gather(config: Path | None, environ: Mapping[str, str], places: Places, names: Names) -> Gathered:
    """Read every layer; what is wrong with names and syntax is in `problems`.

    Raises:
        ConfigError: the TOML file cannot be read, so that judging the rest would only mislead.

    """
    problems: list[str] = []
    known = (*(name for name in names.inbox if name != "name"), *names.service, "inboxes")
    environment = _read_environment(environ, known, problems)
    try:
        file, parsed = _find_toml(config, environ, places)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    written: dict[str, Written] = {}
    if file is not None:
        folder = file.parent
        for name, value in parsed.items():
            if name in known:
                written[name] = Written(value, printable(file), "file", folder)
            elif name == "name":
                problems.append(f"name ({printable(file)}): only an inbox has a name; write it below [[inboxes]]")
            else:
                problems.append(f"{_unknown(name, known)} ({printable(file)})")

    class Merged(BaseSettings):
        model_config = SettingsConfigDict(extra="allow")

        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_args: Any, **_kwargs: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return _Layer(settings_cls, environment), _Layer(settings_cls, written)

    top: dict[str, Written] = dict(Merged().model_extra or {})
    tables = _tables(top.pop("inboxes", None), names, problems)
    return Gathered(top, tables, file, problems)


def _read_environment(environ: Mapping[str, str], known: Sequence[str], problems: list[str]) -> dict[str, Written]:
    variables = {PREFIX + name.upper(): name for name in known}
    written: dict[str, Written] = {}
    for variable in sorted(environ):
        if not variable.upper().startswith(PREFIX):
            continue
        name = variables.get(variable)
        if name is None and variable == f"{PREFIX}NAME":
            problems.append(f"{variable}: only an inbox has a name; write it into INVOICEDROP_INBOXES or [[inboxes]]")
        elif name is None and variable != _CONFIG_VARIABLE:
            problems.append(_unknown(variable.upper().removeprefix(PREFIX), (*known, "config"), shown=variable))
        elif not environ[variable].strip():
            # Taken for "not set", an empty INVOICEDROP_PROJECT_ID would upload to the project that the file names.
            problems.append(f"{variable}: is set but empty; give it a value or remove it from the environment")
        elif name is not None:
            written[name] = Written(environ[variable], f"environment {variable}", "environment")
    return written


def _find_toml(config: Path | None, environ: Mapping[str, str], places: Places) -> tuple[Path | None, dict[str, Any]]:
    """Parse the file in force: absolute path and content; (None, {}) if there is none and nobody asked for one."""
    variable = environ.get(_CONFIG_VARIABLE, "")
    if config is not None:
        return _read_toml(config, ", given by --config")
    if not variable.strip():
        return _read_toml(places.config, None)
    try:
        path = resolve(Written(variable, _CONFIG_VARIABLE), environ)
    except ValueError as error:
        raise ConfigError([f"{_CONFIG_VARIABLE}: {error}"]) from None
    return _read_toml(path, f", given by {_CONFIG_VARIABLE}")


def _read_toml(path: Path, asked: str | None) -> tuple[Path | None, dict[str, Any]]:
    try:
        return path.absolute(), tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        if asked is None:
            return None, {}
        problem = "does not exist; correct the path or create the file"
    except IsADirectoryError:
        problem = "is a folder; name the TOML file inside it"
    except OSError as error:
        problem = f"cannot be read ({error.strerror}); let the user that the service runs as read it"
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 text (byte {error.start}); save it as UTF-8"
    except tomllib.TOMLDecodeError as error:
        problem = f"is not valid TOML: {error}"
    except (ValueError, RecursionError):
        # A path with a NUL, an integer of thousands of digits, a thousand brackets.
        problem = "cannot be read; look for control characters in its path, and for endless numbers or nesting in it"
    raise ConfigError([f"settings file {printable(path)}{asked or ''}: {problem}"])


def _tables(inboxes: Written | None, names: Names, problems: list[str]) -> list[Table] | None:
    if inboxes is None:
        return None
    value = inboxes.value
    if inboxes.layer == "environment":
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            problems.append(
                f"inboxes ({inboxes.source}): is not valid JSON (line {error.lineno}, column {error.colno})"
            )
            return []
        except (RecursionError, ValueError):
            problems.append(f"inboxes ({inboxes.source}): is not valid JSON; it is nested too deeply")
            return []
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        form = "a JSON array of objects" if inboxes.layer == "environment" else "tables: [[inboxes]], two brackets"
        problems.append(f"inboxes ({inboxes.source}): write them as {form}")
        return []
    if not value:
        problems.append(f"inboxes ({inboxes.source}): is empty; name at least one inbox, or leave it out")
    return [_table(number, entry, inboxes, names, problems) for number, entry in enumerate(value, 1)]


def _table(number: int, entry: dict[str, Any], inboxes: Written, names: Names, problems: list[str]) -> Table:
    name = entry.get("name")
    label = printable(name) if isinstance(name, str) and name.strip() else f"number {number}"
    source = f"{inboxes.source}, inbox {label}"
    own: dict[str, Written] = {}
    for key, value in entry.items():
        if value is None:
            continue  # JSON's null; TOML has none
        if key in names.inbox:
            own[key] = Written(value, source, inboxes.layer, inboxes.folder)
        elif key in names.service or key == "inboxes":
            # TOML puts every line below [[inboxes]] into that inbox, however far down it stands.
            problems.append(f"{key} ({source}): is for the whole service; write it above the first [[inboxes]]")
        else:
            problems.append(f"{_unknown(key, names.inbox)} ({source})")
    if "name" not in own:
        problems.append(f"name ({source}): is missing; give each inbox a name of its own")
    return Table(label, own)


def _unknown(name: str, known: Iterable[str], shown: str | None = None) -> str:
    """Name the nearest right name; a variable is compared without our prefix, which alone makes all look alike."""
    near = difflib.get_close_matches(name.casefold(), known, n=1)
    if not near:
        return f"{printable(shown or name)}: there is no such setting; remove it"
    return f"{printable(shown or name)}: did you mean {PREFIX + near[0].upper() if shown else near[0]}?"


def resolve(written: Written, environ: Mapping[str, str]) -> Path:
    """Make an absolute path of a written one: `~` expanded, a relative one counted from where it was written.

    Raises:
        ValueError: it is no path; the text says why.

    """
    value = written.value
    if isinstance(value, Path):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a path, as text in quotes")  # noqa: TRY004 - one error for all that is no path
    if not value.strip() or "\0" in value:
        raise ValueError("must be a path; it is empty or has control characters")
    home = environ.get("HOME")
    if home and (value == "~" or value.startswith("~/")):
        value = home + value[1:]
    value = os.path.expanduser(value)  # noqa: PTH111 - Path.expanduser raises where this leaves the ~, which is told below
    if value.startswith("~"):
        raise ValueError("starts with ~, but this user has no home folder; write the full path")
    try:
        # Nothing but joined: taking `..` out would lead elsewhere where a folder before it is a symlink.
        return Path(written.folder or "", value).absolute()
    except OSError:
        raise ValueError("is relative to a working directory that no longer exists; write the full path") from None
