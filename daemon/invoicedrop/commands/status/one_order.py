"""`invoicedrop status ORDER`: what became of one order's invoices, in short; `history` tells every step."""

import json
from contextlib import suppress
from dataclasses import asdict

from rich.console import Console

from invoicedrop import exit_codes
from invoicedrop.commands import history
from invoicedrop.commands.output import print_line
from invoicedrop.commands.status.terminal import clock, until_words
from invoicedrop.errors import LedgerUnavailable, Rejected
from invoicedrop.inbox.names import parse_name
from invoicedrop.printable import storable
from invoicedrop.reporting.existing_ledger import existing_ledger
from invoicedrop.reporting.facts import read_overview
from invoicedrop.reporting.history import find, history_of, named_files
from invoicedrop.reporting.overview import WaitingFile
from invoicedrop.settings.settings import Settings
from invoicedrop.system.local_time import iso


def show(settings: Settings, console: Console, what: str, *, as_json: bool) -> int:
    """Print what waits of it and why, and what matters most of its way; return 0, or 1 if nothing is known.

    Raises:
        LedgerUnavailable, ConfigError: the ledger cannot be read.

    """
    overview = read_overview(settings)
    if overview.ledger_trouble is not None:
        raise LedgerUnavailable(overview.ledger_trouble)
    waiting = [file for file in overview.waiting if _is_meant(file, what, settings)]
    with existing_ledger(settings) as ledger:
        histories = [] if ledger is None else [history_of(entry, ledger) for entry in find(what, settings, ledger)]
    if as_json:
        files = [
            asdict(file) | {"since": iso(file.since), "until": None if file.until is None else iso(file.until)}
            for file in waiting
        ]
        found = [history.as_json_object(item) for item in histories]
        console.out(json.dumps({"waiting": files, "invoices": found}), highlight=False)
    else:
        for file in waiting:
            why = file.why + until_words(file.until, overview.now)
            since = clock(file.since, overview.now)
            print_line(console, (file.file, "bold"), f" waits since {since}: {why}", folded_in_pipe=True)
        if waiting and histories:
            print_line(console)
        history.show(histories, settings, console, briefly=True)
    if waiting or histories:
        return exit_codes.OK
    return history.nothing_known(what, is_ledger_there=ledger is not None)


def _is_meant(file: WaitingFile, what: str, settings: Settings) -> bool:
    if file.file in named_files(what):
        return True
    kind = next(inbox.order_id_kind for inbox in settings.inboxes if inbox.name == file.inbox)
    with suppress(Rejected):
        said = parse_name(file.file, kind)
        wanted = {said.order.casefold(), said.reference.casefold()}
        return storable(what.strip()).casefold() in wanted or str(file.order_id) == what.strip()
    return False
