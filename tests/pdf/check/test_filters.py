"""Streams: checksums, ends, budgets, and what no text has."""

import zlib

import pytest
from checking import verdict

import pdfs
from invoicedrop.pdf.check import filters


def test_generator_without_checksums_is_forgiven() -> None:
    """Where every stream's checksum is wrong, it is the generator's habit; where one is, it is damage."""

    def without(data: bytes) -> bytes:
        body = zlib.compress(data)[:-4] + b"\1\2\3\4"
        return b"<< /Length %d /Filter /FlateDecode >>\nstream\n%b\nendstream" % (len(body), body)

    content, other = pdfs.text_content("Invoice 8355"), b"q Q " * 40
    assert verdict(pdfs.build(pdfs.objects(more={4: without(content), 5: without(other)}))) == "ok"
    assert verdict(pdfs.build(pdfs.objects(more={4: without(content), 5: pdfs.stream(other)}))) == "damaged"


def test_flushed_stream_is_whole() -> None:
    """A stream that was flushed instead of finished, as some writers do, is whole."""
    compressor = zlib.compressobj()
    data = compressor.compress(pdfs.text_content("Invoice 8355")) + compressor.flush(zlib.Z_SYNC_FLUSH)
    body = b"<< /Length %d /Filter /FlateDecode >>\nstream\n%b\nendstream" % (len(data), data)
    assert verdict(pdfs.build(pdfs.objects(more={4: body}))) == "ok"


def test_inflating_keeps_to_its_budget() -> None:
    """Decompression stops as soon as more comes out than is allowed."""
    data = pdfs.bomb(2**28)
    budget = filters.Budget(1_000_000)
    state, _, kept = filters.inflate(data, 0, len(data), budget, keep=10**9)
    assert (state, kept) == (filters.TOO_MUCH, b"")
    assert budget.left > -1_000_000


@pytest.mark.parametrize("character", [b"\xe4", "ä".encode(), b" "])
def test_text_in_metadata_passes(character: bytes) -> None:
    """Uncompressed metadata may be in UTF-8, or in Latin-1 where a writer was careless."""
    xml = b'<?xml version="1.0"?><a>Rechnungsempf' + character + b"nger</a>"
    body = pdfs.stream(xml, b"/Type /Metadata /Subtype /XML", compress=False)
    assert verdict(pdfs.build(pdfs.objects(more={6: body}))) == "ok"


def test_changed_byte_in_metadata_is_caught() -> None:
    """A letter of uncompressed metadata that was inverted is a byte that no text has."""
    xml = b'<?xml version="1.0"?><a>Rechnungsempf\x9enger</a>'
    body = pdfs.stream(xml, b"/Type /Metadata /Subtype /XML", compress=False)
    assert verdict(pdfs.build(pdfs.objects(more={6: body}))) == "damaged"
