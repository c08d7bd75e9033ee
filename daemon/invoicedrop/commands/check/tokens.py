"""What `invoicedrop check` finds out about the token that a running service has: whether it is the one in the file."""

from collections.abc import Iterator, Mapping

from invoicedrop.commands.check.finding import Finding, Level
from invoicedrop.errors import ConfigError
from invoicedrop.logs import hide
from invoicedrop.service.status_file import InboxReport
from invoicedrop.settings.inbox import Inbox
from invoicedrop.settings.load import token_reader
from invoicedrop.settings.token import is_of


def in_use(inbox: Inbox, reports: Mapping[str, InboxReport]) -> Iterator[Finding]:
    """Compare the token of the settings with the one that a running service reports, if one does."""
    report = reports.get(inbox.name)
    if report is None or report.token is None:
        return
    try:
        token = token_reader(inbox, hide)()
    except ConfigError:
        # That is told by what asks the API.
        return
    if is_of(report.token, token):
        yield Finding("token in use", inbox.name, Level.OK, "the running service has the token that is set")
        return
    yield Finding(
        "token in use",
        inbox.name,
        Level.PROBLEM,
        "the running service has another API token than the one that is set now",
        "have it read the token again: systemctl reload invoicedrop; in a container: docker compose restart; "
        "elsewhere: kill -HUP its process",
    )
