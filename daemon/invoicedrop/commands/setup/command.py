"""`invoicedrop setup`: writes settings and token where nothing is yet, and reads them back at once."""

import json
import os
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import typer

from invoicedrop.commands.packaged import example
from invoicedrop.commands.setup.answers import Answers
from invoicedrop.errors import ConfigError, NotSetUp
from invoicedrop.printable import printable
from invoicedrop.settings.load import load
from invoicedrop.settings.sources import PREFIX, Places
from invoicedrop.settings.token import exists
from invoicedrop.system import disk, permissions
from invoicedrop.system.mover import DEFAULT_MOVER
from invoicedrop.system.presence import is_folder

_TOKEN: Final = "api_token"  # noqa: S105 - a file's name


def default_config(environ: Mapping[str, str], places: Places) -> Path:
    """Return where this user's settings are found if nobody names a file: root's are the machine's."""
    named = environ.get(f"{PREFIX}CONFIG", "").strip()
    if named:
        return Path(named)
    return places.config if os.geteuid() == 0 else places.users_config


def setup(answers: Answers, config: Path | None, *, make_folder: bool = True, places: Places | None = None) -> None:
    """Ask what was not answered, write the settings to `config` and the token beside it, and say what comes next.

    The settings are written last: what an interruption left is taken up by the next call. A token that is there stays.

    Raises:
        NotSetUp: there are settings already, an answer is wrong, or it cannot be written; nothing was changed then.

    """
    places = places or Places()
    target = (config or default_config(os.environ, places)).absolute()
    token_file = target.parent / _TOKEN
    if exists(target):
        raise NotSetUp([f"{printable(target)} is there already: edit it, or name another file with --config"])
    has_token = exists(token_file)
    company, project = answers.numbers()
    folder = answers.folder()
    token = None if has_token else answers.token()
    text = _settings(company, project, folder, token_file, answers.api_url)
    made = is_folder(folder) or not make_folder
    try:
        disk.make_folder(target.parent, parents=True)
        if not made:
            disk.make_folder(folder, parents=True)
        if token is not None:
            _write(token_file, token + "\n", 0o600)
    except OSError as error:
        raise NotSetUp([f"{printable(str(error.filename or target.parent))}: {error.strerror}"]) from error
    try:
        warnings = _commit(text, target, token_file)
    except BaseException:
        if token is not None:
            disk.remove(token_file)
        raise
    typer.echo(f"Settings: {printable(target)} (with every other setting, and its default)")
    kept = "which was there already" if has_token else f"readable by {permissions.user_name(os.geteuid())} only"
    typer.echo(f"API token: {printable(token_file)}, {kept}")
    typer.echo(f"Drop folder: {printable(folder)}{'' if made else ', made'}")
    for warning in warnings:
        typer.echo(f"Note: {printable(warning)}")
    option = "" if target in {places.config, places.users_config} else f" --config {shlex.quote(str(target))}"
    if make_folder:
        typer.echo(f"\nNext:\n  invoicedrop check{option}\n  invoicedrop run{option}")


def _commit(text: str, target: Path, token_file: Path) -> tuple[str, ...]:
    """Write the settings beside their place, read them as the service would, and put them there; return warnings."""
    trial = target.parent / disk.unfinished_name()
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    try:
        _write(trial, text, 0o644)
        warnings = load(trial, others).warnings
        DEFAULT_MOVER.move(trial, target)
    except ConfigError as error:
        raise NotSetUp([problem.replace(str(trial), str(target)) for problem in error.problems]) from error
    except FileExistsError:
        raise NotSetUp([f"{printable(target)} has just been written by somebody else"]) from None
    except OSError as error:
        raise NotSetUp([f"{printable(target)} cannot be written: {error.strerror}"]) from error
    finally:
        with suppress(OSError):
            disk.remove(trial)
    with suppress(OSError):
        # Both are there now; that they outlive a loss of power in this moment is no reason to take one back.
        disk.sync_folder(token_file.parent)
    return warnings


def _write(path: Path, text: str, mode: int) -> None:
    """Write a new file that nobody else could read for a moment.

    Raises:
        OSError: it cannot be written; FileExistsError if there is one.

    """
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        disk.remove(path)
        raise


def _settings(company: str, project: str, folder: Path, token_file: Path, api_url: str | None) -> str:
    """Return the commented example with these values in it."""
    text = example("config/invoicedrop.toml")
    values = {
        "company_id": company,
        "project_id": project,
        "drop_dir": _quoted(str(folder)),
        "api_token_file": _quoted(str(token_file)),
    }
    if api_url is not None:
        values["# api_url"] = _quoted(api_url)
    for name, value in values.items():
        line = f"{name.removeprefix('# ')} = {value}"
        before, line_there, after = _cut(text, name)
        assert line_there, name
        text = f"{before}{line}{after}"
    return text


def _cut(text: str, name: str) -> tuple[str, str, str]:
    """Return what stands before the line of a setting, that line, and what stands behind it."""
    match = re.search(rf"^{re.escape(name)} = .*$", text, re.MULTILINE)
    return (text, "", "") if match is None else (text[: match.start()], match[0], text[match.end() :])


def _quoted(text: str) -> str:
    """Return text as a TOML basic string: JSON's escapes are TOML's."""
    return json.dumps(text, ensure_ascii=False)
