"""Sample invoices: small, valid PDFs, written with the standard library only.

The structure is that of ISO 32000-1: header, numbered objects, a cross-reference table with the offset of each object,
and a trailer. Text is Helvetica, which every viewer has, in WinAnsi encoding; contents are Flate-compressed.
"""

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

_WIDTH, _HEIGHT = 595, 842  # A4 in points
_LEFT, _RIGHT = 56, 539
_FIRST_ROW, _ROW_HEIGHT, _ROWS_ON_A_PAGE = 560, 20, 20
_QUANTITY_AT, _PRICE_AT = 360, 450
_INK, _PALE, _ACCENT = "0.13 0.15 0.19", "0.45 0.48 0.53", "0.09 0.42 0.45"
_ARTICLES: Final = ("Desk lamp, oak", "Coffee grinder", "Wool blanket", "Bicycle bell", "Enamel mug", "Notebook A5")
VAT_PERCENT: Final = 21
# Widths of the characters of amounts in Helvetica, in thousandths of the size, from its published metrics.
_DIGIT, _POINT = 556, 278


class Line(NamedTuple):
    """A line of an invoice; the price of one piece is in cents."""

    text: str
    quantity: int
    cents: int


class EmbeddedFile(NamedTuple):
    """A file inside a PDF, of which the page is the alternative; `metadata` is the document's, in XMP."""

    name: str
    media_type: str
    content: bytes
    metadata: bytes


def invoice_pdf(
    order_number: str,
    *,
    lines: Sequence[Line] | None = None,
    pages: int = 1,
    title: str = "Invoice",
    embedded: EmbeddedFile | None = None,
) -> bytes:
    """Return an invoice of the invented Example Shop GmbH for an order, with the order's number on every page.

    The same arguments give the same bytes, and different order numbers different ones. `lines` default to
    something plausible; `pages` is the minimum number of pages (more if the lines need them), `title` what the
    document calls itself.

    Raises:
        ValueError: fewer than one page.

    """
    if pages < 1:
        raise ValueError(f"an invoice has at least one page, not {pages}")
    lines = plausible_lines(order_number) if lines is None else lines
    pages = max(pages, -(-len(lines) // _ROWS_ON_A_PAGE))
    rows = -(-len(lines) // pages)
    contents = [
        _page(title, order_number, lines[number * rows : (number + 1) * rows], lines, number + 1, pages)
        for number in range(pages)
    ]
    return _document(f"{title} {order_number}", contents, embedded)


def totals_of(lines: Iterable[Line]) -> tuple[int, int]:
    """Return the net total and the tax of an invoice, in cents."""
    net = sum(line.quantity * line.cents for line in lines)
    return net, (net * VAT_PERCENT + 50) // 100


def plausible_lines(order_number: str) -> list[Line]:
    """Return the lines of an order's invoice; the same number gives the same lines."""
    digest = hashlib.sha256(order_number.encode()).digest()
    count = 1 + digest[0] % 4
    return [
        Line(_ARTICLES[(digest[1] + n) % len(_ARTICLES)], 1 + digest[n + 2] % 3, 495 + 37 * digest[n + 8])
        for n in range(count)
    ]


def _page(
    title: str, order_number: str, here: Sequence[Line], everything: Sequence[Line], number: int, pages: int
) -> bytes:
    drawn = [
        f"{_ACCENT} rg 0 {_HEIGHT - 12} {_WIDTH} 12 re f",
        _text(_LEFT, 770, "Example Shop GmbH", size=18, bold=True),
        _text(_LEFT, 752, "Musterweg 1, 00000 Musterstadt  |  VAT id XX000000000", size=9, ink=_PALE),
        _text(_LEFT, 690, title, size=26, bold=True, ink=_ACCENT),
        _text(_LEFT, 656, f"{title} number: INV-{order_number}"),
        _text(_LEFT, 640, f"Order number: {order_number}"),
        _text(_LEFT, 624, "Bill to: the customer of this order (made up)", ink=_PALE),
        _text(_LEFT, _FIRST_ROW + 24, "Article", size=9, bold=True),
        _right(_QUANTITY_AT, _FIRST_ROW + 24, "Quantity", size=9, bold=True),
        _right(_PRICE_AT, _FIRST_ROW + 24, "Price", size=9, bold=True),
        _right(_RIGHT, _FIRST_ROW + 24, "Total EUR", size=9, bold=True),
        _rule(_FIRST_ROW + 17),
    ]
    row = _FIRST_ROW
    for line in here:
        drawn += [
            _text(_LEFT, row, line.text),
            _right(_QUANTITY_AT, row, str(line.quantity)),
            _right(_PRICE_AT, row, _amount(line.cents)),
            _right(_RIGHT, row, _amount(line.quantity * line.cents)),
        ]
        row -= _ROW_HEIGHT
    drawn.append(_rule(row + 12))
    if number == pages:
        drawn += _totals(everything, row - 8)
    drawn += [
        _text(_LEFT, 48, "A made-up invoice for trying out invoicedrop. Nobody owes anything.", size=8, ink=_PALE),
        _right(_RIGHT, 48, f"Page {number} of {pages}", size=8, ink=_PALE),
    ]
    return "\n".join(drawn).encode("cp1252", "replace")


def _totals(lines: Iterable[Line], row: int) -> list[str]:
    net, vat = totals_of(lines)
    return [
        _right(_PRICE_AT, row, "Net"),
        _right(_RIGHT, row, _amount(net)),
        _right(_PRICE_AT, row - 18, f"VAT {VAT_PERCENT} %"),
        _right(_RIGHT, row - 18, _amount(vat)),
        _right(_PRICE_AT, row - 40, "To pay", bold=True),
        _right(_RIGHT, row - 40, _amount(net + vat), bold=True),
    ]


def _text(x: float, y: float, text: str, *, size: int = 10, bold: bool = False, ink: str = _INK) -> str:
    escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)").replace("\r", " ").replace("\n", " ")
    return f"BT {ink} rg /{'F2' if bold else 'F1'} {size} Tf {x:.2f} {y} Td ({escaped}) Tj ET"


def _right(x: float, y: float, text: str, *, size: int = 10, bold: bool = False, ink: str = _INK) -> str:
    # Exact for amounts; words, whose letters vary in width, end close enough.
    width = sum(_POINT if char in " .,il" else _DIGIT for char in text) * size / 1000
    return _text(x - width, y, text, size=size, bold=bold, ink=ink)


def _rule(y: float) -> str:
    return f"0.8 0.82 0.85 RG 0.6 w {_LEFT} {y} m {_RIGHT} {y} l S"


def _amount(cents: int) -> str:
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100:,}.{abs(cents) % 100:02d}"


def _document(title: str, contents: Sequence[bytes], embedded: EmbeddedFile | None) -> bytes:
    first_page = 6
    kids = " ".join(f"{first_page + 2 * n} 0 R" for n in range(len(contents)))
    title_units = "".join(f"{unit:04X}" for unit in _utf16(title))
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /{} /Encoding /WinAnsiEncoding >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(contents)} >>".encode(),
        font.format("Helvetica").encode(),
        font.format("Helvetica-Bold").encode(),
        f"<< /Title <FEFF{title_units}> /Producer (invoicedrop sandbox) >>".encode(),
    ]
    for number, content in enumerate(contents):
        packed = zlib.compress(content, 9)
        objects += [
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d]"
            b" /Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> /Contents %d 0 R >>"
            % (_WIDTH, _HEIGHT, first_page + 2 * number + 1),
            _stream(b"/Filter /FlateDecode", packed),
        ]
    if embedded is not None:
        references, attached = _embedding(embedded, len(objects) + 1)
        objects[0] = objects[0].removesuffix(b">>") + references + b" >>"
        objects += attached
    pdf = bytearray(b"%PDF-1.7" if embedded is not None else b"%PDF-1.4")
    pdf += b"\n%\xe2\xe3\xcf\xd3\n"
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(pdf))
        pdf += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    xref = len(pdf)
    # Each entry of the table is exactly twenty bytes, its line end included.
    pdf += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    pdf += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    name = hashlib.sha256(bytes(pdf)).hexdigest()[:32].encode()
    pdf += b"trailer\n<< /Size %d /Root 1 0 R /Info 5 0 R /ID [<%s> <%s>] >>\n" % (len(objects) + 1, name, name)
    pdf += b"startxref\n%d\n%%%%EOF\n" % xref
    return bytes(pdf)


def _embedding(embedded: EmbeddedFile, first: int) -> tuple[bytes, list[bytes]]:
    """Return what the catalog says of an embedded file, and its objects, of which `first` is the first one's number.

    An associated file (ISO 32000-2, 14.13) that is also listed among the document's embedded files, as Factur-X asks.
    """
    name, content = embedded.name.encode("ascii"), embedded.content
    media_type = embedded.media_type.replace("/", "#2F").encode("ascii")
    references = b" /Names << /EmbeddedFiles << /Names [(%s) %d 0 R] >> >> /AF [%d 0 R] /Metadata %d 0 R"
    return references % (name, first, first, first + 2), [
        b"<< /Type /Filespec /F (%s) /UF (%s) /AFRelationship /Alternative /EF << /F %d 0 R /UF %d 0 R >> >>"
        % (name, name, first + 1, first + 1),
        _stream(
            b"/Type /EmbeddedFile /Subtype /%s /Params << /Size %d >> /Filter /FlateDecode"
            % (media_type, len(content)),
            zlib.compress(content, 9),
        ),
        _stream(b"/Type /Metadata /Subtype /XML", embedded.metadata),
    ]


def _stream(dictionary: bytes, content: bytes) -> bytes:
    return b"<< /Length %d %s >>\nstream\n" % (len(content), dictionary) + content + b"\nendstream"


def _utf16(text: str) -> list[int]:
    packed = text.encode("utf-16-be", "replace")
    return [int.from_bytes(packed[at : at + 2]) for at in range(0, len(packed), 2)]
