"""Invoices to measure with: about 390 KB on average, of a real invoice's parts and sizes, each one different.

Real ones (the ZUGFeRD corpus) have 25 to 55 objects, five to ten Flate streams that grow to about twice their size,
and a JPEG or two; most have 90 to 200 KB, a few have megabytes. So have these: an embedded font with outlines, a
colour profile's worth of table, a logo (JPEG), a raster (Flate), metadata, an e-invoice's XML, a page of text.
"""

import io
import random
import sys
import zlib
from pathlib import Path
from typing import Final

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageChops, ImageDraw, ImageFilter

sys.path.insert(0, str(Path(__file__).parents[1]))
import pdfs

_MIX: Final = (*[110_000] * 5, *[150_000] * 4, *[230_000] * 4, *[400_000] * 3, *[900_000] * 3, 1_600_000)
"""Sizes in bytes: twenty kinds of invoices, 390 KB on average."""
_GLYPHS: Final = 700
_WIDTH: Final = 600
"""Pixels of a raster's line."""
_GRAIN: Final = (0, 0, 0, 0, 3, 6, 9, 14)
_WITH_PHOTO: Final = 300_000
"""From so many bytes on, much of an invoice is a photograph (JPEG)."""
_LARGEST: Final = 10_485_760


def fill(folder: Path, count: int, source: Path | None = None) -> list[Path]:
    """Make sure that `folder` holds at least `count` invoices, named 1.pdf, 2.pdf ...; return the first `count`.

    With `source` they are copies of the PDFs there, in turn.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [folder / f"{number}.pdf" for number in range(1, count + 1)]
    missing = [(number, path) for number, path in enumerate(wanted, 1) if not path.exists()]
    if missing:
        if source is None:
            kinds = [_parts(size, random.Random(number)) for number, size in enumerate(_MIX)]
            for number, path in missing:
                path.write_bytes(_invoice(number, kinds[number % len(kinds)]))
        else:
            originals = [one.read_bytes() for one in sorted(source.glob("*.pdf"))]
            for number, path in missing:
                path.write_bytes(originals[number % len(originals)])
    return wanted


def large() -> bytes:
    """Return an invoice that is nearly as large as one may be."""
    wanted = _LARGEST
    while len(invoice := _invoice(9_999_999, _parts(wanted, random.Random(1)))) > _LARGEST:
        wanted -= max(100_000, len(invoice) - _LARGEST)
    return invoice


def _invoice(number: int, parts: dict[int, bytes]) -> bytes:
    chance = random.Random(number)
    lines = [f"BT /F1 20 Tf 56 780 Td (Invoice {number}) Tj ET q 120 0 0 60 440 760 cm /Logo Do Q"]
    for row in range(chance.randint(6, 30)):
        article, cents = (
            chance.choice(("Desk lamp", "Coffee grinder", "Wool blanket", "Mug")),
            chance.randint(99, 99999),
        )
        lines.append(
            f"BT /F2 10 Tf 56 {700 - 18 * row} Td ({article} {chance.randint(1, 9)} x {cents / 100:.2f}) Tj ET"
        )
    lines.append("q 480 0 0 100 56 30 cm /Raster Do Q")
    amounts = "".join(f"<Line><Amount>{chance.randint(1, 99999)}</Amount></Line>" for _ in range(80))
    xml = f"<Invoice><ID>{number}</ID>{amounts}</Invoice>"
    own = {
        10: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 3 0 R "
        b"/F2 6 0 R >> /XObject << /Logo 11 0 R /Raster 12 0 R >> >> >>",
        4: pdfs.stream("\n".join(lines).encode()),
        13: pdfs.stream(xml.encode(), b"/Type /EmbeddedFile"),
    }
    return pdfs.build(parts | own, trailer=b"/ID [<%032x> <%032x>]" % (number, number))


def _parts(size: int, chance: random.Random) -> dict[int, bytes]:
    """Make what the invoices of one kind share: font, profile, logo, and a raster for the rest of `size`."""
    logo = _jpeg(chance, 360, 180)
    font = _font(chance, max(60, min(_GLYPHS, size // 600)))
    table = b"".join(value.to_bytes(2, "big") for value in range(0, 65536, 50))
    dash = b"/ColorSpace /DeviceRGB /BitsPerComponent 8"
    parts = {
        1: b"<< /Type /Catalog /Pages 2 0 R /Metadata 14 0 R "
        b"/Names << /EmbeddedFiles << /Names [(factur-x.xml) 15 0 R] >> >> "
        b"/OutputIntents [<< /Type /OutputIntent /S /GTS_PDFA1 /OutputConditionIdentifier (sRGB) /DestOutputProfile "
        b"16 0 R >>] >>",
        2: pdfs.PAGES,
        3: b"<< /Type /Font /Subtype /TrueType /BaseFont /AAAAAA+Bench /FirstChar 32 /LastChar 126 /Widths 17 0 R "
        b"/FontDescriptor 7 0 R /Encoding /WinAnsiEncoding >>",
        6: pdfs.FONT,
        7: b"<< /Type /FontDescriptor /FontName /AAAAAA+Bench /Flags 32 /FontBBox [0 -200 1000 900] /ItalicAngle 0 "
        b"/Ascent 800 /Descent -200 /CapHeight 700 /StemV 80 /FontFile2 8 0 R >>",
        8: pdfs.stream(font, b"/Length1 %d" % len(font)),
        11: pdfs.stream(
            logo,
            b"/Type /XObject /Subtype /Image /Width 360 /Height 180 /Filter /DCTDecode " + dash,
            compress=False,
        ),
        14: pdfs.stream(b"<x:xmpmeta xmlns:x='adobe:ns:meta/'></x:xmpmeta>", b"/Type /Metadata", compress=False),
        15: b"<< /Type /Filespec /F (factur-x.xml) /UF (factur-x.xml) /EF << /F 13 0 R >> /AFRelationship /Data >>",
        16: pdfs.stream(table, b"/N 3"),
        17: b"[" + b" ".join(b"%d" % chance.randint(250, 900) for _ in range(95)) + b"]",
    }
    left = size - sum(map(len, parts.values())) - 3_000
    if left > _WITH_PHOTO:
        photo = _jpeg(chance, 1_200, left // 900)
        kind = b"/Type /XObject /Subtype /Image /Width 1200 /Height %d /Filter /DCTDecode " % (left // 900)
        left -= len(photo)
        parts[18] = pdfs.stream(
            photo,
            kind + dash,
            compress=False,
        )
    line = len(zlib.compress(_raster(chance, 50))) / 50
    rows = max(8, int(left / line))
    image = b"/Type /XObject /Subtype /Image /Width %d /Height %d " % (_WIDTH, rows)
    return parts | {12: pdfs.stream(_raster(chance, rows), image + dash)}


def _picture(chance: random.Random, width: int, height: int) -> Image.Image:
    """Draw shapes with soft edges and a little grain, as a logo or a scan has."""
    image = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(image)
    for _ in range(max(12, width * height // 4_000)):
        x, y, r = chance.randrange(width), chance.randrange(height), chance.randint(4, 60)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=tuple(chance.choices(range(256), k=3)))
    return image.filter(ImageFilter.GaussianBlur(2))


def _jpeg(chance: random.Random, width: int, height: int) -> bytes:
    out = io.BytesIO()
    _picture(chance, width, height).save(out, "JPEG", quality=85)
    return out.getvalue()


def _raster(chance: random.Random, height: int) -> bytes:
    """Return pixels, grainy as a scan's, that Flate makes about half as large."""
    grain = Image.frombytes("L", (_WIDTH, height), bytes(chance.choices(_GRAIN, k=_WIDTH * height)))
    picture = _picture(chance, _WIDTH, height)
    return ImageChops.subtract(picture, Image.merge("RGB", (grain, grain, grain))).tobytes()


def _font(chance: random.Random, glyphs: int) -> bytes:
    """Build a TrueType font of so many glyphs with curved outlines."""
    names = [".notdef", *(f"g{number}" for number in range(1, glyphs))]
    outlines = {}
    for name in names:
        pen = TTGlyphPen(None)
        for _ in range(2):
            pen.moveTo((chance.randint(0, 900), chance.randint(-200, 800)))
            for _ in range(8):
                points = [(chance.randint(0, 900), chance.randint(-200, 800)) for _ in range(2)]
                pen.qCurveTo(*points)
            pen.closePath()
        outlines[name] = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({32 + number: name for number, name in enumerate(names[1:])})
    builder.setupGlyf(outlines)
    builder.setupHorizontalMetrics({name: (chance.randint(250, 900), 0) for name in names})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Bench", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    out = io.BytesIO()
    builder.save(out)
    return out.getvalue()
