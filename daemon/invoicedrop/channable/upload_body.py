"""The body of an upload, encoded while it is sent: an invoice is never in memory twice."""

import json
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import pybase64

_CHUNK: Final = 3 * 64 * 1024
"""Bytes encoded at once; a multiple of 3, so that base64 needs no padding between chunks."""
_SUFFIX: Final = b'"}'


class Content(Protocol):
    """What is uploaded: bytes that do not change meanwhile, and their SHA-256 in hex."""

    @property
    def view(self) -> memoryview:
        """The bytes."""

    @property
    def size(self) -> int:
        """How many there are."""

    @property
    def sha256(self) -> str:
        """Their SHA-256 in hex."""


def encoded_length(size: int) -> int:
    """Return how many bytes so many become in base64."""
    return (size + 2) // 3 * 4


class UploadBody:
    """The JSON body that attaches an invoice to an order, or to these of its items; its length is in bytes.

    `is_whole` is whether all of it may have left: its end, without which it is no body, was handed out.
    """

    def __init__(self, invoice: Content, item_ids: Sequence[int] = ()) -> None:
        fields = {"attachment_type": "INVOICE"} | ({"order_item_ids": list(item_ids)} if item_ids else {})
        self._prefix = json.dumps(fields)[:-1].encode() + b', "file": "'
        self._invoice = invoice
        self.is_whole = False

    def __len__(self) -> int:
        return len(self._prefix) + encoded_length(self._invoice.size) + len(_SUFFIX)

    def __iter__(self) -> Iterator[bytes]:
        begin, view = self._prefix, self._invoice.view
        for start in range(0, len(view) or 1, _CHUNK):
            yield begin + pybase64.b64encode(view[start : start + _CHUNK])
            begin = b""
        # Alone: as long as it was not asked for, no whole body can have left.
        self.is_whole = True
        yield _SUFFIX
