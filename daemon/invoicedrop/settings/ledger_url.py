"""Where the ledger is, if it is no file of ours: the address of a PostgreSQL database. It may hold a password."""

from pathlib import Path
from typing import Final

from invoicedrop.errors import ConfigError
from invoicedrop.printable import printable
from invoicedrop.settings.token import read_secret

_SCHEMES: Final = ("postgresql://", "postgres://")


def read_url_file(path: Path) -> str:
    """Return the address in a file.

    Raises:
        ConfigError: it cannot be read, or holds no address; the sentence does not show it.

    """
    where = f"ledger_url_file {printable(path)}"
    url = read_secret(path, where, "the database's address").strip()
    if not is_url(url):
        raise ConfigError([f"{where}: must hold an address like postgresql://user:password@host/database"])
    return url


def is_url(text: str) -> bool:
    """Whether this may be such an address: the driver says what is wrong with it otherwise."""
    return text.startswith(_SCHEMES) and text.isprintable() and " " not in text
