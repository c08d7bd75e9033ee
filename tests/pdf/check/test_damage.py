"""Damage of every kind to good PDFs is caught."""

import re
import zlib
from contextlib import suppress

import pytest
from checking import DAMAGE, GOOD, examples, verdict
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(sorted(GOOD)), share=st.floats(0, 1, exclude_max=True))
@example(name="table", share=0.0)
def test_truncation_is_caught(name: str, share: float) -> None:
    """A PDF cut off anywhere is incomplete: it gets more time."""
    pdf = GOOD[name]
    cut = pdf[: max(1, int(share * (len(pdf) - 8)))]
    assert verdict(cut) == "incomplete"


@pytest.mark.parametrize("missing", [*range(8, 64), 100, 200, 400, 600])
@pytest.mark.parametrize("name", GOOD)
def test_missing_tail_is_caught(name: str, missing: int) -> None:
    """A PDF whose last bytes are missing is incomplete: it gets more time."""
    pdf = GOOD[name]
    assert verdict(pdf[:-missing]) == "incomplete"


@settings(max_examples=examples(100), deadline=None)
@given(
    name=st.sampled_from(["table", "fpdf2", "object streams"]),
    share=st.floats(0, 1),
    size=st.sampled_from([300, 512, 4096, 16384]),
)
def test_holes_are_caught(name: str, share: float, size: int) -> None:
    """A hole of zeros anywhere is caught."""
    pdf = GOOD[name]
    at = int(share * (len(pdf) - size - 8))
    if at < 0:
        return
    assert verdict(pdf[:at] + bytes(size) + pdf[at + size :]) in DAMAGE


@settings(max_examples=examples(100), deadline=None)
@given(name=st.sampled_from(sorted(GOOD)), share=st.floats(0, 1, exclude_max=True), size=st.integers(1, 2000))
def test_missing_middle_is_caught(name: str, share: float, size: int) -> None:
    """Bytes that are missing from inside a stream are caught."""
    pdf = GOOD[name]
    streams = [match.span(1) for match in re.finditer(rb"stream\n(.*?)\nendstream", pdf, re.DOTALL)]
    start, end = max(streams, key=lambda span: span[1] - span[0])
    at = start + int(share * (end - start - 1))
    assert verdict(pdf[:at] + pdf[min(end, at + size) :]) in DAMAGE


@settings(max_examples=examples(100), deadline=None)
@given(
    name=st.sampled_from(["table", "fpdf2", "object streams"]),
    share=st.floats(0, 1, exclude_max=True),
    bits=st.integers(1, 255),
)
def test_changed_byte_in_a_compressed_stream_is_caught(name: str, share: float, bits: int) -> None:
    """One changed byte of compressed data never goes unnoticed, but where it changes nothing that is read.

    (The level of compression that a zlib header claims is such a place: RFC 1950, 2.2.)
    """
    pdf = GOOD[name]
    start = pdf.find(b"stream\n", pdf.find(b"FlateDecode")) + 7
    end = pdf.find(b"\nendstream", start)
    at = start + int(share * (end - start))
    changed = pdf[:at] + bytes([pdf[at] ^ bits]) + pdf[at + 1 :]
    with suppress(zlib.error):
        assume(zlib.decompress(changed[start:end]) != zlib.decompress(pdf[start:end]))
    assert verdict(changed) in DAMAGE


@pytest.mark.parametrize("name", ["table", "fpdf2"])
def test_text_mode_transfer_is_caught(name: str) -> None:
    """A PDF whose line ends were converted on its way is damaged."""
    pdf = GOOD[name]
    assert verdict(pdf.replace(b"\n", b"\r\n")) in DAMAGE
    windows = re.sub(rb"(?<=[>j])\n", b"\r\n", pdf)
    assert verdict(windows.replace(b"\r\n", b"\n")[: len(windows)]) in ("ok", *DAMAGE)
