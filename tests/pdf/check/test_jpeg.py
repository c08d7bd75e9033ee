"""JPEG pictures: whole, cut off, with holes."""

import random

import pytest

from invoicedrop.pdf.check.jpeg import jpeg_defect


def segment(marker: int, body: bytes) -> bytes:
    """Return a segment of a JPEG."""
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


NOISE = bytes([0, 2, *[0] * 14, 1, 5])
"""A Huffman table in which no code of zeros means "nothing new": codes 00 and 01."""
FLAT = bytes([1, 1, *[0] * 14, 0, 1])
"""One in which a zero bit does: codes 0 and 10."""


def a_jpeg(*scans: tuple[bytes, bytes], progressive: bool = False, table: bytes = NOISE) -> bytes:
    """Return a grey picture of 800 by 800 samples (10,000 blocks) with these scans (extent, codes)."""
    frame = segment(0xC2 if progressive else 0xC0, b"\x08\x03\x20\x03\x20\x01\x01\x11\x00")
    picture = b"\xff\xd8" + frame + segment(0xC4, b"\x00" + table) + segment(0xC4, b"\x10" + table)
    for extent, codes in scans:
        picture += segment(0xDA, b"\x01\x01\x00" + extent) + codes.replace(b"\xff", b"\xff\x00")
    return picture + b"\xff\xd9"


ALL, DC, DC_AGAIN, AC = b"\x00\x3f\x00", b"\x00\x00\x01", b"\x00\x00\x10", b"\x01\x3f\x00"
"""Coefficients from and to, and their precision before and after (T.81, B.2.3)."""


CODES = random.Random(1).randbytes(20_000)


def test_whole_jpeg_passes() -> None:
    """A JPEG is whole with its segments, its codes and its end; restarts in it and junk behind it do not matter."""
    plain = a_jpeg((ALL, CODES))
    restarts = plain[:5000] + b"\xff\xd0" + plain[5000:]
    for picture in (
        plain,
        restarts,
        plain + b"\r\n",
        a_jpeg((DC, CODES), (AC, CODES), (DC_AGAIN, CODES), progressive=True),
    ):
        assert jpeg_defect(picture, 0, len(picture)) is None


def test_damaged_jpeg_is_caught() -> None:
    """A JPEG without its end, with a stray marker, or with a hole in its codes is damaged."""
    picture = a_jpeg((ALL, CODES))
    middle = len(picture) // 2
    stray = picture[:middle] + b"\xff\x01" + picture[middle:]
    hole = picture[:middle] + bytes(4096) + picture[middle + 4096 :]
    for damaged in (picture[:-2], picture[:middle], stray, hole, b"\xff\xd8\xff\xd9", b"GIF89a" + bytes(90)):
        assert jpeg_defect(damaged, 0, len(damaged)) is not None


def test_white_area_of_a_jpeg_is_no_hole() -> None:
    """Where the tables give an unchanged block a code of zero bits, as many zeros as there are blocks are right."""
    white = a_jpeg((ALL, CODES[:900] + bytes(2400) + CODES[:900]), table=FLAT)
    assert jpeg_defect(white, 0, len(white)) is None
    too_much = a_jpeg((ALL, CODES[:900] + bytes(2600) + CODES[:900]), table=FLAT)
    assert jpeg_defect(too_much, 0, len(too_much)) == "has a hole"


def test_progressive_jpeg_without_one_of_its_scans_is_caught() -> None:
    """A hole that swallowed a whole scan shows in the one that should refine it; one in a scan's codes shows itself."""
    lacking = a_jpeg((DC, CODES), (b"\x01\x3f\x02", CODES), (b"\x01\x3f\x10", CODES), progressive=True)
    assert jpeg_defect(lacking, 0, len(lacking)) == "lacks a scan"
    hole = a_jpeg((DC, CODES), (AC, CODES[:500] + bytes(400) + CODES), progressive=True)
    assert jpeg_defect(hole, 0, len(hole)) == "has a hole"


@pytest.mark.parametrize(
    ("codes", "defect"),
    [
        (bytes(1250), None),
        (bytes(600) + b"\xaa" * 10 + bytes(650), "has a hole"),
        (bytes(600) + b"\xaa" * 10 + bytes(645), None),
        (bytes(1249), "has a hole"),
        (bytes(1251), "has a hole"),
    ],
)
def test_even_picture_has_as_many_codes_as_blocks(codes: bytes, defect: str | None) -> None:
    """A progressive scan of zeros is whole if it holds exactly one difference for each block."""
    picture = a_jpeg((DC, codes), progressive=True, table=FLAT)
    assert jpeg_defect(picture, 0, len(picture)) == defect
