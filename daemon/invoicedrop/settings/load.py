"""The settings: one frozen object, built once, from every place where somebody wrote something down.

`load` reads the sources (config_sources), lets the models judge each value (config_models), compares what must fit
together (config_checks), and reports all problems at once. Top-level values are the defaults of every inbox; an inbox's
own value wins over them, wherever they come from: INVOICEDROP_PROJECT_ID must not send three shops' invoices to one.
A token that stands in a file is not kept here: `read_token` reads it anew each time it is called.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import platformdirs
from pydantic import BaseModel, SecretStr, ValidationError

from invoicedrop.errors import ConfigError
from invoicedrop.printable import printable
from invoicedrop.settings.models import Inbox, Settings
from invoicedrop.settings.rules import different_rates, same_folders, same_names, sentence
from invoicedrop.settings.sources import PREFIX, Gathered, Names, Places, Table, Written, gather, resolve
from invoicedrop.settings.token import check_token, find_secret, read_token_file, readable_by_all

__all__ = ["Described", "Inbox", "Places", "Settings", "describe", "load", "read_token"]

_MASK: Final = "[secret]"
_NAMES: Final = Names(
    inbox=tuple(Inbox.model_fields),
    service=tuple(name for name in Settings.model_fields if name not in {"inboxes", "source", "warnings", "origins"}),
)
_TOKEN: Final = ("api_token", "api_token_file")
_FOLDERS: Final = ("drop_dir", "processed_dir", "failed_dir")
_PATHS: Final = (*_FOLDERS, "state_dir", "api_token_file")
_PLACES: Final = Places()
_Model = TypeVar("_Model", bound=BaseModel)


class Described(NamedTuple):
    """One setting in force; `inbox` is empty for what concerns the whole service, secrets are masked."""

    inbox: str
    setting: str
    value: str
    source: str


def load(config: Path | None = None, environ: Mapping[str, str] | None = None, *, places: Places = _PLACES) -> Settings:
    """Build the settings from the TOML file, the environment and secret files.

    Args:
        config: the TOML file; else the one that INVOICEDROP_CONFIG names, else `places.config` where it exists.
        environ: the environment to read instead of this process's.
        places: the fixed paths that are looked at, to be replaced in tests.

    Raises:
        ConfigError: with every problem at once, each a sentence that names the setting, its source and the fix.

    """
    environ = os.environ if environ is None else environ
    return _Load(gather(config, environ, places, _NAMES), environ, places).settings()


class _Load:
    """One call of `load`: merges and judges values, and collects what there is to say about them."""

    def __init__(self, gathered: Gathered, environ: Mapping[str, str], places: Places) -> None:
        self._gathered = gathered
        self._environ = environ
        self._places = places
        self._problems = list(gathered.problems)
        self._warnings: list[str] = []
        self._origins: list[tuple[str, str, str]] = []

    def settings(self) -> Settings:
        top, tables = self._gathered.top, self._gathered.tables
        folders: list[tuple[str, Path]] = []
        if tables is not None:
            self._problems += [
                f"{name} ({top.pop(name).source}): does not say which inbox it is for; write it below each [[inboxes]]"
                for name in _FOLDERS
                if name in top
            ]
            self._problems += same_names(table.label for table in tables)
        inboxes = [
            inbox
            for table in (tables if tables is not None else [Table("default", {})])
            if (inbox := self._inbox(table, folders))
        ]
        service = {"state_dir": self._default_state_dir()}
        service |= {name: written for name, written in top.items() if name in _NAMES.service}
        values = self._resolved(service)
        if isinstance(state_dir := values.get("state_dir"), Path):
            folders.append(("state_dir", state_dir))
        settings = self._judged(Settings, "", service, values | {"inboxes": inboxes, "source": self._gathered.file})
        self._problems += same_folders(folders)
        self._problems += different_rates(
            (one.account, one.name, one.requests_per_second, one.burst) for one in inboxes
        )
        if self._problems or settings is None:
            raise ConfigError(list(dict.fromkeys(self._problems)))
        found = {"warnings": tuple(dict.fromkeys(self._warnings)), "origins": tuple(self._origins)}
        return settings.model_copy(update=found)

    def _inbox(self, table: Table, folders: list[tuple[str, Path]]) -> Inbox | None:
        top = self._gathered.top
        written = {name: value for name, value in top.items() if name in _NAMES.inbox and name not in _TOKEN}
        token = self._token(table)
        for name, own in table.own.items():
            if name in top and top[name].layer == "environment" and own.layer == "file":
                self._warnings.append(
                    f"{top[name].source} is not used for inbox {table.label}, which sets its own {name} ({own.source})"
                )
        written |= {name: own for name, own in table.own.items() if name not in _TOKEN} | token
        values = self._resolved(written)
        self._check_token(table.label, written, values)
        of_inbox = "" if self._gathered.tables is None else f" of inbox {table.label}"
        drop_dir = values.get("drop_dir")
        for name, default in zip(_FOLDERS, (None, "processed", "failed"), strict=True):
            folder = values.get(name)
            if folder is None and name not in written and default and isinstance(drop_dir, Path):
                folder = drop_dir / default
                self._origins.append((table.label, name, "inside drop_dir"))
            if isinstance(folder, Path):
                folders.append((name + of_inbox, folder))
        return self._judged(Inbox, table.label, written, values)

    def _token(self, table: Table) -> dict[str, Written]:
        """Return the token of the nearest layer that has one: the inbox, environment, file, a secret put in place."""
        top = [(name, self._gathered.top[name]) for name in _TOKEN if name in self._gathered.top]
        layers: tuple[dict[str, Written], ...] = (
            {name: table.own[name] for name in _TOKEN if name in table.own},
            {name: written for name, written in top if written.layer == "environment"},
            dict(top),
        )
        for layer in layers:
            if layer:
                return layer
        found = find_secret(self._environ, self._places.secret)
        return {"api_token_file": Written(found.path, found.shown)} if found else {}

    def _check_token(self, label: str, written: Mapping[str, Written], values: Mapping[str, Any]) -> None:
        inline, file = values.get("api_token"), values.get("api_token_file")
        try:
            if isinstance(inline, str):
                check_token(inline, f"api_token ({written['api_token'].source})")
                toml = self._gathered.file
                if written["api_token"].layer == "file" and toml and readable_by_all(toml):
                    self._warnings.append(f"{printable(toml)} holds the API token and everybody may read it: chmod 640")
            elif isinstance(file, Path):
                read_token_file(file)
                # Container engines make secrets readable by all, inside the container, where nobody else is.
                guarded = written["api_token_file"].layer == "default" or file.parent == self._places.secret.parent
                if not guarded and readable_by_all(file):
                    self._warnings.append(f"{printable(file)} holds the API token and everybody may read it: chmod 600")
            elif not any(name in written for name in _TOKEN):
                self._problems.append(
                    f"{self._missing('api_token_file', label)}, with the path of a file that holds it"
                )
        except ConfigError as error:
            self._problems += error.problems

    def _resolved(self, written: Mapping[str, Written]) -> dict[str, Any]:
        values = {}
        for name, one in written.items():
            try:
                values[name] = resolve(one, self._environ) if name in _PATHS else one.value
            except ValueError as error:
                self._problems.append(f"{name} ({one.source}): {error}")
        return values

    def _judged(
        self, model: type[_Model], inbox: str, written: Mapping[str, Written], values: Mapping[str, Any]
    ) -> _Model | None:
        self._origins += [(inbox, name, one.source) for name, one in written.items()]
        try:
            return model.model_validate(values)
        except ValidationError as invalid:
            errors = invalid.errors(include_input=False, include_url=False)
        for error in errors:
            name = str(error["loc"][0])
            if name in values:
                # No inbox: told already, whatever was wrong with each.
                if name != "inboxes":
                    self._problems.append(f"{name} ({written[name].source}): {sentence(error)}")
            elif name not in written and error["type"] == "missing" and name != "name":
                self._problems.append(self._missing(name, inbox))
        return None

    def _missing(self, name: str, inbox: str) -> str:
        if self._gathered.tables is not None:
            return f"{name} (inbox {inbox}): is missing; set it for this inbox"
        file = printable(self._gathered.file or self._places.config)
        return f"{name}: is missing; set it in {file} or as {PREFIX}{name.upper()}"

    def _default_state_dir(self) -> Written:
        given = self._environ.get("STATE_DIRECTORY", "").split(":")[0]
        if given:
            return Written(given, "$STATE_DIRECTORY")
        return Written(self._places.user_state or platformdirs.user_state_path("invoicedrop"), "user state folder")


def describe(settings: Settings) -> list[Described]:
    """List every setting in force and where it came from, secrets masked, in the order of the settings file."""
    origins = {(inbox, name): source for inbox, name, source in settings.origins}
    return [
        Described(inbox, name, _shown(value), origins.get((inbox, name), "default"))
        for inbox, names, model in (
            *((one.name, _NAMES.inbox, one) for one in settings.inboxes),
            ("", _NAMES.service, settings),
        )
        for name in names
        if (value := getattr(model, name)) is not None
    ]


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return _MASK
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return printable(str(value))


def read_token(inbox: Inbox) -> str:
    """Return the inbox's API token; a token file is read again each time, so that a renewed token is found.

    Raises:
        ConfigError: there is no usable token; the sentence names the place and the fix, and does not show the token.

    """
    if inbox.api_token_file is not None:
        return read_token_file(inbox.api_token_file)
    if inbox.api_token is not None:
        return check_token(inbox.api_token.get_secret_value(), f"api_token of inbox {printable(inbox.name)}")
    raise ConfigError([f"api_token_file of inbox {printable(inbox.name)}: is missing; set it to a file with the token"])
