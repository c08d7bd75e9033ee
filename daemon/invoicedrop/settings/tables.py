"""The inboxes as they are written: each one's own table, laid over what stands above all of them.

An inbox's own value wins, wherever the other one comes from: INVOICEDROP_PROJECT_ID must not send three shops' invoices
to one of them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from invoicedrop.printable import printable
from invoicedrop.settings.sources import FOLDERS, Layer, Reading, SetValue

_TOKEN: Final = frozenset({"api_token", "api_token_file"})


class Table(NamedTuple):
    """All that is written for one inbox, or for the whole service."""

    label: str
    """The inbox's name, or its number if it has none; empty for the service, and where there are no [[inboxes]]."""
    entries: dict[str, SetValue]


def inbox_tables(top: Mapping[str, SetValue], reading: Reading) -> list[Table]:
    """Return what is written for each inbox; a single one where there are no [[inboxes]]."""
    defaults: dict[str, SetValue] = {}
    for layer in sorted(Layer, reverse=True):
        # Merged already, but for the token, which has two names.
        values = {name: entry for name, entry in top.items() if entry.layer is layer and name in reading.names.inbox}
        defaults = _laid_over(defaults, values)
    if "inboxes" not in top:
        return [Table("", _with_folders(defaults))]
    for name in (*FOLDERS, "status_page"):
        # No page is no page for all.
        if name in defaults and not (name == "status_page" and defaults[name].value == ""):
            why = "does not say which inbox it is for; write it below each [[inboxes]]"
            reading.problems.append(f"{name} ({defaults.pop(name).origin}): {why}")
    inboxes = top["inboxes"]
    tables = []
    for number, table in enumerate(_raw_tables(inboxes, reading), 1):
        inbox = table.get("name")
        label = printable(inbox) if isinstance(inbox, str) and inbox.strip() else f"number {number}"
        origin = f"{inboxes.origin}, inbox {label}"
        values = {name: value for name, value in table.items() if value is not None}  # JSON's null; TOML has none
        own = reading.entries(values, reading.names.inbox, origin, inboxes.layer, inboxes.folder)
        if "name" not in own:
            reading.problems.append(f"name ({origin}): is missing; give each inbox a name of its own")
        for name in own:
            if name in defaults and defaults[name].layer < inboxes.layer:
                why = f"is not used for inbox {label}, which sets its own {name}"
                reading.warnings.append(f"{defaults[name].origin} {why} ({origin})")
        tables.append(Table(label, _with_folders(_laid_over(defaults, own))))
    return tables


def _laid_over(lower: Mapping[str, SetValue], upper: Mapping[str, SetValue]) -> dict[str, SetValue]:
    """Return the values of both, `upper` before `lower`; a token is taken from one of them, inline or as a file."""
    hidden = _TOKEN if _TOKEN & upper.keys() else frozenset()
    return {name: entry for name, entry in lower.items() if name not in hidden} | dict(upper)


def _with_folders(values: dict[str, SetValue]) -> dict[str, SetValue]:
    """Add the default folders and page, so that they are described and compared like any others."""
    drop_dir = values["drop_dir"].value if "drop_dir" in values else None
    if not isinstance(drop_dir, Path):
        return values
    inside = {name: drop_dir / name.removesuffix("_dir") for name in FOLDERS[1:]} | {
        "status_page": drop_dir / "status.html"
    }
    return {name: SetValue(path, "inside drop_dir") for name, path in inside.items()} | values


def _raw_tables(inboxes: SetValue, reading: Reading) -> list[dict[str, Any]]:
    value, form = inboxes.value, "tables: [[inboxes]], two brackets"
    try:
        if inboxes.layer is Layer.ENVIRONMENT:
            value, form = json.loads(value), "a JSON array of objects"
    except json.JSONDecodeError as error:
        problem = f"is not valid JSON (line {error.lineno}, column {error.colno})"
    except (RecursionError, ValueError):
        problem = "is not valid JSON; it is nested too deeply"
    else:
        if isinstance(value, list) and all(isinstance(table, dict) for table in value):
            if value:
                return value
            problem = "is empty; name at least one inbox, or leave it out"
        else:
            problem = f"write them as {form}"
    reading.problems.append(f"inboxes ({inboxes.origin}): {problem}")
    return []
