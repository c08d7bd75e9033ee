"""Whether a project's orders come through Channable API connections: only to those can invoices be attached.

An order's `platform_name` tells ("channable"), by the OpenAPI 3.1 document of Channable's order connection API
(2026-10). The newest orders are looked at: older ones may have come before the connection was set up.
"""

from collections import Counter
from typing import Final

from invoicedrop.channable.models import OrdersPage
from invoicedrop.commands.check.finding import Finding, Level
from invoicedrop.settings.inbox import Inbox

_OURS: Final = "channable"
_MAX_NAMED: Final = 3
_REMEDY: Final = (
    'in Channable, set up an order connection between "Channable API" and each marketplace of this project: only '
    "orders that come through one take invoices"
)


def of_orders(inbox: Inbox, page: OrdersPage) -> Finding:
    """Judge by a page of the newest orders through which connections they come."""

    def finding(level: Level, text: str, remedy: str = "") -> Finding:
        return Finding("orders", inbox.name, level, text, remedy)

    platforms = Counter((order.platform_name or "").strip().casefold() for order in page.orders)
    ours, silent = platforms.pop(_OURS, 0), platforms.pop("", 0) + page.unreadable
    others = platforms.total()
    names = ", ".join(name for name, _ in platforms.most_common(_MAX_NAMED))
    through = "through a Channable API connection"
    if not page.entries:
        return finding(Level.NOTE, f"there are none yet: whether they come {through} cannot be seen")
    if not others:
        if not ours:
            return finding(Level.NOTE, f"whether the newest came {through} cannot be seen")
        return finding(Level.OK, f"of the newest orders, {ours} of {page.entries} came {through}")
    others_did_not = f"of the newest orders, {others} of {page.entries} did not come {through} ({names})"
    if ours:
        # Perhaps on purpose: orders that get their invoices in another way.
        return finding(Level.NOTE, f"{others_did_not}: Channable takes no invoices for those")
    if silent:
        return finding(Level.WARNING, f"{others_did_not}, and the others do not say", _REMEDY)
    return finding(Level.PROBLEM, f"none of the newest {page.entries} came {through} ({names})", _REMEDY)
