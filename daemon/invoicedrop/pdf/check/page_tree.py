"""The pages of a document, in order (ISO 32000-1, 7.7.3)."""

from typing import Any, Final, NamedTuple

from invoicedrop.pdf.check.syntax import Ref
from invoicedrop.pdf.check.values import Objects
from invoicedrop.pdf.check.verdict import Refused

_DEEPEST: Final = 100
"""Levels of a page tree: 7 are enough for a million pages, and one that is its own child has no end."""


class Page(NamedTuple):
    """A page: its dictionary, and its resources, its own or those that it inherits, not resolved."""

    dictionary: dict[str, Any]
    resources: Any


class _Node(NamedTuple):
    reference: Any
    resources: Any
    depth: int


def read_catalog(objects: Objects) -> dict[str, Any]:
    """Return the catalog.

    Raises:
        Refused: there is none.

    """
    catalog = objects.resolve(objects.layout.trailer.get("Root"))
    if not isinstance(catalog, dict):
        raise objects.layout.holes.refusal("its catalog is missing", 0, objects.layout.end)
    return catalog


def _check_count(objects: Objects, catalog: dict[str, Any], max_pages: int) -> None:
    root = objects.resolve(catalog.get("Pages"))
    announced = objects.resolve(root.get("Count")) if isinstance(root, dict) else None
    if isinstance(announced, int) and announced > max_pages:
        raise Refused("too_many_pages", f"it has {announced} pages; the limit is {max_pages}")


def read_pages(objects: Objects, catalog: dict[str, Any], max_pages: int) -> tuple[list[Page], set[int]]:
    """Return the pages, and the numbers of the objects that they and their tree are.

    Raises:
        Refused: there are none, or more than `max_pages`, or one of them is missing.

    """
    _check_count(objects, catalog, max_pages)
    pages: list[Page] = []
    numbers: set[int] = set()
    waiting = [_Node(catalog.get("Pages"), None, 0)]
    while waiting:
        reference, inherited, depth = waiting.pop()
        if isinstance(reference, Ref):
            numbers.add(reference.number)
        node = objects.resolve(reference)
        if not isinstance(node, dict):
            what = f"page {len(pages) + 1}" if depth else "the list of its pages"
            raise Refused("damaged", f"{what} is missing in the file")
        if depth > _DEEPEST:
            raise Refused("damaged", "its page tree is nested too deep, or goes round in a circle")
        resources = node.get("Resources", inherited)
        kids = objects.resolve(node.get("Kids"))
        if isinstance(kids, list) and node.get("Type") != "Page":
            if len(pages) + len(kids) > max_pages * _DEEPEST:
                raise Refused("too_many_pages", f"its page tree has more than {max_pages * _DEEPEST} entries")
            waiting += [_Node(kid, resources, depth + 1) for kid in reversed(kids)]
        elif depth or node.get("Type") == "Page":
            pages.append(Page(node, resources))
            if len(pages) > max_pages:
                raise Refused("too_many_pages", f"it has more than {max_pages} pages")
    if not pages:
        raise Refused("no_pages", "its page tree is empty")
    return pages, numbers
