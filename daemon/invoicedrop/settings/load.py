"""The settings: one frozen object, built once, from every place where they can be written.

It does not hold a token that is in a file: `read_token` reads the file again each time.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import SecretStr

from invoicedrop.errors import ConfigError, NotSeen
from invoicedrop.printable import printable
from invoicedrop.settings.inbox import Inbox
from invoicedrop.settings.ledger_url import read_url_file
from invoicedrop.settings.settings import NAMES, Settings
from invoicedrop.settings.sources import Places, Reading, find_file
from invoicedrop.settings.token import check_token, read_token_file

_MASK: Final = "[secret]"
_PLACES: Final = Places()


class Described(NamedTuple):
    """One setting in force; `inbox` is empty for what concerns the whole service, secrets are masked."""

    inbox: str
    setting: str
    value: str
    source: str


def load(
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    places: Places = _PLACES,
    token_is_needed: bool = True,
) -> Settings:
    """Build the settings from the TOML file, the environment and secret files.

    Args:
        config: the TOML file; else the one that INVOICEDROP_CONFIG names, else `places.config` where it exists.
        environ: the environment to read instead of this process's.
        places: the fixed paths that are looked at, to be replaced in tests.
        token_is_needed: a token that this user may not read is a problem; else it is told in `Settings.unseen`.

    Raises:
        ConfigError: with every problem at once, each a sentence that names the setting, its source and the fix.
        NotSeen: this user may not read the settings, and no token is needed.

    """
    environ = os.environ if environ is None else environ
    reading = Reading(NAMES, environ, places, *find_file(config, environ, places))
    try:
        settings = Settings(reading=reading)  # type: ignore[call-arg]  # all else comes from its sources
    except NotSeen as error:
        if token_is_needed:
            raise ConfigError(error.problems) from error
        raise
    if token_is_needed and settings.unseen:
        raise ConfigError(settings.unseen)
    return settings


def describe(settings: Settings) -> list[Described]:
    """List every setting in force and where it came from, secrets masked, in the order of the settings file.

    The environment variables that other programs obey too (HTTPS_PROXY, SSL_CERT_FILE) are the last.
    """
    origins = {(inbox, name): source for inbox, name, source in settings.origins}
    described = [
        Described(inbox, name, _shown(value), origins.get((inbox, name)) or origins.get(("", name), "default"))
        for inbox, names, model in (
            *((inbox.name, NAMES.inbox, inbox) for inbox in settings.inboxes),
            ("", NAMES.service, settings),
        )
        for name in names
        if (value := getattr(model, name)) is not None
    ]
    variables = settings.inboxes[0].network.variables
    return described + [Described("", name, printable(value), f"environment {name}") for name, value in variables]


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return _MASK
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value)) or "none"
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


def read_ledger_url(settings: Settings) -> str | None:
    """Return the address of the ledger's database; None where the ledger is a file in `state_dir`.

    Raises:
        ConfigError: its file cannot be read, or holds no address; the sentence does not show it.

    """
    if settings.ledger_url_file is not None:
        return read_url_file(settings.ledger_url_file)
    return None if settings.ledger_url is None else settings.ledger_url.get_secret_value().strip()


def token_reader(inbox: Inbox, hide: Callable[[str], None]) -> Callable[[], str]:
    """Return a function that is `read_token`, but for handing each token to `hide` (logs.hide) first."""

    def read() -> str:
        token = read_token(inbox)
        hide(token)
        return token

    return read
