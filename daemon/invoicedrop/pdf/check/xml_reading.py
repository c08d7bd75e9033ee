"""XML of strangers, read as far as it goes: whatever its encoding is and says it is, and never with a DOCTYPE."""

import contextlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from typing import Any, Final
from xml.parsers import expat

_UTF_16: Final = (
    (BOM_UTF16_LE, "utf-16-le"),
    (BOM_UTF16_BE, "utf-16-be"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)


def decoded(text: bytes) -> str:
    """Return the characters of an XML text.

    The encoding that it declares is often that of another program's memory ("utf-16" in UTF-8), so the bytes decide.
    What is not UTF is taken for Latin-1: the tags, codes and amounts are ASCII, in which all the others agree.
    """
    for start, encoding in _UTF_16:
        if text.startswith(start):
            return text.decode(encoding, "replace").removeprefix("\ufeff")
    try:
        return text.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def read_xml(text: str, parser: expat.XMLParserType) -> None:
    """Have `parser` call its handlers for what `text` holds, up to its end or to what is no XML.

    A DOCTYPE ends it too: no e-invoice needs one, and it may give another meaning to what follows.
    """

    def refuse(*_arguments: Any) -> None:
        raise expat.ExpatError

    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    with contextlib.suppress(expat.ExpatError):
        parser.Parse(text, True)
