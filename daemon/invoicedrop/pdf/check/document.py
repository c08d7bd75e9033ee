"""The document as pypdf reads it, which decrypts it and reads the text on its pages.

pypdf is given what the walk over the whole file has understood: where each object is, what it is, how long each stream
is. So it never reads a cross-reference, guesses where a table is wrong, or stumbles over what the walk forgives. What
it raises is no verdict: the checking goes on only if it is the file's fault (see `pdf/validator`).
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import pypdf
import pypdf.filters  # it does so itself when it needs it, but then no file can be opened any more
from pypdf._encryption import AlgV4, AlgV5, PasswordType
from pypdf.generic import (
    ArrayObject,
    BooleanObject,
    DictionaryObject,
    FloatObject,
    IndirectObject,
    NameObject,
    NullObject,
    NumberObject,
    PdfObject,
    StreamObject,
    create_string_object,
)

from invoicedrop.pdf.check.objects import Piece
from invoicedrop.pdf.check.page_tree import Page
from invoicedrop.pdf.check.structure import Layout
from invoicedrop.pdf.check.syntax import Name, Ref
from invoicedrop.pdf.check.values import Objects, ObjectStream
from invoicedrop.pdf.check.verdict import Refused

# What it logs about a file quotes the file's content.
logging.getLogger("pypdf").addHandler(logging.NullHandler())
logging.getLogger("pypdf").setLevel(logging.CRITICAL + 1)

CONFIGURATION: Final = pypdf.Configuration(jbig2dec_binary=None, disable_legacy_handling=True)
"""How pypdf is to be used: it must start no program. (pypdf 7.1 looks for jbig2dec twice while it is imported, in
`_configuration` and in `filters`, and its legacy handling lets every reader fail if the two answers differ.)"""

_VERSIONS: Final = range(1, 6)
_REVISIONS: Final = range(2, 7)
_STRINGS: Final = {"O": 1, "U": 1}
_STRINGS_OF_256: Final = {"O": 48, "U": 48, "OE": 32, "UE": 32}
"""Bytes that the strings of an encryption dictionary have at least (ISO 32000-2, 7.6.4.2)."""
_AES: Final = ("AESV2", "AESV3")
_BLOCK: Final = 16
_LENGTHS: Final = (*range(40, 257, 8), None)
"""Bits of a key."""


class Reader(pypdf.PdfReader):
    """A reader that is given the file's objects (see the module).

    `streams` are the object streams, by number; they may be added when they have been decrypted.
    """

    def __init__(self, layout: Layout, streams: Mapping[int, ObjectStream]) -> None:
        self._layout = layout
        self._objects = Objects(layout, streams)
        super().__init__(layout.data)

    def read(self, stream: Any) -> None:  # noqa: ARG002 - it has been read
        """Take the trailer from the layout."""
        trailer = _converted(self._layout.trailer, self)
        self.trailer = trailer if isinstance(trailer, DictionaryObject) else DictionaryObject()

    def get_object(self, indirect_reference: int | IndirectObject) -> PdfObject | None:
        """Return an object as the layout has it, decrypted."""
        number = indirect_reference if isinstance(indirect_reference, int) else indirect_reference.idnum
        generation = 0 if isinstance(indirect_reference, int) else indirect_reference.generation
        if (generation, number) in self.resolved_objects:
            return self.resolved_objects[generation, number]
        value = _converted(self._objects.value(number), self)
        piece = self._layout.current.get(number)
        if piece is not None:
            if piece.dictionary is not None and isinstance(value, DictionaryObject):
                content = self._layout.data[piece.stream : piece.stream_end]
                value = StreamObject.initialize_from_dictionary({**value, "__streamdata__": content})
            if self._encryption is not None and not self._override_encryption:
                value = self._encryption.decrypt_object(value, number, piece.generation, strict=False)
        return self.cache_indirect_object(generation, number, value)

    def decrypted(self, piece: Piece) -> bytes:
        """Return the bytes of a stream, its filters not undone.

        Raises:
            Refused: they are fewer than it can have.

        """
        if self._encryption is not None and "/AESV" in f"{self._encryption.StmF}":
            size = piece.stream_end - piece.stream
            if size % _BLOCK and not self._layout.exact:
                raise self._layout.holes.refusal(
                    f"the encrypted stream of object {piece.number} is not complete", piece.stream, piece.stream_end
                )
        stream = self.get_object(IndirectObject(piece.number, piece.generation, self))
        # pypdf has no public way to the bytes before the filters.
        return stream._data if isinstance(stream, StreamObject) else b""  # noqa: SLF001

    def page_objects(self, pages: Iterable[Page]) -> Iterator[pypdf.PageObject]:
        """Yield pages as pypdf has them."""
        for page in pages:
            page_object = pypdf.PageObject(self)
            for key, value in (page.dictionary | {"Resources": page.resources}).items():
                page_object[NameObject("/" + key)] = _converted(value, self)
            yield page_object

    def opens_without_password(self) -> bool:
        """Whether the password that a reader is asked for is empty; that of the owner, who may do more, does not help.

        (pypdf tries the owner's first, and tells only which of the two it was.)
        """
        password = self.decrypt("")
        encryption = self._encryption
        if password != PasswordType.OWNER_PASSWORD or encryption is None:
            return password == PasswordType.USER_PASSWORD
        values = encryption.values
        if encryption.V > 4:  # noqa: PLR2004 - 5 is AES-256
            return bool(AlgV5.verify_user_password(encryption.R, b"", values.U, values.UE))
        return bool(
            AlgV4.verify_user_password(
                b"",
                encryption.R,
                encryption.Length,
                values.O,
                values.U,
                encryption.P,
                encryption.id1_entry,
                encryption.EncryptMetadata,
            )
        )


def open_reader(layout: Layout, streams: Mapping[int, ObjectStream]) -> Reader:
    """Return a reader of a file, which decrypts what is encrypted.

    Raises:
        Refused: it needs a password or a certificate, or how it is encrypted is damaged.

    """
    if layout.encrypted:
        _check_encryption(Objects(layout, {}), layout.trailer.get("Encrypt"))
    reader = Reader(layout, streams)
    if layout.encrypted and not reader.opens_without_password():
        raise Refused("encrypted", "it needs a password to be opened")
    return reader


def _check_encryption(objects: Objects, value: Any) -> None:
    encryption = objects.resolve(value)
    if not isinstance(encryption, dict):
        raise Refused("damaged", "what it is encrypted with is missing")
    entries = {key: objects.resolve(value) for key, value in encryption.items()}
    if entries.get("Filter") != "Standard" or "SubFilter" in entries:
        raise Refused("encrypted", "it needs a certificate, or a program of its own, to be opened")
    if entries.get("V") not in _VERSIONS or entries.get("R") not in _REVISIONS or not _methods_known(objects, entries):
        raise Refused("encrypted", "it is encrypted in a way that readers do not know")
    strings = _STRINGS_OF_256 if entries["V"] == 5 else _STRINGS  # noqa: PLR2004 - AES-256
    whole = all(isinstance(value := entries.get(key), bytes) and len(value) >= size for key, size in strings.items())
    permissions = entries.get("Perms") or b""
    whole = whole and isinstance(permissions, bytes) and len(permissions) % _BLOCK == 0
    whole = whole and entries.get("Length", 40) in _LENGTHS
    if not whole or not isinstance(entries.get("P"), int | float):
        raise Refused("damaged", "what it is encrypted with is damaged")


def _methods_known(objects: Objects, entries: Mapping[str, Any]) -> bool:
    """Whether the methods for streams and strings are those that readers know (ISO 32000-2, 7.6.6)."""
    if entries["V"] not in (4, 5):
        return True
    filters = entries.get("CF")
    for key in ("StmF", "StrF"):
        name = entries.get(key, "Identity")
        if name == "Identity":
            continue
        method = objects.resolve(filters.get(name)) if isinstance(filters, dict) and isinstance(name, Name) else None
        if not isinstance(method, dict) or objects.resolve(method.get("CFM")) not in ("V2", *_AES):
            return False
    return True


def _converted(value: Any, reader: Reader) -> PdfObject:  # noqa: PLR0911 - one for each kind
    """Return a parsed value as pypdf has it."""
    match value:
        case dict():
            return DictionaryObject({NameObject("/" + key): _converted(item, reader) for key, item in value.items()})
        case list():
            return ArrayObject([_converted(item, reader) for item in value])
        case Ref():
            return IndirectObject(value.number, value.generation, reader)
        case Name():
            return NameObject("/" + value)
        case bytes():
            return create_string_object(value)
        case bool():
            return BooleanObject(value)
        case int():
            return NumberObject(value)
        case float():
            return FloatObject(value)
        case _:
            return NullObject()
