"""What `invoicedrop check` finds about a status page: whether its name is free, and its folder can be written."""

from collections.abc import Iterator

from invoicedrop.commands.check import trials
from invoicedrop.commands.check.finding import Finding, Level
from invoicedrop.reporting.page.file import NotOurPage, require_ours
from invoicedrop.settings.inbox import Inbox


def of_inbox(inbox: Inbox) -> Iterator[Finding]:
    """Say why there is no page, if so; none of it keeps an invoice from going."""
    page = inbox.page
    if page is None:
        return
    refusal = None if page.parent == inbox.drop_dir else trials.use(page.parent)
    if refusal is not None:
        yield Finding("status page", inbox.name, Level.WARNING, refusal.problem, refusal.remedy)
        return
    try:
        require_ours(page)
    except NotOurPage as error:
        yield Finding("status page", inbox.name, Level.WARNING, error.problem, error.remedy)
    except OSError as error:
        yield Finding("status page", inbox.name, Level.WARNING, f"{page} cannot be read: {error.strerror or error}")
