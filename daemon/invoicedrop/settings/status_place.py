"""Where the status file may be, found without the settings being right, and without any secret.

A monitor is another user than the service: it may not read the token, perhaps not even the settings, and has none of
the variables that systemd gives the service.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from invoicedrop.settings.sources import FILE_NAME, PREFIX, Places, find_file, located, user_state

_PLACES = Places()


def status_files(
    config: Path | None = None, environ: Mapping[str, str] | None = None, *, places: Places = _PLACES
) -> Iterator[Path]:
    """Yield the paths where the status file may be, the likeliest first; only one where a setting names it.

    Raises:
        FileNotFoundError: there is no such settings file as `config`.

    """
    environ = os.environ if environ is None else environ
    named = {**_in_file(config, environ, places), **_in_environment(environ)}
    if "status_file" in named:
        yield named["status_file"]
        return
    # This may be a monitor's own, where it is a service of systemd's as well.
    if runtime := environ.get("RUNTIME_DIRECTORY", "").split(":")[0]:
        yield Path(runtime, FILE_NAME)
    if "state_dir" in named:
        yield named["state_dir"] / FILE_NAME
    yield places.runtime / FILE_NAME
    if "state_dir" not in named:
        state = environ.get("STATE_DIRECTORY", "").split(":")[0]
        yield Path(state or user_state(places), FILE_NAME)


def _in_file(config: Path | None, environ: Mapping[str, str], places: Places) -> dict[str, Path]:
    file, _ = find_file(config, environ, places)
    if file is None:
        return {}
    try:
        values = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        if config is not None:
            raise
        return {}
    except (OSError, ValueError, RecursionError):
        return {}
    return _paths(values, file.absolute().parent, environ)


def _in_environment(environ: Mapping[str, str]) -> dict[str, Path]:
    return _paths(
        {name: environ.get(f"{PREFIX}{name.upper()}") for name in ("status_file", "state_dir")}, None, environ
    )


def _paths(values: Mapping[str, Any], folder: Path | None, environ: Mapping[str, str]) -> dict[str, Path]:
    """Return those of the two settings that are paths, absolute."""
    paths = {}
    for name in ("status_file", "state_dir"):
        with suppress(OSError, ValueError):
            path = located(values.get(name), folder, environ)
            if isinstance(path, Path):
                paths[name] = path
    return paths
