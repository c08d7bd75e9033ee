"""Makers of PDFs for tests: good ones as careful, careless and odd generators write them, and hostile ones."""

import base64
import random
import re
import zlib
from collections.abc import Callable, Mapping

import fpdf
from fpdf.enums import AccessPermission

CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"
PAGES = b"<< /Type /Pages /Count 1 /Kids [10 0 R] >>"
FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
PAGE = (
    b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 3 0 R >> >> %b >>"
)


def build(
    objects: Mapping[int, bytes],
    *,
    root: int = 1,
    trailer: bytes = b"",
    version: bytes = b"1.7",
    between: bytes = b"",
) -> bytes:
    """Return a PDF of these objects (number -> what stands between `obj` and `endobj`), with a right table.

    `between` stands behind each of them.
    """
    out = bytearray(b"%PDF-" + version + b"\n%\xe2\xe3\xcf\xd3\n")
    places = {}
    for number, body in objects.items():
        places[number] = len(out)
        out += b"%d 0 obj\n%b\nendobj\n%b" % (number, body, between)
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


def text_content(text: str) -> bytes:
    """Return a page's content that shows one line of text."""
    shown = text.encode("latin-1").replace(b"\\", rb"\\").replace(b"(", rb"\(").replace(b")", rb"\)")
    return b"BT /F1 12 Tf 72 720 Td (%b) Tj ET" % shown


def objects(
    text: str = "Invoice 8355",
    *,
    pages: int = 1,
    padding: int = 0,
    catalog: bytes = b"",
    page: bytes = b"",
    more: Mapping[int, bytes] | None = None,
) -> dict[int, bytes]:
    """Return the objects of a good invoice, with entries added to its catalog and pages, and `more` objects.

    `padding` is how many bytes of a stream that cannot be compressed (as a font or picture would be) it has.
    """
    kids = b" ".join(b"%d 0 R" % (10 + n) for n in range(pages))
    found = {
        1: CATALOG.replace(b">>", catalog + b" >>"),
        2: b"<< /Type /Pages /Count %d /Kids [%b] >>" % (pages, kids),
        3: FONT,
        4: stream(text_content(text)),
    }
    if padding:
        found[5] = stream(random.Random(padding).randbytes(padding))
    return found | {10 + n: PAGE % page for n in range(pages)} | dict(more or {})


def invoice(text: str = "Invoice 8355", *, pages: int = 1, padding: int = 0) -> bytes:
    """Return a good invoice."""
    return build(objects(text, pages=pages, padding=padding))


def fpdf2(text: str = "Invoice 8355", *, lines: int = 40, restricted: bool = False) -> bytes:
    """Return an invoice as an ordinary generator makes it; `restricted` encrypts it so that anybody can read it."""
    document = fpdf.FPDF()
    document.set_producer("fpdf2")
    document.add_page()
    document.set_font("helvetica", size=12)
    for line in range(lines):
        document.cell(text=f"{text}, item {line}: {random.Random(line).random()}", new_x="LMARGIN", new_y="NEXT")
    if restricted:
        document.set_encryption(owner_password="theirs", permissions=AccessPermission.none())
    return bytes(document.output())


def compressed(found: Mapping[int, bytes], *, predictor: bool = True) -> bytes:
    """Return a PDF 1.5 whose objects without a stream lie in an object stream, with a cross-reference stream."""
    inside = {number: body for number, body in found.items() if b"stream" not in body}
    outside = {number: body for number, body in found.items() if number not in inside}
    out = bytearray(b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n")
    texts = list(inside.values())
    offsets = [sum(len(text) + 1 for text in texts[:n]) for n in range(len(texts))]
    index = b" ".join(b"%d %d" % pair for pair in zip(inside, offsets, strict=True)) + b" "
    holder, table = max(found) + 1, max(found) + 2
    extra = b"/Type /ObjStm /N %d /First %d" % (len(inside), len(index))
    outside[holder] = stream(index + b" ".join(texts), extra)
    rows = {number: (2, holder, place) for place, number in enumerate(inside)}
    for number, body in outside.items():
        rows[number] = (1, len(out), 0)
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    rows[table] = (1, start, 0)
    content, above = b"", bytes(5)
    for number in range(table + 1):
        kind, middle, last = rows.get(number, (0, 0, 0))
        row = bytes([kind]) + middle.to_bytes(3, "big") + bytes([last])
        content += b"\x02" + bytes((a - b) & 255 for a, b in zip(row, above, strict=True)) if predictor else row
        above = row
    parameters = b"/DecodeParms << /Predictor 12 /Columns 5 >>" if predictor else b""
    extra = b"/Type /XRef /Size %d /W [1 3 1] /Root 1 0 R %b" % (table + 1, parameters)
    out += b"%d 0 obj\n%b\nendobj\nstartxref\n%d\n%%%%EOF\n" % (table, stream(content, extra), start)
    return bytes(out)


def updated(pdf: bytes, number: int, body: bytes) -> bytes:
    """Return the PDF with an incremental update that gives one object anew (ISO 32000-1, 7.5.6)."""
    before = int(pdf[pdf.rfind(b"startxref") + 9 :].split()[0])
    place = len(pdf)
    update = b"%d 0 obj\n%b\nendobj\n" % (number, body)
    tables = b"xref\n%d 1\n%010d 00000 n \ntrailer\n<< /Size 99 /Root 1 0 R /Prev %d >>\n" % (number, place, before)
    return pdf + update + tables + b"startxref\n%d\n%%%%EOF\n" % (place + len(update))


def factur_x(order: str = "PO-2026-0815", guideline: str = "urn:cen.eu:en16931:2017") -> bytes:
    """Return an invoice with an e-invoice (UN/CEFACT CII) for an order inside, as PDF/A-3B."""
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><rsm:CrossIndustryInvoice xmlns:rsm="urn:un:unece:uncefact:data:'
        'standard:CrossIndustryInvoice:100" xmlns:ram="urn:ram"><rsm:ExchangedDocumentContext>'
        f"<ram:GuidelineSpecifiedDocumentContextParameter><ram:ID>{guideline}</ram:ID>"
        "</ram:GuidelineSpecifiedDocumentContextParameter></rsm:ExchangedDocumentContext><ram:LineTotalAmount>8355"
        "</ram:LineTotalAmount><ram:BuyerOrderReferencedDocument><ram:IssuerAssignedID>"
        f"{order}</ram:IssuerAssignedID></ram:BuyerOrderReferencedDocument></rsm:CrossIndustryInvoice>"
    ).encode()
    xmp = (
        b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>'
        b"<pdfaid:part>3</pdfaid:part><pdfaid:conformance>B</pdfaid:conformance></rdf:RDF></x:xmpmeta>" + b" " * 400
    )
    catalog = b"/Metadata 6 0 R /AF [7 0 R] /Names << /EmbeddedFiles << /Names [(factur-x.xml) 7 0 R] >> >>"
    more = {
        6: stream(xmp, b"/Type /Metadata /Subtype /XML", compress=False),
        7: b"<< /Type /Filespec /F (factur-x.xml) /UF (factur-x.xml) /EF << /F 8 0 R >> >>",
        8: stream(xml, b"/Type /EmbeddedFile /Subtype /text#2Fxml /Params << /Size %d >>" % len(xml)),
        9: b"<< /Producer (Test \\(1\\)) >>",
    }
    return build(objects("Invoice 1", catalog=catalog, more=more), trailer=b"/Info 9 0 R")


def careless() -> dict[str, bytes]:
    """Return invoices as careless generators and editors leave them, which every viewer opens all the same."""
    good = invoice(padding=3000)
    startxref = good.rfind(b"startxref")
    no_length = objects(padding=3000)
    no_length[5] = re.sub(rb"/Length \d+", b"/Length 7", no_length[5], count=1)
    indirect = objects(padding=3000, more={6: b"%d" % len(zlib.compress(random.Random(3000).randbytes(3000)))})
    indirect[5] = re.sub(rb"/Length \d+", b"/Length 6 0 R", indirect[5], count=1)
    far_away = build(indirect)
    far_away = far_away.replace(b"%010d 00000 n" % far_away.find(b"6 0 obj"), b"9" * 20 + b" 00000 n")
    return {
        "junk before the header": b"HTTP/1.1 200 OK\r\n\r\n" + good,
        "junk behind the end": good + b"\r\n--boundary--\r\n",
        "zeros behind the end": good + bytes(700),
        "no line end at the end": good.rstrip(),
        "wrong startxref": good[:startxref] + b"startxref\n4711\n%%EOF\n",
        "startxref of 0": good[:startxref] + b"startxref\n0\n%%EOF\n",
        "one endobj missing": build(objects(padding=3000)).replace(b">>\nendobj\n3 0 obj", b">>\n       3 0 obj"),
        "wrong length of a compressed stream": build(no_length),
        "length in another object": build(indirect),
        "length in an object that is far outside, says the table": far_away,
        "table one off": good.replace(b"xref\n0 11\n0000000000 65535 f \n", b"xref\n1 10\n", 1),
        "comments between objects": build({**objects(), 3: FONT + b" % the font (of course"}),
        "deep parentheses": build(objects(page=b"/Note ((((((((((deep))))))))))")),
        "zeros as white space": good.replace(b"/F1 3 0 R", b"/F1 3\0000\0R"),
        "update": updated(good, 4, stream(text_content("Invoice 8355, corrected"))),
        "two updates": updated(updated(good, 3, FONT), 4, stream(text_content("Invoice 8355, corrected"))),
        "object streams": compressed(objects(padding=3000)),
        "object streams, no predictor": compressed(objects(padding=3000), predictor=False),
        "ASCII85": build(objects(more={4: _ascii85(text_content("Invoice 8355"))})),
        "names with spaces": build(objects(more={3: FONT.replace(b"Helvetica", b"Arial#20Bold")})),
        "e-invoice": factur_x(),
        "fpdf2": fpdf2(),
        "fpdf2, printing forbidden": fpdf2(restricted=True),
    }


def _ascii85(data: bytes) -> bytes:
    text = base64.a85encode(zlib.compress(data)) + b"~>"
    return b"<< /Length %d /Filter [/ASCII85Decode /FlateDecode] >>\nstream\n%b\nendstream" % (len(text), text)


def bomb(size: int) -> bytes:
    """Return Flate data that expands to about `size` zero bytes, made in no time: one piece, again and again."""
    compressor = zlib.compressobj(9)
    compressor.compress(b"\0")
    compressor.flush(zlib.Z_FULL_FLUSH)
    piece = compressor.compress(bytes(16_777_216)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return b"\x78\xda" + piece * (size // 16_777_216)


def _raw(data: bytes, extra: bytes = b"") -> bytes:
    return b"<< /Length %d /Filter /FlateDecode %b >>\nstream\n%b\nendstream" % (len(data), extra, data)


def hostile() -> dict[str, tuple[bytes, str]]:
    """Return files that are made to hurt whoever reads them, and the reason for which each is to be rejected."""
    good = invoice()
    loop = good.replace(b"/Root 1 0 R", b"/Root 1 0 R /Prev %d" % good.rfind(b"xref\n0"))
    crowd = 30_000
    xref_bomb = b"1 0 obj\n%b\nendobj\n" % _raw(
        bomb(2**31), b"/Type /XRef /Size 999999999 /W [1 8 8] /Root 2 0 R /Index [0 999999999]"
    )
    nested = 100_000
    return {
        "deflate bomb": (build(objects(more={4: _raw(bomb(2**32))})), "damaged"),
        "deflate bomb in an object stream": (
            build(objects(more={6: _raw(bomb(2**32), b"/Type /ObjStm /N 9 /First 9")})),
            "damaged",
        ),
        "xref loop": (loop.replace(b"/Pages 2 0 R", b"/Pages 9 0 R"), "damaged"),
        "page tree loop": (build(objects(more={10: b"<< /Type /Pages /Count 1 /Kids [2 0 R] >>"})), "damaged"),
        "page tree of one that is its own child": (
            build(objects(more={2: b"<< /Type /Pages /Count 1 /Kids [2 0 R] >>"})),
            "damaged",
        ),
        "nested arrays": (build(objects(page=b"/A " + b"[" * nested + b"]" * nested)), "damaged"),
        "nested dictionaries": (build(objects(page=b"/A " + b"<</A" * nested + b" 1" + b">>" * nested)), "damaged"),
        "nested parentheses": (build(objects(page=b"/A " + b"(" * nested + b")" * (nested - 1))), "damaged"),
        "huge declared length": (
            good.replace(b"/Length", b"/Length 99999999999999 /L", 1).replace(b"/Filter", b"/F1"),
            "damaged",
        ),
        "huge numbers": (build(objects(page=b"/Rotate " + b"9" * 100_000)), "ok"),
        "xref stream bomb": (
            b"%PDF-1.5\n" + xref_bomb + b"2 0 obj\n" + CATALOG + b"\nendobj\nstartxref\n9\n%%EOF\n",
            "damaged",
        ),
        "table of a billion entries": (good.replace(b"xref\n0 11\n", b"xref\n0 999999999\n"), "damaged"),
        "more pages than it has": (good.replace(b"/Count 1", b"/Count 1000000000"), "too_many_pages"),
        "one page very often": (
            build(objects(more={2: b"<< /Type /Pages /Count 1 /Kids [%b] >>" % (b"10 0 R " * crowd)})),
            "too_many_pages",
        ),
        "object stream that is in itself": (
            build(objects(more={6: stream(b"6 0 << >>", b"/Type /ObjStm /N 1 /First 4 /Extends 6 0 R")})),
            "ok",
        ),
        "many objects without an end": (
            b"%PDF-1.4\n" + b"1 0 obj <</Length 9>> stream\n" * 30_000 + b"\nstartxref\n9\n%%EOF\n",
            "damaged",
        ),
        "catalog that is its own page tree": (build({1: b"<< /Type /Catalog /Pages 1 0 R >>"}), "no_pages"),
        "reference to itself": (build({1: b"1 0 R"}), "damaged"),
    }


def acting() -> dict[str, tuple[bytes, str]]:
    """Return invoices that do what an invoice may not, and the reason for which each is to be rejected."""
    script = b"<< /S /JavaScript /JS (app.alert\\(1\\)) >>"
    launch = b"<< /S /Launch /F (calc.exe) >>"
    uri = b"<< /S /URI /URI (https://example.org) >>"
    goto = b"<< /S /GoTo /D [10 0 R /Fit] /Next 20 0 R >>"
    link = b"/Annots [<< /Type /Annot /Subtype /Link /Rect [0 0 9 9] /A %b >>]"
    embedded = b"/Names << /EmbeddedFiles << /Names [(a) << /F (other.PDF) >>] >> >>"
    return {
        "JavaScript when opened": (build(objects(catalog=b"/OpenAction " + script)), "javascript"),
        "JavaScript by name": (
            build(objects(catalog=b"/Names << /JavaScript << /Names [(a) 20 0 R] >> >>", more={20: script})),
            "javascript",
        ),
        "JavaScript of a link": (build(objects(page=link % script)), "javascript"),
        "JavaScript, spelled in hexadecimal": (
            build(objects(page=link % script.replace(b"/JavaScript", b"/J#61v#61Script"))),
            "javascript",
        ),
        "JavaScript, its name elsewhere": (
            build(objects(page=link % b"<< /S 20 0 R /JS (1) >>", more={20: b"/JavaScript"})),
            "javascript",
        ),
        "JavaScript in an object stream": (compressed(objects(page=link % script)), "javascript"),
        "JavaScript in an update": (
            updated(invoice(), 1, CATALOG.replace(b">>", b"/OpenAction " + script + b">>")),
            "javascript",
        ),
        "launch": (build(objects(page=link % launch)), "launch_action"),
        "URI when opened": (build(objects(catalog=b"/OpenAction 20 0 R", more={20: uri})), "open_action"),
        "URI behind a jump": (build(objects(catalog=b"/OpenAction " + goto, more={20: uri})), "open_action"),
        "URI when the page opens": (build(objects(page=b"/AA << /O %b >>" % uri)), "open_action"),
        "printing when opened": (build(objects(catalog=b"/OpenAction << /S /Named /N /Print >>")), "open_action"),
        "portfolio": (build(objects(catalog=b"/Collection << /View /D >> " + embedded)), "portfolio"),
        "link": (build(objects(page=link % uri)), "ok"),
        "jump when opened": (build(objects(catalog=b"/OpenAction [10 0 R /Fit]")), "ok"),
        "jump action when opened": (build(objects(catalog=b"/OpenAction << /S /GoTo /D [10 0 R /Fit] >>")), "ok"),
        "a font named JS": (build(objects(page=b"/R << /JS 3 0 R /AA 3 0 R >>")), "ok"),
        "JavaScript that an update took away": (
            updated(build(objects(catalog=b"/OpenAction " + script)), 1, CATALOG),
            "ok",
        ),
        "embedded files": (build(objects(catalog=embedded)), "ok"),
        "collection that opens hidden": (build(objects(catalog=b"/Collection << /View /H >> " + embedded)), "ok"),
    }


def not_invoices() -> dict[str, tuple[bytes, str]]:
    """Return files that are no invoices for plainer reasons, and these."""
    good = invoice(padding=9000)
    picture = b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(64)
    return {
        "web page": (b"<html><body>Not found</body></html>" * 90, "not_a_pdf"),
        "picture": (picture * 50, "not_a_pdf"),
        "one byte": (b"%", "incomplete"),
        "one other byte": (b"x", "not_a_pdf"),
        "zeros": (bytes(5000), "incomplete"),
        "beginning of zeros": (bytes(4096) + good[4096:], "incomplete"),
        "half": (good[: len(good) // 2], "incomplete"),
        "half, the rest zeros": (good[: len(good) // 2] + bytes(len(good) // 2), "incomplete"),
        "header alone": (b"%PDF-1.7\n", "incomplete"),
        "update cut off": (updated(good, 3, FONT)[:-30], "incomplete"),
        "no pages": (build({1: CATALOG, 2: b"<< /Type /Pages /Count 0 /Kids [] >>"}), "no_pages"),
        "blank": (build(objects(more={4: stream(b"q Q")})), "no_pages"),
        "content in the coding of a picture": (
            build(objects(more={4: b"<< /Length 9 /Filter /JBIG2Decode >>\nstream\n0 0 m 9 9\nendstream"})),
            "damaged",
        ),
        "content that is not there": (build({n: b for n, b in objects().items() if n != 4}), "damaged"),
    }


ALL: tuple[Callable[[], dict[str, tuple[bytes, str]]], ...] = (hostile, acting, not_invoices)
"""Makers of files with the verdict that each is to get ("ok" where it is harmless after all)."""
