"""An unknown outcome is asked about, never guessed: the order may have the invoice already.

What is new at the order since the first try is what the base line, written with the intent, does not have, and no
receipt of ours explains. New bytes that are ours are our receipt. Where something new cannot be read, or has other
bytes (ours re-encoded, perhaps, or somebody else's), nobody can tell whether ours was stored. What was there before
stops nothing. No clock decides anything.

The order is looked at several times over `resend_after`, because a listing may lag, and a server may store an upload
long after its gateway has given up. Only then the invoice is sent again, or, where nobody can tell, a person decides.

That the order's own address does not show it proves nothing: a cache before the API may have kept an older answer. So
before something is sent again the order is read from a list that no cache can have (`uncached_order`), and what either
shows counts, since attachments are never taken away. Where no such list shows the order, a few more looks are taken;
then a person decides.

An attachment does not say for which order items it is. Where the same bytes are in doubt for several sets of items,
they are taken only if there is one for each.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from invoicedrop.channable.models import Attachment
from invoicedrop.channable.project import Project
from invoicedrop.channable.uncached_order import uncached_order
from invoicedrop.errors import Rejected, Unanswered
from invoicedrop.invoice import Receipt
from invoicedrop.languages.catalogue import phrase
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.timing import Timing

_IDS_TOLD: Final = 5
_DOUBLINGS: Final = 30
"""More make no delay longer."""
_MORE_LOOKS: Final = 3
"""Looks after the last one, as far from each other, while no list shows the order."""


class Look(NamedTuple):
    """What one look at the order says.

    `receipt` is ours if it has the invoice, found `by` "content" or by another "receipt" of ours. `unclear` is why
    nobody can tell; None if it certainly does not show it. `attachments` are the ids of all that it has now.
    `unproven` is why what was seen may be what it was earlier, and `cache` what is known of a cache that keeps orders.
    """

    receipt: Receipt | None
    by: str | None
    unclear: str | None
    attachments: frozenset[int]
    unproven: str | None = None
    cache: str | None = None


def look(entry: Entry, project: Project, ledger: Ledger, *, decides: bool = False) -> Look:
    """Ask the API whether it has this invoice after all.

    `decides`: something is sent if it does not show it. Then, or if the answer comes from a cache, it is also asked in
    a way that no cache can answer.

    Raises what asking raises: Unanswered (also where the order is gone: whether it had the invoice is not known),
    Paused, Stopping.
    """
    assert entry.order_id is not None
    try:
        read = project.order(entry.order_id)
    except Rejected as gone:
        raise Unanswered(f"the order cannot be asked: {gone.detail}") from gone
    shown = {attachment.id: attachment for attachment in read.order.attachments}
    cache = None if read.kept_by is None else _cache(read.kept_by)
    seen = _judged(entry, shown, project, ledger)._replace(cache=cache)
    if seen.receipt is not None or not (decides or cache):
        return seen
    try:
        uncached = uncached_order(project, read.order)
    except Unanswered as trouble:
        why = phrase(
            "what the order shows may be what a cache has kept, as far as can be seen: {detail}", detail=trouble.detail
        )
        return seen._replace(unproven=why)
    more = {attachment.id: attachment for attachment in uncached.attachments if attachment.id not in shown}
    if not more:
        return seen
    return _judged(entry, shown | more, project, ledger)._replace(cache=cache or _cache(read.server))


def _cache(name: str) -> str:
    by = f" (it calls itself {name})" if name else ""
    return (
        f"a cache before the API keeps orders{by}: their own addresses show them as they were. Whoever runs it should "
        "let requests with an Authorization header pass, as RFC 9111, 3.5, says"
    )


def _judged(entry: Entry, shown: Mapping[int, Attachment], project: Project, ledger: Ledger) -> Look:
    """Judge what the order shows, by content where that is needed."""
    assert entry.order_id is not None
    attachments = frozenset(shown)
    receipts = ledger.receipts(entry.account, entry.project_id, entry.order_id)
    doubts = ledger.doubts_at_order(entry)
    largest = max(entry.size, *(doubt.size for doubt in doubts), 0)
    ours: list[int] = []
    unknown: list[int] = []
    for attachment in shown.values():
        if not attachment.is_invoice:
            continue
        sent = receipts.get(attachment.id)
        # The same bytes for other items of the order are another invoice.
        if sent is not None and sent == (entry.sha256, entry.items):
            return Look(Receipt(attachment.id), "receipt", None, attachments)
        if sent is not None or (entry.base_line is not None and attachment.id in entry.base_line):
            continue
        digest = project.attachment_digest(entry.order_id, attachment.id, largest)
        if digest == entry.sha256:
            ours.append(attachment.id)
        elif digest is None or all(digest != doubt.sha256 for doubt in doubts):
            unknown.append(attachment.id)
    beside = len(entry.items_beside(doubts))
    if len(ours) > beside:
        return Look(Receipt(min(ours)), "content", None, attachments)
    return Look(None, None, _unclear(ours, beside, unknown), attachments)


def _unclear(ours: Sequence[int], beside: int, unknown: Sequence[int]) -> str | None:
    if ours:
        return phrase(
            "the order shows {shown} of {all} uploads of this PDF for different order items, and does not say for "
            "which",
            shown=len(ours),
            all=beside + 1,
        )
    if unknown:
        ids = ", ".join(map(str, sorted(unknown)[:_IDS_TOLD])) + (", ..." if len(unknown) > _IDS_TOLD else "")
        return phrase(
            "since the first try the order has new attachments ({ids}) that cannot be read, or have other bytes",
            ids=ids,
        )
    return None


def look_times(entry: Entry, resend_after: float, timing: Timing) -> Sequence[float]:
    """Return when the order is looked at, in seconds after an upload whose outcome is not known; the last decides.

    Where one try after the other has no known outcome, the last look is ever further away.
    """
    attempts = min(max(entry.attempts - 1, 0), _DOUBLINGS)
    last = max(resend_after, min(timing.first_retry * 2**attempts, timing.longest_retry))
    return [*(moment for moment in timing.doubt_looks if moment < last), last]


def next_look(looks: int, times: Sequence[float], *, unproven: bool = False) -> float | None:
    """Return the seconds from look number `looks`, in vain, to the next one; None if it was the last.

    There are a few more if it is `unproven` that what was seen is what there is now.
    """
    if looks < len(times):
        return times[looks] - times[looks - 1]
    return times[-1] if unproven and looks < len(times) + _MORE_LOOKS else None
