"""Where the ledger is, as the settings say: a file in `state_dir`, or a PostgreSQL database."""

from urllib.parse import unquote, urlsplit

from invoicedrop.ledger.lease import InboxKey
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.logs import hide
from invoicedrop.settings.inbox import Inbox
from invoicedrop.settings.load import read_ledger_url
from invoicedrop.settings.settings import Settings
from invoicedrop.timing import DEFAULT_TIMING


def shared_ledger(settings: Settings, *, patience: float = DEFAULT_TIMING.database_answer) -> Ledger | None:
    """Return the ledger in a database, not connected to yet; None where it is a file.

    Its secrets are kept out of the log.

    Raises:
        ConfigError: the address cannot be read or understood, or what it needs is not installed.

    """
    url = read_ledger_url(settings)
    if url is None:
        return None
    hide(url)
    for secret in _passwords(url):
        hide(secret)
    return Ledger.at(url, patience=patience)


def key_of(inbox: Inbox) -> InboxKey:
    """Return what the inbox is called on every machine."""
    return InboxKey(inbox.account, inbox.project_id, inbox.name)


def _passwords(url: str) -> list[str]:
    try:
        password = urlsplit(url).password
    except ValueError:
        return []
    return [] if not password else [password, unquote(password)]
