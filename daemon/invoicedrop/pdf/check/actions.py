"""What an invoice may not do: run programs, start others, act when it is opened; or be a wrapper around other files.

All current objects are looked at, whether something refers to them or not; names are never encrypted (ISO 32000-1,
7.6.1), so that this works on encrypted files too.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from invoicedrop.pdf.check.syntax import Name
from invoicedrop.pdf.check.values import Objects
from invoicedrop.pdf.check.verdict import Refused

_REGULAR: Final = rb"[^\0\t\n\f\r ()<>\[\]{}/%]"
_ACTIVE: Final = re.compile(
    rb"/(?:JavaScript|JS|Launch|AA|XFA|RichMediaSettings)(?!" + _REGULAR + rb")"
    rb"|/" + _REGULAR + rb"*?#(?:4[1-9A-Fa-f]|5[0-9Aa]|6[1-9A-Fa-f]|7[0-9Aa])"
)
"""Names that can mean action; the second line finds letters that were hidden as #xx."""
_HARMLESS: Final = frozenset({"GoTo"})
_GOES_TO: Final = frozenset({"FirstPage", "LastPage", "NextPage", "PrevPage"})
"""Named actions that go to a page (ISO 32000-1, 12.6.4.11), as a GoTo does."""
_WHEN_OPENED: Final = ("O", "PO", "PV")
"""Triggers (ISO 32000-1, 12.6.3): page opened, page with the annotation opened, annotation visible."""
_MOST_STEPS: Final = 1_000


def _suspects(objects: Objects) -> Iterator[Any]:
    """Yield the current objects in which a name occurs that can mean action; all objects, if it stands alone.

    (`/S 5 0 R` with the name in object 5 would be a way to hide it.)
    """
    layout = objects.layout
    search = _ACTIVE.search
    numbers = [
        number
        for number, piece in layout.current.items()
        if search(layout.data, piece.body, piece.body_end) is not None
    ]
    streams = {number for number, stream in objects.streams.items() if search(stream.text)}
    if streams:
        numbers += [number for number, place in layout.places.items() if place and -place in streams]
    if any(isinstance(objects.value(number), Name) for number in numbers):
        numbers = list(objects.numbers())
    for number in numbers:
        yield objects.value(number)


def _dictionaries(values: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yield every dictionary among the values, and those inside them."""
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def check_actions(objects: Objects, trailer: dict[str, Any]) -> None:
    """Refuse programs, launches, anything that acts when the document is opened, and portfolios.

    Raises:
        Refused: the document has one of these.

    """
    opened = False
    for dictionary in _dictionaries(_suspects(objects)):
        kind = objects.resolve(dictionary.get("S"))
        if kind == "JavaScript" or (kind == "Rendition" and "JS" in dictionary):
            raise Refused("javascript", "it has a JavaScript action")
        if kind == "Launch":
            raise Refused("launch_action", "it has a launch action")
        opened = opened or _acts_when_opened(objects, dictionary)
    catalog = objects.resolve(trailer.get("Root"))
    catalog = catalog if isinstance(catalog, dict) else {}
    names = objects.resolve(catalog.get("Names"))
    if isinstance(names, dict) and _has_entries(objects.resolve(names.get("JavaScript"))):
        raise Refused("javascript", "it has named JavaScript")
    if opened or _acts(objects, catalog.get("OpenAction")):
        raise Refused("open_action", "it has an action that runs when it is opened")
    triggers = objects.resolve(catalog.get("AA"))
    if isinstance(triggers, dict) and any(_acts(objects, action) for action in triggers.values()):
        raise Refused("open_action", "it has actions that run by themselves")
    _check_portfolio(objects, catalog, names)


def _has_entries(tree: Any) -> bool:
    return isinstance(tree, dict) and bool(tree.get("Names") or tree.get("Kids"))


def _acts_when_opened(objects: Objects, dictionary: dict[str, Any]) -> bool:
    triggers = objects.resolve(dictionary.get("AA"))
    if isinstance(triggers, dict) and any(_acts(objects, triggers.get(trigger)) for trigger in _WHEN_OPENED):
        return True
    settings = objects.resolve(dictionary.get("RichMediaSettings"))
    activation = objects.resolve(settings.get("Activation")) if isinstance(settings, dict) else None
    return isinstance(activation, dict) and objects.resolve(activation.get("Condition")) in _WHEN_OPENED


def _acts(objects: Objects, action: Any) -> bool:
    """Whether an action, or one that follows it, does more than go to a place in the document."""
    waiting = [action]
    for _ in range(_MOST_STEPS):
        if not waiting:
            return False
        action = objects.resolve(waiting.pop())
        if not isinstance(action, dict):
            continue  # a destination
        kind = objects.resolve(action.get("S"))
        going = kind == "Named" and objects.resolve(action.get("N")) in _GOES_TO
        if kind is not None and kind not in _HARMLESS and not going:
            return True
        following = objects.resolve(action.get("Next"))
        waiting += following if isinstance(following, list) else [following]
    return True


def _check_portfolio(objects: Objects, catalog: dict[str, Any], names: Any) -> None:
    """Refuse a wrapper: a viewer shows a list of its files, and its own page only says that they are there.

    A collection that starts hidden (/View /H) shows its pages; one without a PDF in it is an invoice with its XML.
    """
    collection = objects.resolve(catalog.get("Collection"))
    if not isinstance(collection, dict) or objects.resolve(collection.get("View")) == "H":
        return
    files = objects.resolve(names.get("EmbeddedFiles")) if isinstance(names, dict) else None
    for name in _file_names(objects, files):
        if name.rsplit(b".", 1)[-1].lower() == b"pdf":
            raise Refused("portfolio", "it is a collection of other PDF files")


def _file_names(objects: Objects, tree: Any) -> Iterator[bytes]:
    waiting = [tree]
    for _ in range(_MOST_STEPS):
        if not waiting:
            return
        node = objects.resolve(waiting.pop())
        if not isinstance(node, dict):
            continue
        kids, entries = objects.resolve(node.get("Kids")), objects.resolve(node.get("Names"))
        waiting += kids if isinstance(kids, list) else []
        for entry in entries[1::2] if isinstance(entries, list) else []:
            file = objects.resolve(entry)
            for key in ("UF", "F"):
                name = objects.resolve(file.get(key)) if isinstance(file, dict) else None
                if isinstance(name, bytes):
                    yield name.replace(b"\0", b"")
