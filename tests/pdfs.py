"""Makers of PDFs for tests: good ones, by hand and with fpdf2, and later hostile ones."""

import zlib
from collections.abc import Mapping


def build(objects: Mapping[int, bytes], *, root: int = 1, trailer: bytes = b"", version: bytes = b"1.7") -> bytes:
    """Return a PDF of these objects (number -> what stands between `obj` and `endobj`), with a right table."""
    out = bytearray(b"%PDF-" + version + b"\n%\xe2\xe3\xcf\xd3\n")
    places = {}
    for number, body in objects.items():
        places[number] = len(out)
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    size = max(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n" % size
    for number in range(1, size):
        place = places.get(number)
        out += b"0000000000 00000 f \n" if place is None else b"%010d 00000 n \n" % place
    out += b"trailer\n<< /Size %d /Root %d 0 R %b >>\nstartxref\n%d\n%%%%EOF\n" % (size, root, trailer, start)
    return bytes(out)


def stream(data: bytes, extra: bytes = b"", *, compress: bool = True) -> bytes:
    """Return a stream object's body with a right length."""
    if compress:
        data = zlib.compress(data)
        extra += b" /Filter /FlateDecode"
    return b"<< /Length %d %b >>\nstream\n%b\nendstream" % (len(data), extra, data)


def invoice(text: str = "Invoice 8355", *, pages: int = 1, padding: int = 0) -> bytes:
    """Return a good invoice: `text` on each of its pages; `padding` bytes of incompressible font-like data inside."""
    content = b"BT /F1 12 Tf 72 720 Td (%b) Tj ET" % text.encode("latin-1").replace(b"(", rb"\(").replace(b")", rb"\)")
    kids = b" ".join(b"%d 0 R" % (10 + n) for n in range(pages))
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Count %d /Kids [%b] >>" % (pages, kids),
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        4: stream(content),
    }
    for n in range(pages):
        objects[10 + n] = (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>"
        )
    if padding:
        import random

        objects[10 + pages] = stream(random.Random(padding).randbytes(padding))
    return build(objects)
