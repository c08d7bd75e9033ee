"""What the pages of a document need: every object that shows on one of them, and what for.

An object that no page needs cannot make an invoice bad. Attachments count as needed: they may be the e-invoice.
"""

import re
from collections.abc import Iterable
from enum import Enum
from typing import Any, Final

from invoicedrop.pdf.check.objects import Piece
from invoicedrop.pdf.check.page_tree import Page
from invoicedrop.pdf.check.syntax import Name, Ref
from invoicedrop.pdf.check.values import Objects


class Role(Enum):
    """What an object is needed for."""

    CONTENT = "the content of a page"
    """What a page is drawn by, or a form on it, a pattern, the picture of a form field."""
    PICTURE = "a picture"
    FONT = "a font"
    ATTACHMENT = "an attachment"
    OTHER = "something that a page needs"


_ROLES: Final = {
    "Contents": Role.CONTENT,
    "CharProcs": Role.CONTENT,
    "AP": Role.CONTENT,
    "FontFile": Role.FONT,
    "FontFile2": Role.FONT,
    "FontFile3": Role.FONT,
    "EF": Role.ATTACHMENT,
}
_NOT_SHOWN: Final = frozenset(
    {"A", "AA", "Alternates", "B", "Dest", "IRT", "Measure", "Metadata", "OPI", "Outlines", "P", "Parent", "PieceInfo"}
    | {"Popup", "Properties", "StructParent", "StructTreeRoot", "Thumb"}
)
"""Keys under which nothing is that shows."""
_WITHOUT: Final = frozenset({"DescendantFonts", "FontDescriptor", "FontFile", "FontFile2", "FontFile3", "SMask"})
"""Keys under which nothing may be missing, beside fonts and pictures themselves."""
_REFERENCE: Final = re.compile(rb"[0-9][\0\t\n\f\r ]++R")
_NAMED: Final = frozenset({"Font", "XObject"})
"""Kinds of resources that may not be missing if a page uses them (by the names that it has for them)."""


class Needs:
    """What pages need.

    `roles` are by object number; `parts` are the numbers of streams that are only a part of a page's content;
    `missing` are the keys under which something is missing that cannot be; `missing_names` are the names of fonts and
    pictures that are missing, which matters only if a page uses them.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.roles: dict[int, Role] = {}
        self.parts: set[int] = set()
        self.missing: set[str] = set()
        self.missing_names: set[str] = set()

    def add_pages(self, pages: Iterable[Page]) -> None:
        """Add what these pages need."""
        for page in pages:
            contents = self._objects.resolve(page.dictionary.get("Contents"))
            if isinstance(contents, list) and len(contents) > 1:
                self.parts |= {part.number for part in contents if isinstance(part, Ref)}
            self._add(page.dictionary.get("Contents"), Role.CONTENT)
            if self._is_missing(page.resources):
                self.missing.add("Resources")
            self._add(page.resources, Role.OTHER)
            annotations = self._objects.resolve(page.dictionary.get("Annots"))
            for reference in annotations if isinstance(annotations, list) else []:
                annotation = self._objects.resolve(reference)
                if isinstance(annotation, dict):
                    self._add(annotation.get("AP"), Role.CONTENT)
                    self._add(annotation.get("FS"), Role.OTHER)

    def add_attachments(self, catalog: dict[str, Any]) -> None:
        """Add the attachments that the catalog names."""
        names = self._objects.resolve(catalog.get("Names"))
        for files in (catalog.get("AF"), names.get("EmbeddedFiles") if isinstance(names, dict) else None):
            self._add(files, Role.OTHER)

    def _add(self, value: Any, role: Role) -> None:
        """Add a value and all that it needs; `role` is what it is needed for, where it does not say so itself."""
        waiting = [(value, role)]
        while waiting:
            value, role = waiting.pop()
            is_stream = False
            if isinstance(value, Ref):
                number = value.number
                if number in self.roles:
                    continue
                piece = self._objects.layout.current.get(number)
                is_stream = piece is not None and piece.dictionary is not None
                if piece is not None and not is_stream and self._refers_to_nothing(piece):
                    self.roles[number] = role
                    continue
                value = self._objects.value(number)
                role = _role(value, role) if is_stream else role
                self.roles[number] = role
            if isinstance(value, list):
                waiting += [(item, role) for item in value if isinstance(item, Ref | dict | list)]
            elif isinstance(value, dict):
                inherited = Role.OTHER if is_stream else role
                for key, item in value.items():
                    if key in _NOT_SHOWN or not isinstance(item, Ref | dict | list):
                        continue
                    self._note_missing(key, item)
                    waiting.append((item, _ROLES.get(key, inherited)))

    def _refers_to_nothing(self, piece: Piece) -> bool:
        """Whether an object has no references, so that it need not be parsed: the widths of a font may be thousands."""
        return _REFERENCE.search(self._objects.layout.data, piece.body, piece.body_end) is None

    def _note_missing(self, key: str, item: Any) -> None:
        if key in _WITHOUT and self._is_missing(item):
            self.missing.add(key)
        elif key in _NAMED:
            resources = self._objects.resolve(item)
            if isinstance(resources, dict):
                self.missing_names |= {name for name, resource in resources.items() if self._is_missing(resource)}

    def _is_missing(self, value: Any) -> bool:
        return isinstance(value, Ref) and self._objects.resolve(value) is None


def _role(dictionary: Any, role: Role) -> Role:
    """Return what a stream is needed for: what it says itself, else what it is used as."""
    subtype = dictionary.get("Subtype") if isinstance(dictionary, dict) else None
    if isinstance(subtype, Name):
        if subtype == "Image":
            return Role.PICTURE
        if subtype == "Form":
            return Role.CONTENT
    if isinstance(dictionary, dict) and dictionary.get("PatternType") == 1:
        return Role.CONTENT
    return role
