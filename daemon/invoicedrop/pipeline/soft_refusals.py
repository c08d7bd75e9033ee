"""The refusals that a person may overrule: the program has a good reason to ask, and the person may know better.

Each rule is a function that is given what is known of the invoice, and raises `Rejected` with a soft reason. Moving the
PDF back into the drop folder waives that reason for this invoice; a copy, beside what still lies in the failed folder,
waives nothing.
"""

from invoicedrop.errors import Rejected
from invoicedrop.inbox.names import OrderName
from invoicedrop.ledger.ledger import Entry
from invoicedrop.reasons import Reason


def may_refuse(entry: Entry, reason: Reason) -> bool:
    """Whether a person can still be asked: not about what may have been sent already, nor about what is waived."""
    return entry.doubt_since is None and reason not in entry.waived


def require_certain_name(name: OrderName, entry: Entry, twin: str | None) -> None:
    """Have a person decide about a name that may mean another order; `twin` is the same PDF in the failed folder.

    Raises:
        Rejected: nobody has decided yet.

    """
    if name.ambiguity is not None:
        _ask(entry, twin, Reason.NAME_AMBIGUOUS, name.ambiguity)


def _ask(entry: Entry, twin: str | None, reason: Reason, detail: str) -> None:
    if may_refuse(entry, reason):
        if twin is not None:
            detail += f"; the same PDF still lies in the failed folder, as {twin}: only one can be moved back"
        raise Rejected(reason, detail)
