"""Which order a file name means: the grammar of names."""

import re
from typing import Final, NamedTuple

from invoicedrop.errors import Rejected
from invoicedrop.invoice import OrderIdKind
from invoicedrop.reasons import Reason


class OrderName(NamedTuple):
    """What a file name says: the order (digits, or a marketplace's number) and the order items, if any."""

    order: str
    item_ids: tuple[int, ...] = ()


_CHANNABLE_NAME: Final = re.compile(r"(?P<order>[0-9]{1,18})(?P<rest>[_ ].*)?\.pdf", re.IGNORECASE | re.DOTALL)
_MARKETPLACE_NAME: Final = re.compile(
    r"(?P<order>[A-Za-z0-9][A-Za-z0-9.:#/+-]{0,99})(?P<rest>[_ ].*)?\.pdf", re.IGNORECASE | re.DOTALL
)
_ITEMS: Final = re.compile(r"_items((?:-[0-9]{1,18})+)(?:[_ ].*)?", re.IGNORECASE | re.DOTALL)
_ITEMS_MEANT: Final = re.compile(r"_items-", re.IGNORECASE)
_EXAMPLES: Final = {
    "channable": "8355.pdf, 8355_2.pdf or 8355_items-11-12.pdf (8355 is the Channable order id)",
    "marketplace": "302-1234567-1234567.pdf or 302-1234567-1234567_2.pdf (the marketplace's order number)",
}


def parse_name(name: str, kind: OrderIdKind) -> OrderName:
    """Read the order from a file name, by the grammar `<order>[_items-<id>...][_or space<anything>].pdf`.

    Raises:
        Rejected: the name does not say which order (or which order items) the invoice is for.

    """
    pattern = _CHANNABLE_NAME if kind == "channable" else _MARKETPLACE_NAME
    match = pattern.fullmatch(name)
    if match is None:
        raise Rejected(Reason.NAME_WITHOUT_ORDER, f"a right name looks like {_EXAMPLES[kind]}")
    order, rest = match["order"], match["rest"] or ""
    if kind == "channable":
        order = str(int(order))
        if order == "0":
            raise Rejected(Reason.NAME_WITHOUT_ORDER, f"0 is no order id; a right name looks like {_EXAMPLES[kind]}")
    items = _ITEMS.fullmatch(rest)
    if items is not None:
        return OrderName(order, tuple(int(item) for item in items[1][1:].split("-")))
    if _ITEMS_MEANT.match(rest):
        # Sending to every item of the order is not what this name asks for.
        raise Rejected(
            Reason.NAME_WITHOUT_ORDER,
            "what follows _items- must be order item ids joined by hyphens, for example 8355_items-11-12.pdf",
        )
    return OrderName(order)
