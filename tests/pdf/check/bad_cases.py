"""Files that must be refused: damaged ones, ones that need a password, ones that act. All are made of whole invoices.

Each function makes the cases of one kind (the kinds of `../shared/cases/pdf`): what varies -> the PDF.
"""

import base64
import io
import random
import re
import zlib
from collections.abc import Callable
from typing import Final

import pypdf
from odd_cases import (
    CONTENT,
    LINES,
    PAGE,
    PICTURE,
    XML,
    attached,
    encoded,
    escaped,
    lzw,
    parts,
    run_length,
    with_length,
)
from PIL import Image

import pdfs

SCRIPT: Final = b"<< /S /JavaScript /JS (app.alert\\(1\\)) >>"
GUIDE: Final = b"".join(b"<ram:Amount currencyID='EUR'>%d.90</ram:Amount>\n" % n for n in range(900)).decode()


def overwritten(pdf: bytes, start: int, size: int) -> bytes:
    """Return the PDF with zeros from `start` on."""
    return pdf[:start] + bytes(size) + pdf[start + size :]


def holes(pdf: bytes, start: int, end: int) -> dict[str, bytes]:
    """Return the PDF with holes of a sector and of a page, at multiples of each, that begin between two offsets."""
    return {
        f"{size} zeros at {at}": overwritten(pdf, at, size)
        for size in (512, 4096)
        for at in range(-(-start // size) * size, end - size, size)
    }


def everywhere(objects: dict[int, bytes]) -> dict[str, bytes]:
    """Return these objects as a file with a table, and as one with object streams."""
    return {how.__name__: how(objects) for how in (pdfs.build, pdfs.compressed)}


def named(cases: dict[str, dict[int, bytes]]) -> dict[str, bytes]:
    """Return these cases' files in both layouts."""
    return {f"{name}, {how}": pdf for name, case in cases.items() for how, pdf in everywhere(case).items()}


def attachment_broken() -> dict[str, bytes]:
    """A compressed e-invoice with a changed byte, zeros, or without its end."""
    case = attached(b"factur-x.xml", (XML % ("UTF-8", GUIDE)).encode(), compress=True)
    data = case[8].partition(b"stream\n")[2].removesuffix(b"\nendstream")
    middle = len(data) // 2
    broken = {
        "changed": data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :],
        "zeros": overwritten(data, middle, 64),
        "half": data[:middle],
        "no end": data[:-20],
    }
    kind = b"/Type /EmbeddedFile /Subtype /text#2Fxml"
    return named({name: case | {8: encoded(bad, b"/FlateDecode", kind)} for name, bad in broken.items()})


def bytes_lost() -> dict[str, bytes]:
    """Bytes missing or doubled among the objects: everything behind them has moved."""
    made = {}
    for how, pdf in everywhere(parts()).items():
        last = pdf.rindex(b"obj", 0, pdf.rindex(b"endobj"))
        for share in (0.2, 0.5, 0.9):
            for size in (1, 20, 512):
                at = int(last * share)
                if pdf[at : at + size].strip():  # a line end more or less between two objects changes nothing
                    made[f"{size} missing at {at}, {how}"] = pdf[:at] + pdf[at + size :]
                    made[f"{size} twice at {at}, {how}"] = pdf[: at + size] + pdf[at:]
    plain = pdfs.build(parts({4: pdfs.stream(CONTENT, compress=False), 6: pdfs.stream(bytes(400), compress=False)}))
    at = plain.index(b"pieces")
    for size in (1, 2):
        made[f"{size} twice in plain content"] = plain[: at + size] + plain[at:]
        made[f"{size} missing in plain content"] = plain[:at] + plain[at + size :]
    zeros = plain.index(bytes(400))
    made["1 twice in a picture that ends with zeros"] = plain[:zeros] + b"\0" + plain[zeros:]
    for size, words in ((1, b"/F1 3 0"), (20, b"/Type /Font"), (40, b"/Resources")):
        at = plain.index(words) + 4
        made[f"{size} twice in an object"] = plain[: at + size] + plain[at:]
    widths = b" ".join(b"%d" % (200 + n * 7919 % 800) for n in range(900))
    font = b"<< /Type /Font /Subtype /TrueType /BaseFont /Arial /FirstChar 0 /LastChar 899 /Widths [%b] >>" % widths
    array = pdfs.build(parts({3: font}))
    at = array.index(b" ", array.index(widths) + 900)
    made["a sector missing in an array"] = array[:at] + array[at + 512 :]
    return made


def checksum_lost() -> dict[str, bytes]:
    """Zeros over the end of a stream's data and its checksum, or both gone with the word behind them."""
    data = zlib.compress(CONTENT)
    made = named({f"{n} zeros": parts({4: encoded(data[:-n] + bytes(n), b"/FlateDecode")}) for n in (8, 64, 200)})
    good = pdfs.build(parts())
    end = good.index(data) + len(data)
    return made | {
        "zeros and the word behind": overwritten(good, end - 40, 50),
        "gone": good[: end - 4] + good[end + 10 :],
    }


def checksum_wrong() -> dict[str, bytes]:
    """A whole checksum that does not fit its data."""
    made = {}
    for number in (4, 5):
        head, _, data = parts()[number].partition(b"stream\n")
        for at in (60, len(data) // 2):
            bad = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            made[f"object {number}, byte {at}"] = parts({number: head + b"stream\n" + bad})
    return named(made)


def contract_javascript() -> dict[str, bytes]:
    """Programs in it."""
    next_one = b"/OpenAction << /S /Named /N /FirstPage /Next %b >>" % SCRIPT
    names = b"/Names << /JavaScript << /Names [(a) 6 0 R] >> >>"
    made = {"opened": parts(catalog=b"/OpenAction " + SCRIPT), "behind the first page": parts(catalog=next_one)}
    return named(made | {"by name": parts({6: SCRIPT}, catalog=names)})


def contract_launch_action() -> dict[str, bytes]:
    """Starts a program."""
    return named({"opened": parts(catalog=b"/OpenAction << /S /Launch /F (calc.exe) >>")})


def contract_open_action() -> dict[str, bytes]:
    """Acts when it is opened."""
    acts = (
        b"<< /S /Named /N /Print >>",
        b"<< /S /Named /N /FirstPage /Next << /S /Named /N /Print >> >>",
        b"<< /S /Named /N /SaveAs >>",
        b"<< /S /URI /URI (https://example.org) >>",
        b"<< /S /SubmitForm /F (https://example.org) >>",
    )
    return named({f"{act!r}": parts(catalog=b"/OpenAction " + act) for act in acts})


def contract_pages() -> dict[str, bytes]:
    """More pages than allowed."""
    many = parts({2: b"<< /Type /Pages /Count 600 /Kids [%b] >>" % (b"10 0 R " * 600)})
    return named({"600": many, "said only": parts({2: pdfs.PAGES.replace(b"/Count 1", b"/Count 9999")})})


def contract_portfolio() -> dict[str, bytes]:
    """A collection of other files."""
    case = attached(b"other.pdf", pdfs.invoice(), b"application#2Fpdf", compress=True)
    return named({"tiles": case | {1: case[1].replace(b"/AF", b"/Collection << /View /T >> /AF")}})


def cut() -> dict[str, bytes]:
    """Cut short, the rest gone or zeros."""
    made = {}
    for how, pdf in everywhere(parts()).items():
        last = pdf.rindex(b"startxref")
        for end in (len(pdf) // 10, len(pdf) // 2, 512, last - 300, last - 10, last, last + 5, last + 11):
            made[f"at {end}, {how}"] = pdf[:end]
            made[f"at {end}, then zeros, {how}"] = pdf[:end] + bytes(len(pdf) - end)
    return made


def filter_garbage() -> dict[str, bytes]:
    """Content in LZW, ASCII85, hex or RunLength that is garbage or breaks off."""
    noise = random.Random(3).randbytes(1500)
    coded = {
        b"/LZWDecode": lzw(CONTENT),
        b"/ASCII85Decode": base64.a85encode(CONTENT) + b"~>",
        b"/ASCIIHexDecode": CONTENT.hex().encode() + b">",
        b"/RunLengthDecode": run_length(CONTENT),
    }
    made = {}
    for filters, data in coded.items():
        for how, bad in (("half", data[: len(data) // 2]), ("noise", noise), ("text", b"No such code: {}|~~ z" * 40)):
            made[f"{filters.decode()}, {how}"] = parts({4: encoded(bad, filters)})
    return named(made)


def foreign_tail() -> dict[str, bytes]:
    """Written over an older, longer file whose end is still there."""
    old = parts({6: pdfs.stream(random.Random(1).randbytes(9000)), 7: pdfs.stream(LINES * 3, compress=False)})
    made = {}
    for how, new in everywhere(parts()).items():
        for older, pdf in everywhere(old).items():
            for size in (len(new), len(pdf) - 500, len(pdf) - 2500, len(pdf) - 9000):
                if size >= len(new):
                    made[f"{how} over {older} of {len(pdf) - size} more"] = new + pdf[size:]
    # Exact by chance: of the older file's objects the first one begins where the newer one's does, all others behind.
    longer = {4: b""} | parts({4: pdfs.stream(LINES + random.Random(1).randbytes(9000))})
    for how, first in (("plain", b"BT /F1 9 Tf (Invoice) Tj ET"), ("compressed", LINES)):
        new = pdfs.build({4: pdfs.stream(first, compress=how != "plain")} | {n: parts()[n] for n in (1, 2, 3, 10)})
        made[f"{how}, every entry of the older table is right"] = new + pdfs.build(longer)[len(new) :]
    return made


def half_update() -> dict[str, bytes]:
    """An update behind the end that breaks off, or has zeros in it."""
    update = b"<< /Data [%b] >>" % b" ".join(b"%d" % (n * 7919) for n in range(900))
    made = {}
    for name, good in {"table": pdfs.build(parts()), "padded": pdfs.build(parts()) + bytes(300)}.items():
        whole = pdfs.updated(good, 6, update)
        start, last = len(good), whole.rindex(b"startxref")
        for end in (start + 40, (start + last) // 2, last - 60, last + 4, last + 11):
            made[f"cut at {end}, {name}"] = whole[:end]
            made[f"zeros from {end} on, {name}"] = whole[:end] + bytes(len(whole) - end)
        made[f"zeros at its beginning, {name}"] = overwritten(whole, start, 600)
        made |= {f"{hole}, {name}": pdf for hole, pdf in holes(whole, start, last).items()}
    return made


def hole() -> dict[str, bytes]:
    """Zeros where a sector or page of the file was never written."""
    made = {}
    noise = random.Random(2)
    more = {n: pdfs.stream(noise.randbytes(2500), PICTURE % (25, 33, b"/DeviceRGB")) for n in range(20, 26)}
    page = PAGE.replace(b"/L 5 0 R", b"/L 5 0 R " + b" ".join(b"/L%d %d 0 R" % (n, n) for n in more)) % b""
    shown = pdfs.stream(CONTENT + b"\n" + b"\n".join(b"/L%d Do" % n for n in more))
    for how, pdf in everywhere(parts({4: shown, 10: page} | more)).items():
        made |= {f"{zeros}, {how}": bad for zeros, bad in holes(pdf, 0, len(pdf) - 200).items()}
    invoice = pdfs.build(attached(b"factur-x.xml", (XML % ("UTF-8", GUIDE)).encode()))
    start = invoice.index(b"<ram:Amount")
    return made | {f"{zeros}, e-invoice": bad for zeros, bad in holes(invoice, start, start + 20_000).items()}


def hole_white_space() -> dict[str, bytes]:
    """Zeros where PDF takes them for white space: in arrays, dictionaries and plain content, the table exact."""
    chance = random.Random(4)
    widths = b" ".join(b"%d" % chance.randrange(200, 999) for _ in range(3000))
    font = b"<< /Type /Font /Subtype /TrueType /BaseFont /Arial /FirstChar 0 /LastChar 2999 /Widths [%b] >>" % widths
    lines = b"\n".join([CONTENT, *(LINES.replace(b"Position", b"Place %d" % n) for n in range(4))])
    made = {}
    for name, case, word in (
        ("widths", parts({3: font}), b"/Widths ["),
        ("content", parts({4: pdfs.stream(lines, compress=False)}), b"BT /F1"),
    ):
        pdf = pdfs.build(case)
        start = pdf.index(word)
        made |= {f"{zeros}, {name}": bad for zeros, bad in holes(pdf, start, start + 9000).items()}
    kids = [b"%d 0 R" % n for n in range(10, 110)]
    pages = dict.fromkeys(range(10, 110), PAGE % b"")
    tree = b"<< /Type /Pages /Count 100 /Kids [%b%b%b] >>"
    lost = tree % (b" ".join(kids[:20]), bytes(len(b" ".join(kids[20:60])) + 2), b" ".join(kids[60:]))
    made["pages"] = pdfs.build(parts(pages | {2: lost}))
    return made


def line_ends() -> dict[str, bytes]:
    """LF became CR LF, or the other way round."""
    made = {f"CR LF, {how}": pdf.replace(b"\n", b"\r\n") for how, pdf in everywhere(parts()).items()}
    windows = pdfs.build({n: body.replace(b" /", b"\r\n/") for n, body in parts().items()})
    noise = random.Random(8)
    pictures = {n: pdfs.stream(noise.randbytes(3600), PICTURE % (40, 30, b"/DeviceRGB")) for n in (5, 6)}
    returns = pdfs.build(parts({4: pdfs.stream(CONTENT, compress=False)} | pictures))
    made["CR to LF, every checksum wrong"] = returns.replace(b"\r", b"\n")
    grey = Image.frombytes("L", (200, 200), noise.randbytes(40_000))
    jpeg = io.BytesIO()
    grey.save(jpeg, "JPEG", quality=90)
    scanned = encoded(jpeg.getvalue(), b"/DCTDecode", PICTURE % (200, 200, b"/DeviceGray"))
    scan = pdfs.build(parts({4: pdfs.stream(CONTENT, compress=False), 5: scanned}))
    made["CR to LF in a JPEG picture"] = scan.replace(b"\r", b"\n")
    made["LF to CR in a JPEG picture"] = scan.replace(b"\n", b"\r")
    return made | {"LF": windows.replace(b"\r\n", b"\n")}


def object_missing() -> dict[str, bytes]:
    """A page needs a font, a picture or content that is not in the file."""
    made = {f"object {number}": {n: b for n, b in parts().items() if n != number} for number in (3, 4, 5, 10)}
    made["resources"] = parts({10: re.sub(rb"/Resources << .* >> >>", b"/Resources 77 0 R", PAGE) % b""})
    made["font is null"] = parts({3: b"null"})
    made["second page"] = parts({2: b"<< /Type /Pages /Count 2 /Kids [10 0 R 77 0 R] >>"})
    return named(made)


def palette_hole() -> dict[str, bytes]:
    """Zeros that begin or end inside a palette."""
    chance = random.Random(6)
    palette = bytes(chance.choice(b"ABCxyz\xf5\x90") for _ in range(768))
    pixels = bytes(chance.randrange(256) for _ in range(4000))
    picture = PICTURE % (80, 50, b"[/Indexed /DeviceRGB 255 %b]" % escaped(palette))
    pdf = pdfs.build(parts({5: pdfs.stream(pixels, picture), 6: pdfs.stream(chance.randbytes(6000))}))
    at = pdf.index(palette)
    return {
        "begins in it": overwritten(pdf, at + 300, 700),
        "a page that begins in it": overwritten(pdf, at + 300, 4096),
        "a sector that begins in it": overwritten(pdf, at + 600, 512),
        "ends in it": overwritten(pdf, at - 100, 400),
        "all of it and more": overwritten(pdf, at - 200, 1200),
    }


def locked(algorithm: str, owner: str | None) -> bytes:
    """Return an invoice that needs the password "secret" to be opened."""
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdfs.build(parts())))
    writer.encrypt("secret", owner, algorithm=algorithm)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


ALGORITHMS: Final = ("RC4-40", "RC4-128", "AES-128", "AES-256-R5", "AES-256")


def password() -> dict[str, bytes]:
    """Needs a password to be opened."""
    return {f"{name}, owner {owner}": locked(name, owner) for name in ALGORITHMS for owner in (None, "other")}


def password_empty_owner() -> dict[str, bytes]:
    """Needs a password to be opened; only the owner's is empty."""
    return {name: locked(name, "") for name in ALGORITHMS}


def stream_unreadable() -> dict[str, bytes]:
    """Page content, or a picture, that no viewer can read."""
    data, good = zlib.compress(CONTENT), parts()[4]
    bad = {
        "no line end before it": good.replace(b"stream\n", b"stream", 1),
        "line ends before it": encoded(b"\r\n\r\n" + data, b"/FlateDecode"),
        "no header": encoded(data[2:-4], b"/FlateDecode"),
        "zeros": encoded(bytes(len(data)), b"/FlateDecode"),
        "plain": encoded(CONTENT, b"/FlateDecode"),
        "cut": encoded(data[: len(data) // 2], b"/FlateDecode"),
        "twice": encoded(zlib.compress(data), b"/FlateDecode"),
        "length of nothing": with_length(encoded(b"", b"/FlateDecode"), b"0"),
        "unknown filter": encoded(data, b"/FlatDecode"),
    }
    made = {name: parts({4: body}) for name, body in bad.items()}
    pixels = zlib.compress(bytes(range(256)) * 5)
    made["a picture, unknown filter"] = parts(
        {5: encoded(pixels, b"/FlateDeccode", PICTURE % (40, 32, b"/DeviceGray"))}
    )
    return named(made)


DAMAGED: Final = frozenset({"damaged", "incomplete", "no_pages", "not_a_pdf"})
"""The reasons that a damaged file may get: which one depends on what is left of it."""
ALL: Final[dict[str, tuple[Callable[[], dict[str, bytes]], frozenset[str]]]] = {
    make.__name__.replace("_", "-"): (make, reasons)
    for reasons, makers in (
        (
            DAMAGED,
            (
                *(attachment_broken, bytes_lost, checksum_lost, checksum_wrong, cut, filter_garbage, foreign_tail),
                *(half_update, hole, hole_white_space, line_ends, object_missing, palette_hole, stream_unreadable),
            ),
        ),
        (frozenset({"encrypted"}), (password, password_empty_owner)),
        (frozenset({"javascript"}), (contract_javascript,)),
        (frozenset({"launch_action"}), (contract_launch_action,)),
        (frozenset({"open_action"}), (contract_open_action,)),
        (frozenset({"too_many_pages"}), (contract_pages,)),
        (frozenset({"portfolio"}), (contract_portfolio,)),
    )
    for make in makers
}
"""Makers of cases and the reasons that they may get, by kind."""
