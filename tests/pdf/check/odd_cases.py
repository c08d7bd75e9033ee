"""Invoices with one oddity each that is their generator's own: whole files, which the check must take.

Each function makes the cases of one kind (the kinds of `../shared/cases/pdf`): what varies -> the PDF.
"""

import base64
import random
import re
import struct
import zlib
from collections.abc import Callable
from typing import Final

import pdfs

LINES: Final = b"\n".join(
    b"BT /F1 10 Tf 50 %d Td (Position %d, %d pieces, %d.00 EUR) Tj ET" % (760 - 14 * n, n, n % 7 + 1, n * 37)
    for n in range(45)
)
CONTENT: Final = b"q 80 0 0 60 450 770 cm /L Do Q\n" + LINES
PICTURE: Final = b"/Type /XObject /Subtype /Image /Width %d /Height %d /BitsPerComponent 8 /ColorSpace %b"
PAGE: Final = (
    b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
    b" /Resources << /Font << /F1 3 0 R >> /XObject << /L 5 0 R >> >> %b >>"
)
XML: Final = (
    '<?xml version="1.0" encoding="%s"?>\n<rsm:CrossIndustryInvoice xmlns:rsm="urn:un:unece:uncefact:data:standard:'
    'CrossIndustryInvoice:100" xmlns:ram="urn:ram"><ram:Name>%s</ram:Name></rsm:CrossIndustryInvoice>'
)
XMP: Final = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>%b'
    b'</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def parts(more: dict[int, bytes] | None = None, *, catalog: bytes = b"", page: bytes = b"") -> dict[int, bytes]:
    """Return the objects of an invoice with a page of text (4), a font (3) and a picture (5), and `more` objects."""
    pixels = random.Random(5).randbytes(40 * 30 * 3)
    invoice = pdfs.objects(catalog=catalog)
    invoice[4] = pdfs.stream(CONTENT)
    invoice[5] = pdfs.stream(pixels, PICTURE % (40, 30, b"/DeviceRGB"))
    return invoice | {10: PAGE % page} | (more or {})


def with_length(body: bytes, length: bytes) -> bytes:
    """Return a stream's body with another /Length."""
    return re.sub(rb"/Length \d+", b"/Length " + length, body, count=1)


def encoded(data: bytes, filters: bytes, extra: bytes = b"") -> bytes:
    """Return a stream's body with data that is encoded already."""
    return pdfs.stream(data, b"/Filter %b %b" % (filters, extra), compress=False)


def lzw(data: bytes) -> bytes:
    """Return data in LZW: codes of nine bits, the table emptied before it needs ten."""
    codes = [code for n, byte in enumerate(data) for code in ([256] if n % 200 == 0 else []) + [byte]] + [257]
    bits = "".join(f"{code:09b}" for code in codes)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def run_length(data: bytes) -> bytes:
    """Return data in RunLength, all of it literal."""
    chunks = [data[n : n + 128] for n in range(0, len(data), 128)]
    return b"".join(bytes([len(chunk) - 1]) + chunk for chunk in chunks) + b"\x80"


def attached(name: bytes, data: bytes, mime: bytes = b"text#2Fxml", *, compress: bool = False) -> dict[int, bytes]:
    """Return the objects of an invoice with an attachment (8)."""
    files = b"/AF [7 0 R] /Names << /EmbeddedFiles << /Names [(%b) 7 0 R] >> >>" % name
    more = {
        7: b"<< /Type /Filespec /F (%b) /UF (%b) /EF << /F 8 0 R >> >>" % (name, name),
        8: pdfs.stream(data, b"/Type /EmbeddedFile /Subtype /%b" % mime, compress=compress),
    }
    return parts(more, catalog=files)


def described(xmp: bytes) -> dict[int, bytes]:
    """Return the objects of an invoice with uncompressed metadata (6)."""
    metadata = pdfs.stream(xmp, b"/Type /Metadata /Subtype /XML", compress=False)
    return parts({6: metadata}, catalog=b"/Metadata 6 0 R")


def informed(entries: bytes) -> bytes:
    """Return an invoice with these entries in its document information."""
    return pdfs.build(parts({9: b"<< /Producer (Faktura 6) %b >>" % entries}), trailer=b"/Info 9 0 R")


def escaped(data: bytes) -> bytes:
    """Return data as a literal string, as few bytes of it escaped as can be."""
    for plain, escape in ((b"\\", b"\\\\"), (b"(", b"\\("), (b")", b"\\)"), (b"\r", b"\\r")):
        data = data.replace(plain, escape)
    return b"(%b)" % data


def with_xref_stream(change: Callable[[bytes], tuple[bytes, bytes]]) -> bytes:
    """Return an invoice whose cross-reference stream is encoded by `change`: rows of 5 bytes -> entries, data."""
    pdf = pdfs.compressed(parts(), predictor=False)
    start = int(pdf[pdf.rfind(b"startxref") + 9 :].split()[0])
    table = pdf[start:]
    head, _, rest = table.partition(b"stream\n")
    entries, data = change(zlib.decompress(rest))
    head = re.sub(rb" /Filter /FlateDecode", b" " + entries, with_length(head, b"%d" % len(data)))
    return pdf[:start] + head + b"stream\n" + data + table[table.rindex(b"\nendstream") :]


def predicted(kinds: tuple[int, ...]) -> Callable[[bytes], tuple[bytes, bytes]]:
    """Return the encoding of rows of 5 bytes by these kinds of predictors in turn (PNG 1.2, 6)."""

    def paeth(left: int, up: int, corner: int) -> int:
        return min((left, up, corner), key=lambda value: abs(left + up - corner - value))

    def change(data: bytes) -> tuple[bytes, bytes]:
        out, above = bytearray(), bytes(5)
        for n in range(0, len(data), 5):
            row, kind = data[n : n + 5], kinds[n // 5 % len(kinds)]
            out.append(kind)
            for at, value in enumerate(row):
                left, up, corner = (row[at - 1], above[at], above[at - 1]) if at else (0, above[at], 0)
                guess = (0, left, up, (left + up) // 2, paeth(left, up, corner))[kind]
                out.append((value - guess) & 255)
            above = row
        entries = b"/Filter /FlateDecode /DecodeParms << /Predictor 15 /Columns 5 >>"
        return entries, zlib.compress(out)

    return change


def a85_end() -> dict[str, bytes]:
    """An ASCII85 stream whose end mark is broken over two lines, or half."""
    text = base64.a85encode(zlib.compress(CONTENT), wrapcol=72)
    filters = b"[/ASCII85Decode /FlateDecode]"
    return {
        f"end {end!r}": pdfs.build(parts({4: encoded(text + end, filters)}))
        for end in (b"~\n>", b"~\r\n>", b"~ >", b"~", b"~\n", b"\n~\n>")
    }


def between_objects() -> dict[str, bytes]:
    """A word, a bracket, odd bytes or some zeros between two objects; the table is exact."""
    things = (b"Writing object\n", b";\n", b">>\n", b"]\n", b"\x1a\n", b"\xa0", b"\xff\xfe\n", bytes(60), bytes(200))
    made = {f"{thing[:20]!r}": pdfs.build(parts(), between=thing) for thing in things}
    comment = b"%\xe2\xe3\xcf\xd3\n"
    good = pdfs.build(parts())
    # What stands there instead of the comment is as long as that.
    return made | {"behind the header": good.replace(comment, b"\xe2\xe3\xcf\xd3\xa0\n", 1)}


def checksum_short() -> dict[str, bytes]:
    """A Flate stream whose checksum lacks 1 to 4 bytes, or is 00000000; its data is whole."""
    data = zlib.compress(CONTENT)
    made = {f"{n} bytes missing": parts({4: encoded(data[:-n], b"/FlateDecode")}) for n in (1, 2, 3, 4)}
    made["zeros"] = parts({4: encoded(data[:-4] + bytes(4), b"/FlateDecode")})
    files = {
        f"{name}, {how.__name__}": how(case) for name, case in made.items() for how in (pdfs.build, pdfs.compressed)
    }
    short = with_xref_stream(lambda rows: (b"/Filter /FlateDecode", zlib.compress(rows)[:-4]))
    return files | {"cross-reference stream": short}


def edited() -> dict[str, bytes]:
    """One object changed in an editor, or by a tool that leaves the table as it is; all behind it has moved."""
    plain = pdfs.stream(b"BT /F1 10 Tf 50 700 Td (Cafe, invoice 8355) Tj ET", compress=False)
    more = {
        4: plain,
        6: pdfs.stream(b" " * 400, PICTURE % (20, 20, b"/DeviceGray"), compress=False),
    }
    first = {9: b"<< /Producer (Faktura 6, trial) >>"}
    good = pdfs.build(first | parts(more, catalog=b"/OpenAction [10 0 R /Fit]"), trailer=b"/Info 9 0 R")
    content = b"BT /F1 10 Tf 50 700 Td (Invoice 8355, paid by direct debit) Tj ET"
    return {
        "longer producer": good.replace(b"Faktura 6", b"Faktura 6.1 for Windows"),
        "shorter producer": good.replace(b"Faktura 6, trial", b"Faktura"),
        "an entry more": good.replace(b"/Type /Catalog", b"/Type /Catalog /Lang (de)"),
        "a line more": good.replace(b"endobj\n", b"endobj\n\n", 1),
        "an action less": good.replace(b" /OpenAction [10 0 R /Fit]", b""),
        "another font": good.replace(b"/Helvetica", b"/Helvetica-Bold"),
        "a stamp": good.replace(plain, pdfs.stream(content, compress=False)),
        "less content": good.replace(plain, pdfs.stream(content[:30] + b") Tj ET", compress=False)),
        "an entry more, before what repeats": good.replace(b"/Width 20", b"/Interpolate true /Width 20"),
        "characters counted instead of bytes": good.replace(b"Cafe", "Café".encode()),
    }


def eof_misspelt() -> dict[str, bytes]:
    """The end marker misspelt, or a number that is no integer before it."""
    good = pdfs.build(parts())
    number = good[good.rfind(b"startxref") + 9 :].split()[0]
    marks = {f"{mark!r}": good.replace(b"%%EOF\n", mark) for mark in (b"%EOF\n", b"%%eof\n", b"%%Eof", b"%% EOF\r\n")}
    return marks | {"float": good.replace(b"startxref\n" + number, b"startxref\n" + number + b".0")}


def goes_to_page() -> dict[str, bytes]:
    """Opens at a page that an action names."""
    goto = b"<< /S /GoTo /D [10 0 R /Fit] /Next << /S /Named /N /FirstPage >> >>"
    named = (b"<< /S /Named /N /FirstPage >>", b"<< /Type /Action /S /N#61med /N /FirstPage >>", goto)
    return {f"{action!r}": pdfs.build(parts(catalog=b"/OpenAction " + action)) for action in named}


def guard() -> dict[str, bytes]:
    """Nothing odd."""
    return {how.__name__: how(parts()) for how in (pdfs.build, pdfs.compressed)} | {
        "updated": pdfs.updated(pdfs.build(parts()), 3, pdfs.FONT)
    }


def padding_then_update() -> dict[str, bytes]:
    """Zeros or blanks behind the end, then an update that is whole."""
    pads = (bytes(1), bytes(200), bytes(4096), bytes(70_000), b" " * 300, b"\x1a")
    good = pdfs.build(parts())
    once = {f"{len(pad)} of {pad[:1]!r}": pdfs.updated(good + pad, 3, pdfs.FONT) for pad in pads}
    return once | {"twice": pdfs.updated(pdfs.updated(good + bytes(900), 3, pdfs.FONT) + bytes(500), 3, pdfs.FONT)}


def palette_zeros() -> dict[str, bytes]:
    """A palette as a literal string with zeros for what the picture does not use."""
    chance, made = random.Random(8), {}
    for space, size in ((b"/DeviceRGB", 3), (b"/DeviceGray", 1), (b"/DeviceCMYK", 4)):
        for used, before in ((3, 0), (60, 0), (60, 196), (12, 120)):
            colours = bytes(chance.choice(b"ABCxyz()\\\xf5\x90") for _ in range(used * size))
            palette = bytes(before * size) + colours + bytes((256 - used - before) * size)
            pixels = bytes(before + chance.randrange(used) for _ in range(40 * 30))
            name = f"{used} of 256 from {before} on, {space.decode()}"
            inline = PICTURE % (40, 30, b"[/Indexed %b 255 %b]" % (space, escaped(palette)))
            made[name] = pdfs.build(parts({5: pdfs.stream(pixels, inline)}))
            apart = PICTURE % (40, 30, b"[/Indexed %b 255 6 0 R]" % space)
            made[name + ", by reference"] = pdfs.build(parts({5: pdfs.stream(pixels, apart), 6: escaped(palette)}))
    return made


def plain_length() -> dict[str, bytes]:
    """An unfiltered stream with another length than /Length says."""
    content = CONTENT.replace(b"EUR", "€".encode())
    plain, size = pdfs.stream(content, compress=False), len(content)
    lengths = {f"{n:+}": size + n for n in (-2000, -100, -5, -1, 1, 3, 10, 500, 100_000)}
    lengths |= {"in characters": len(content.decode()), "line ends as none": size - content.count(b"\n"), "zero": 0}
    made = {name: parts({4: with_length(plain, b"%d" % length)}) for name, length in lengths.items()}
    made["float"] = parts({4: with_length(plain, b"%d.0" % size)})
    made["elsewhere"] = parts({4: with_length(plain, b"6 0 R"), 6: b"%d" % (size - 44)})
    xmp = described(XMP % b"<a/>")
    made["metadata"] = xmp | {6: with_length(xmp[6], b"40")}
    return {
        f"{name}, {how.__name__}": how(case) for name, case in made.items() for how in (pdfs.build, pdfs.compressed)
    }


def raw_picture() -> dict[str, bytes]:
    """An unfiltered picture with much black, some of its bytes letters."""
    made = {}
    for space, size in ((b"/DeviceRGB", 3), (b"/DeviceGray", 1)):
        for width, height in ((120, 50), (300, 90), (1000, 60)):
            letters = random.Random(width).choices(b"AEIxyz<>()/", k=width * size // 2)
            rows = [
                bytes(letters) + bytes(width * size - len(letters)) if n % 9 == 4 else bytes(width * size)
                for n in range(height)
            ]
            picture = pdfs.stream(b"".join(rows), PICTURE % (width, height, space), compress=False)
            made[f"{width} x {height}, {space.decode()}"] = pdfs.build(parts({5: picture}))
    inline = b"q 90 0 0 60 50 60 cm\nBI /W 60 /H 40 /CS /G /BPC 8\nID %b\nEI Q\n" % (bytes(1500) + b"AJx" * 300)
    made["inline"] = pdfs.build(parts({4: pdfs.stream(CONTENT + b"\n" + inline)}))
    made["inline, nothing compressed"] = pdfs.build(parts({4: pdfs.stream(CONTENT + b"\n" + inline, compress=False)}))
    return made


def tail_padding() -> dict[str, bytes]:
    """NULs, blanks, line ends or 0x1A behind the end, as many as the file is long and more."""
    pads = (bytes(1), bytes(4097), bytes(200_000), b" " * 5000, b"\r\n" * 10_000, b"\x1a", b"\0\n" * 900)
    return {
        f"{len(pad)} of {pad[:2]!r}, {how.__name__}": how(parts()) + pad
        for pad in pads
        for how in (pdfs.build, pdfs.compressed)
    }


def tail_residue() -> dict[str, bytes]:
    """A web page, a chunk's end, a number or a word behind the end."""
    page = b"\r\n<!DOCTYPE html>\r\n<html><body>%b</body></html>\r\n" % (b"<p>Position</p>\r\n" * 300)
    tails = (
        page,
        b"\r\n0\r\n\r\n",
        b"1",
        b"OK\r\n",
        b'{"status": "ok"}',
        b"\nWarning: headers already sent\n",
        b"\n18342\n",
    )
    return {
        f"{tail[:20]!r}, {how.__name__}": how(parts()) + tail for tail in tails for how in (pdfs.build, pdfs.compressed)
    }


def two_parsers() -> dict[str, bytes]:
    """A /Length that is no number and yet no matter, a table that says it begins at 1."""
    made = {}
    for name, body in {"flate": pdfs.stream(CONTENT), "plain": pdfs.stream(CONTENT, compress=False)}.items():
        for length in (b"null", b"77 0 R", b"7 0 R", b"8 0 R", b"1000.0", b"(1000)"):
            more = {4: with_length(body, length), 7: b"8 0 R", 8: b"%d" % len(CONTENT) if name == "plain" else b"null"}
            made[f"{name}, {length.decode()}"] = pdfs.build(parts(more))
        made[f"{name}, none"] = pdfs.build(parts({4: re.sub(rb"/Length \d+", b"", body, count=1)}))
    return made | {"from 1": pdfs.build(parts()).replace(b"xref\n0 ", b"xref\n1 ")}


def unused_broken() -> dict[str, bytes]:
    """Flate declared on what is none, in a stream that no page and no attachment needs."""
    intents = b"/OutputIntents [<< /S /GTS_PDFA1 /OutputConditionIdentifier (sRGB) /DestOutputProfile 6 0 R >>]"
    made = {}
    for where in (b"", intents, b"/PieceInfo << /Faktura << /Private 6 0 R >> >>"):
        for data in (b"plain profile data " * 40, bytes(600), zlib.compress(CONTENT)[:300]):
            made[f"{where[:14].decode()} {data[:9]!r}"] = pdfs.build(
                parts({6: encoded(data, b"/FlateDecode", b"/N 3")}, catalog=where)
            )
    return made


def unused_syntax() -> dict[str, bytes]:
    """Words and brackets that are no PDF, in places that no page needs."""
    odd = (
        *(
            b"/Company (Meyer (Hamburg)",
            b"/Company (Meyer) KG)",
            b"/Total NaN",
            b"/Total undefined",
            b"/Total -Infinity",
        ),
        *(b"/Paid True", b"/Total 1,5", b"/Company /Meyer & Co KG", b"/Day D:20240505", b"/A >", b"/A ]", b"/A [1 2"),
        *(b"/A 100%", b"/A #12", b'/A "text"', b"/A {x}", b"/A", b"/A \xe4\xf6", b">>", b"/A (\xfe\xff\0(\0M)"),
    )
    made = {f"information, {entry!r}": informed(entry) for entry in odd}
    for entry in odd[:9]:
        made[f"annotation, {entry!r}"] = pdfs.build(
            parts({6: b"<< /Subtype /Link /Rect [0 0 9 9] %b >>" % entry}, page=b"/Annots [6 0 R]")
        )
        made[f"object, {entry!r}"] = pdfs.build(parts({6: b"<< %b >>" % entry}))
    page = (b">>", b"/Rotate undefined", b"/Dur NaN", b"/Tabs undefined")
    return made | {f"page, {entry!r}": pdfs.build(parts(page=entry)) for entry in page}


def xml_8bit() -> dict[str, bytes]:
    """An unfiltered e-invoice or metadata in an encoding of one byte a character."""
    made = {}
    for encoding in ("ISO-8859-1", "ISO-8859-15", "windows-1252"):
        for word in ("Müller", "90 °C § 14", "Straße"):
            xml = (XML % (encoding, word)).encode(encoding)
            made[f"attachment, {encoding}, {word}"] = pdfs.build(attached(b"factur-x.xml", xml))
    for title in (b"M\xfcller", b"\x84Quotes\x93 \x96", b"\xa9 Meyer", b"\x80 5"):
        made[f"metadata, {title!r}"] = pdfs.build(described(XMP % title))
    return made


def xref_detail() -> dict[str, bytes]:
    """Details of a table or cross-reference stream that seldom are so."""
    good = pdfs.build(parts())
    made = {f"count {n:+}": good.replace(b"xref\n0 11\n", b"xref\n0 %d\n" % (11 + n)) for n in (-2, -1, 1, 2)}
    made |= {f"predictors {kinds}": with_xref_stream(predicted(kinds)) for kinds in ((3,), (4,), (0, 1, 2, 3, 4))}
    coded = {
        b"/LZWDecode": lzw,
        b"/ASCIIHexDecode": lambda rows: rows.hex().encode() + b">",
        b"/ASCII85Decode": lambda rows: base64.a85encode(rows) + b"~>",
        b"/RunLengthDecode": run_length,
        b"[]": bytes,
    }
    for name, encode in coded.items():
        made[name.decode()] = with_xref_stream(lambda rows, n=name, e=encode: (b"/Filter " + n, e(rows)))  # type: ignore[misc]
    claim = pdfs.build(described(XMP % b"<pdfaid:part>1</pdfaid:part><pdfaid:conformance>B</pdfaid:conformance>"))
    short = re.sub(rb"(\d{10} \d{5} [fn]) \n", rb"\1\n", claim)
    return made | {"entries of 19 bytes in PDF/A": short}


def zeros_in_attachment() -> dict[str, bytes]:
    """An unfiltered attachment with zeros of its own."""
    record = b"%05d;Teekanne;19,90" % 1 + bytes(181)
    field = b"NAME".ljust(11, b"\0") + b"C" + bytes(4) + b"\xc8" + bytes(15)
    dbf = b"\x03\x7c\x05\x05" + struct.pack("<IHH", 9, 65, 201) + bytes(20) + field + b"\r" + (b" " + record) * 9
    xls = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16) + b">\0\3\0\xfe\xff" + bytes(480) + b"Workbook" + bytes(3000)
    text = b"Lieferschein 8355 als Textdatei\r\n" * 8
    files = {b"KUNDEN.DBF": dbf, b"satz.txt": text + record * 12, b"brief.txt": text + bytes(200), b"rechnung.xls": xls}
    mimes = (b"application#2Foctet-stream", b"text#2Fplain", b"application#2Fx-dbf")
    return {
        f"{name.decode()}, {mime.decode()}": pdfs.build(attached(name, data, mime))
        for name, data in files.items()
        for mime in mimes
    }


def zeros_in_signature() -> dict[str, bytes]:
    """A signature's literal string, padded with zeros."""
    signature = escaped(b"\x30\x82" + random.Random(6).randbytes(700))
    made = {}
    for zeros in (600, 1200, 8000):
        value = b"<< /Type /Sig /Filter /Adobe.PPKLite /ByteRange [0 100 200 300] /Contents %b) >>"
        more = {
            6: value % (signature[:-1] + bytes(zeros)),
            7: b"<< /Subtype /Widget /FT /Sig /T (Signature1) /V 6 0 R /Rect [0 0 0 0] /F 132 /P 10 0 R >>",
        }
        form = b"/AcroForm << /Fields [7 0 R] /SigFlags 3 >>"
        made[f"{zeros} zeros"] = pdfs.build(parts(more, catalog=form, page=b"/Annots [7 0 R]"))
    return made


ALL: Final[dict[str, Callable[[], dict[str, bytes]]]] = {
    make.__name__.replace("_", "-"): make
    for make in (
        *(a85_end, between_objects, checksum_short, edited, eof_misspelt, goes_to_page, guard, padding_then_update),
        *(palette_zeros, plain_length, raw_picture, tail_padding, tail_residue, two_parsers, unused_broken),
        *(unused_syntax, xml_8bit, xref_detail, zeros_in_attachment, zeros_in_signature),
    )
}
"""Makers of cases, by kind."""
