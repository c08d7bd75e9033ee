"""`invoicedrop pause` and `resume`: a person stops inboxes, and lets them go on.

Both write into the ledger, and a running service takes that up within a few seconds: uploads under way end, and nothing
new is sent or moved. An inbox that its first start holds goes on by `resume` as well.
"""

import difflib
import sys
import time
from collections.abc import Sequence
from typing import Final

from rich.console import Console

from invoicedrop import exit_codes
from invoicedrop.commands.output import print_line
from invoicedrop.errors import LedgerUnavailable
from invoicedrop.ledger.stops import Stop, StopKind
from invoicedrop.printable import printable
from invoicedrop.reporting.existing_ledger import existing_ledger
from invoicedrop.service import lock
from invoicedrop.service.inbox_stops import in_words, stopped
from invoicedrop.settings.settings import Settings

_LONGEST_REASON: Final = 200
"""Characters."""


def pause(settings: Settings, console: Console, *, inbox: str | None, reason: str) -> int:
    """Pause an inbox, or all; return 0, or 2 if there is no such inbox, or the reason is too long.

    Raises:
        LedgerUnavailable: there is no ledger yet, or it cannot be written now.

    """
    names = _names(settings, inbox)
    if not names:
        return exit_codes.USAGE
    words = printable(reason.strip())
    if len(words) > _LONGEST_REASON:
        _print_error(f"the reason has {len(words)} characters, and may have {_LONGEST_REASON}")
        return exit_codes.USAGE
    now = time.time()
    with existing_ledger(settings) as ledger:
        if ledger is None:
            raise LedgerUnavailable("there is no ledger yet: nothing has started that could be paused")
        before = stopped(ledger)
        for name in names:
            known = before.get(name)
            # Paused again, it may get another reason; it has been paused all the same.
            since = known.since if known is not None and known.kind is StopKind.PAUSED else now
            kept = known.words if known is not None and known.kind is StopKind.PAUSED else None
            stop = Stop(name, StopKind.PAUSED, since, words or kept)
            ledger.stops.put(stop)
            print_line(console, f"Inbox {name} is {in_words(stop, now)}")
    print_line(
        console, "Uploads under way end; within a second nothing new is sent or moved, until: invoicedrop resume"
    )
    if lock.is_held(settings.state_dir) is False:
        print_line(console, "No daemon is running: one that starts will not touch what waits there.")
    return exit_codes.OK


def resume(settings: Settings, console: Console, *, inbox: str | None) -> int:
    """Let an inbox, or all, go on; return 0, or 2 if there is no such inbox.

    Raises:
        LedgerUnavailable: there is no ledger yet, or it cannot be written now.

    """
    names = _names(settings, inbox)
    if not names:
        return exit_codes.USAGE
    with existing_ledger(settings) as ledger:
        if ledger is None:
            raise LedgerUnavailable("there is no ledger yet: nothing has started that could be stopped")
        stops = stopped(ledger)
        # All: also what was paused under a name that no inbox has any more.
        for name in dict.fromkeys((*names, *(stops if inbox is None else ()))):
            if name in stops:
                ledger.stops.put(Stop(name, StopKind.RESUMED, time.time()))
                print_line(console, f"Inbox {name} goes on; it was {in_words(stops[name], time.time())}")
            else:
                print_line(console, f"Inbox {name} was not paused.")
    if lock.is_held(settings.state_dir) is False:
        print_line(console, "No daemon is running: what waits stays until one is started (invoicedrop run).")
    return exit_codes.OK


def _names(settings: Settings, inbox: str | None) -> Sequence[str]:
    """Return the names of the inboxes that are meant; none, and a sentence on stderr, if there is no such inbox."""
    names = [item.name for item in settings.inboxes]
    if inbox is None:
        return names
    found = [name for name in names if name.casefold() == inbox.casefold()]
    if not found:
        folded = {name.casefold(): name for name in names}
        near = difflib.get_close_matches(inbox.casefold(), folded, n=1)
        hint = f"did you mean {folded[near[0]]}?" if near else f"there are: {', '.join(names)}"
        _print_error(f"there is no inbox called {inbox}; {hint}")
    return found


def _print_error(sentence: str) -> None:
    sys.stderr.write(f"{printable(sentence)}\n")
