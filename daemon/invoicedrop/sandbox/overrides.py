"""What the API shows instead of the facts: fields that are odd, or missing.

A path names a field from the top of an order or an attachment on, with dots: `data.extra.channel_order_number`.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any


def overridden(value: Mapping[str, Any], shown: Mapping[str, Any], hidden: Iterable[str] = ()) -> dict[str, Any]:
    """Return a copy of a JSON object in which each path of `shown` has that value, and no path of `hidden` is there."""
    changed: dict[str, Any] = copy.deepcopy(dict(value))
    for path, instead in shown.items():
        *parents, name = path.split(".")
        _inside(changed, parents)[name] = instead
    for path in hidden:
        *parents, name = path.split(".")
        _inside(changed, parents).pop(name, None)
    return changed


def _inside(value: dict[str, Any], parents: Iterable[str]) -> dict[str, Any]:
    for name in parents:
        if not isinstance(value.get(name), dict):
            value[name] = {}
        value = value[name]
    return value
