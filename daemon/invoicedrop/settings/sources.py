"""Where settings are written: the environment, the TOML file, and what systemd or a container engine provides.

The sources are pydantic-settings' own, and it merges them (`Settings.settings_customise_sources`). Added here: every
value keeps its origin, and misspelt names, empty variables and unreadable files are problems instead of being passed
over. A problem never quotes a value: any value may be a token in the wrong place.
"""

import difflib
import os
import tomllib
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

import platformdirs
from pydantic_settings import BaseSettings, EnvSettingsSource, TomlConfigSettingsSource

from invoicedrop.errors import ConfigError, NotSeen
from invoicedrop.printable import printable
from invoicedrop.settings.token import exists, find_secret
from invoicedrop.system import permissions

PREFIX: Final = "INVOICEDROP_"
_CONFIG: Final = f"{PREFIX}CONFIG"
FOLDERS: Final = ("drop_dir", "processed_dir", "failed_dir")
PATHS: Final = (*FOLDERS, "status_page", "state_dir", "status_file", "notify_file", "api_token_file", "ledger_url_file")
FILE_NAME: Final = "service.json"
"""The status file's name, where no setting gives it another one."""
_MAY_BE_EMPTY: Final = frozenset({f"{PREFIX}STATUS_PAGE"})
"""The variables whose empty value means something."""


@dataclass(frozen=True, slots=True)
class Places:
    """The fixed places outside: settings file, container secret, the user's folders (None: ask platformdirs)."""

    config: Path = Path("/etc/invoicedrop/invoicedrop.toml")
    secret: Path = Path("/run/secrets/api_token")
    user_state: Path | None = None
    user_config: Path | None = None
    runtime: Path = Path("/run/invoicedrop")
    """The folder that the systemd unit makes for the status file."""

    @property
    def users_config(self) -> Path:
        """The settings file of this user alone, which counts where `config` does not exist."""
        return (self.user_config or platformdirs.user_config_path("invoicedrop")) / self.config.name


class Names(NamedTuple):
    """The names of all settings: those of an inbox, and those of the whole service."""

    inbox: tuple[str, ...]
    service: tuple[str, ...]

    @property
    def top_level(self) -> tuple[str, ...]:
        """What can be written above the inboxes, and in the environment."""
        return (*(name for name in self.inbox if name != "name"), *self.service, "inboxes")


class Layer(IntEnum):
    """The kind of source that a value comes from; the lowest number wins."""

    ENVIRONMENT = 1
    FILE = 2
    SYSTEM = 3


@dataclass(frozen=True, slots=True)
class SetValue:
    """One value and where it was written; relative paths in it start from `folder` (None: the working directory)."""

    value: Any = field(repr=False)
    origin: str
    layer: Layer = Layer.SYSTEM
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the settings: where to look, and the problems and warnings found on the way."""

    names: Names
    environ: Mapping[str, str]
    places: Places
    file: Path | None
    """The TOML file in force, if there is one."""
    given_by: str
    """How a problem with that file says who named it."""
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    """What this user may not read, though others may: no fault of the settings."""

    @property
    def file_or_default(self) -> Path:
        """The TOML file in force, or the one that would be."""
        return (self.file or self.places.config).absolute()

    def entry(self, name: str, value: Any, origin: str, layer: Layer, folder: Path | None = None) -> SetValue:
        """Return a value with its origin, absolute if it is a path."""
        return SetValue(located(value, folder, self.environ) if name in PATHS else value, origin, layer, folder)

    def entries(
        self, values: Mapping[str, Any], names: Collection[str], origin: str, layer: Layer, folder: Path | None
    ) -> dict[str, SetValue]:
        """Return the values that have one of `names`, with their origin; every other name is a problem."""
        for name in [name for name in values if name not in names]:
            if name == "name":
                self.problems.append(f"name ({origin}): only an inbox has a name; write it below [[inboxes]]")
            elif name in self.names.top_level:
                # TOML puts every line below [[inboxes]] into that inbox, however far down it stands.
                self.problems.append(
                    f"{name} ({origin}): is for the whole service; write it above the first [[inboxes]]"
                )
            else:
                self.problems.append(f"{_unknown(name, names)} ({origin})")
        return {name: self.entry(name, value, origin, layer, folder) for name, value in values.items() if name in names}


def _unknown(name: str, names: Collection[str], prefix: str = "") -> str:
    """Return what is said about a name that no setting has, with the nearest one that there is."""
    # Compared without the prefix, which alone makes all variables look alike.
    near = difflib.get_close_matches(name.casefold().removeprefix(prefix.casefold()), names, n=1)
    if not near:
        return f"{printable(name)}: there is no such setting; remove it"
    return f"{printable(name)}: did you mean {prefix + near[0].upper() if prefix else near[0]}?"


def located(value: Any, folder: Path | None, environ: Mapping[str, str]) -> Any:
    """Make a path absolute, ~ expanded; return what cannot be made so as it is, for the model to refuse."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        return value
    home = environ.get("HOME")
    if home and (value == "~" or value.startswith("~/")):
        value = home + value[1:]
    value = os.path.expanduser(value)  # noqa: PTH111 - Path.expanduser raises where this leaves the ~
    if not value.startswith("~"):
        with suppress(OSError):  # the working directory is gone
            # Nothing but joined: taking `..` out would lead elsewhere where a folder before it is a symlink.
            return Path(folder or "", value).absolute()
    return value


def find_file(config: Path | None, environ: Mapping[str, str], places: Places) -> tuple[Path | None, str]:
    """Return the TOML file in force (None: nobody named one, and the usual places have none), and who named it."""
    if config is not None:
        return config, ", given by --config"
    variable = environ.get(_CONFIG, "")
    if variable.strip():
        return Path(located(variable, None, environ)), f", given by {_CONFIG}"
    if exists(places.config):
        return places.config, ""
    # A home that is closed to this user is another one's (HOME as sudo or cron left it).
    return (places.users_config if os.access(places.users_config, os.F_OK) else None), ""


class Environment(EnvSettingsSource):
    """The variables INVOICEDROP_... of the environment that was handed in."""

    def __init__(self, settings_cls: type[BaseSettings], reading: Reading) -> None:
        super().__init__(settings_cls, case_sensitive=False)
        self._reading = reading
        self.env_vars = self._variables()

    def _variables(self) -> dict[str, str | None]:
        """Return the variables that can be used, in lower case, as the base class looks them up; note the others."""
        names = (*self._reading.names.top_level, "config")
        variables = {PREFIX + name.upper() for name in names}
        usable: dict[str, str | None] = {}
        for variable, value in sorted(self._reading.environ.items()):
            if not variable.upper().startswith(PREFIX):
                continue
            if variable in variables and (value.strip() or variable in _MAY_BE_EMPTY):
                usable[variable.lower()] = value
                continue
            problem = _unknown(variable, names, PREFIX)
            if variable in variables:
                # Taken for "not set", an empty INVOICEDROP_PROJECT_ID would upload to the project that the file names.
                problem = f"{variable}: is set but empty; give it a value or remove it from the environment"
            elif variable == f"{PREFIX}NAME":
                problem = f"{variable}: only an inbox has a name; write it into INVOICEDROP_INBOXES or [[inboxes]]"
            self._reading.problems.append(problem)
        return usable

    def __call__(self) -> dict[str, Any]:
        """Return the values with their origin."""
        return {
            name: self._reading.entry(name, value, f"environment {PREFIX}{name.upper()}", Layer.ENVIRONMENT)
            for name, value in super().__call__().items()
        }


class TomlFile(TomlConfigSettingsSource):
    """The TOML file in force. It may be a pipe, `--config <(...)`, and one that cannot be read is a problem."""

    def __init__(self, settings_cls: type[BaseSettings], reading: Reading) -> None:
        self._reading = reading
        super().__init__(settings_cls)

    def _read_files(self, files: Any, deep_merge: bool = False) -> dict[str, Any]:  # noqa: ARG002 - inherited
        """Read the one file, where the base class would pass over whatever is no regular file."""
        return {} if self._reading.file is None else self._read_file(self._reading.file)

    def _read_file(self, file_path: Any) -> dict[str, Any]:
        try:
            return tomllib.loads(file_path.read_bytes().decode("utf-8-sig"))
        except (FileNotFoundError, NotADirectoryError):
            problem = "does not exist; correct the path or create the file"
        except IsADirectoryError:
            problem = "is a folder; name the TOML file inside it"
        except PermissionError:
            where = f"settings file {printable(file_path)}{self._reading.given_by}"
            remedy = "let the service's user read it, or ask as root: sudo invoicedrop ..."
            raise NotSeen([f"{where}: may not be read by {permissions.ourselves()}; {remedy}"]) from None
        except OSError as error:
            problem = f"cannot be read ({error.strerror}); name a file that can"
        except UnicodeDecodeError as error:
            problem = f"is not UTF-8 text (byte {error.start}); save it as UTF-8"
        except tomllib.TOMLDecodeError as error:
            problem = f"is not valid TOML: {error}"
        except (ValueError, RecursionError):
            # A path with a NUL, an integer of thousands of digits, a thousand brackets.
            remedy = "look for control characters in its path, and for endless numbers or nesting in it"
            problem = f"cannot be read; {remedy}"
        # No other check would help: what seems to be missing may be in this file.
        problem = f"settings file {printable(file_path)}{self._reading.given_by}: {problem}"
        raise ConfigError([*self._reading.problems, problem])

    def __call__(self) -> dict[str, Any]:
        """Return the values with their origin."""
        file = self._reading.file_or_default
        names = self._reading.names.top_level
        return self._reading.entries(super().__call__(), names, printable(file), Layer.FILE, file.parent)


def user_state(places: Places) -> Path:
    """Return the folder for a user's own state."""
    return places.user_state or platformdirs.user_state_path("invoicedrop")


def provided(reading: Reading) -> dict[str, SetValue]:
    """Return what the system provides: a state folder, and the token put in place by systemd or a container engine."""
    state = reading.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if state:
        values = {"state_dir": reading.entry("state_dir", state, "$STATE_DIRECTORY", Layer.SYSTEM)}
    else:
        values = {"state_dir": SetValue(user_state(reading.places), "user state folder")}
    runtime = reading.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if runtime:
        file = f"{runtime}/{FILE_NAME}"
        values["status_file"] = reading.entry("status_file", file, "$RUNTIME_DIRECTORY", Layer.SYSTEM)
    if secret := find_secret(reading.environ, reading.places.secret):
        values["api_token_file"] = SetValue(secret.path, secret.shown)
    return values
