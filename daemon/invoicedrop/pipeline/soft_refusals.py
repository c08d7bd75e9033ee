"""The refusals that a person may overrule: the program has a good reason to ask, and the person may know better.

Each rule is a function that is given what is known of the invoice, and raises `Rejected` with a soft reason. Moving the
PDF back into the drop folder waives that reason for this invoice; a copy, beside what still lies in the failed folder,
waives nothing.
"""

from invoicedrop.channable.models import Order
from invoicedrop.errors import Rejected
from invoicedrop.inbox.names import OrderName
from invoicedrop.languages.catalogue import phrase
from invoicedrop.ledger.entry import Entry
from invoicedrop.pipeline.order_check import status_words
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


def require_known_bytes_nowhere_else(entry: Entry, elsewhere: Entry | None, twin: str | None) -> None:
    """Have a person decide about a PDF that was sent, or may have been, to another order, as `elsewhere`.

    Raises:
        Rejected: nobody has decided yet.

    """
    if elsewhere is not None:
        where = {"order": elsewhere.order_id, "file": elsewhere.file}
        accepted = phrase("this very PDF was accepted by Channable for order {order}, as {file}", **where)
        perhaps = phrase("this very PDF may have been sent for order {order}, as {file}", **where)
        _ask(entry, twin, Reason.SENT_TO_ANOTHER_ORDER, accepted if elsewhere.sent else perhaps)


def require_invoice(entry: Entry, credit_note: str | None, twin: str | None) -> None:
    """Have a person decide about a credit note; `credit_note` is what says that it is one.

    Raises:
        Rejected: nobody has decided yet.

    """
    if credit_note is not None:
        _ask(entry, twin, Reason.CREDIT_NOTE, phrase("its e-invoice says so: {words}", words=credit_note))


def require_wanted(entry: Entry, order: Order, twin: str | None) -> None:
    """Have a person decide about an order that was cancelled.

    Raises:
        Rejected: nobody has decided yet.

    """
    if order.is_cancelled:
        _ask(entry, twin, Reason.ORDER_CANCELLED, phrase("Channable shows order {order} as cancelled", order=order.id))


def require_shipped(entry: Entry, order: Order, days: float, twin: str | None) -> None:
    """Have a person decide about an order that was not shipped in so many days.

    Raises:
        Rejected: nobody has decided yet.

    """
    if not order.is_shipped:
        detail = phrase(
            "after {days:.3g} days Channable shows order {order} as {status}",
            days=days,
            order=order.id,
            status=status_words(order),
        )
        _ask(entry, twin, Reason.ORDER_NOT_SHIPPED, detail)


def _ask(entry: Entry, twin: str | None, reason: Reason, detail: str) -> None:
    if may_refuse(entry, reason):
        if twin is not None:
            detail = phrase(
                "{detail}; the same PDF still lies in the failed folder, as {twin}: only one can be moved back",
                detail=detail,
                twin=twin,
            )
        raise Rejected(reason, detail)
