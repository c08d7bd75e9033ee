"""The body of an upload, encoded while it is sent: an invoice is never in memory twice."""

import json
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

import pybase64

_CHUNK: Final = 3 * 64 * 1024
"""Bytes encoded at once; a multiple of 3, so that base64 needs no padding between chunks."""


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


class UploadBody(NamedTuple):
    """How many bytes there are, and the bytes, chunk by chunk."""

    length: int
    content: Iterator[bytes]


def encoded_length(size: int) -> int:
    """Return how many bytes so many become in base64."""
    return (size + 2) // 3 * 4


def upload_body(invoice: Content, item_ids: Sequence[int] = ()) -> UploadBody:
    """Return the JSON body that attaches an invoice to an order, or to these of its items."""
    fields = {"attachment_type": "INVOICE"} | ({"order_item_ids": list(item_ids)} if item_ids else {})
    prefix = json.dumps(fields)[:-1].encode() + b', "file": "'
    suffix = b'"}'
    length = len(prefix) + encoded_length(invoice.size) + len(suffix)
    return UploadBody(length, _encoded(prefix, invoice.view, suffix))


def _encoded(prefix: bytes, view: memoryview, suffix: bytes) -> Iterator[bytes]:
    yield prefix
    for start in range(0, len(view), _CHUNK):
        yield pybase64.b64encode(view[start : start + _CHUNK])
    yield suffix
