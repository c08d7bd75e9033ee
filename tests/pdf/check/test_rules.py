"""The rules one by one: what is read leniently, decoded, forgiven, and how a refusal says which object it is."""

import re
import zlib

import pytest
from checking import DAMAGE, facts, verdict

import pdfs
from invoicedrop.pdf.check.content import content_hole
from invoicedrop.pdf.check.decoding import decode, undo_ascii85, undo_hex, undo_lzw, undo_run_length
from invoicedrop.pdf.check.lenient import read_leniently
from invoicedrop.pdf.check.syntax import Malformed, Name
from invoicedrop.pdf.check.verdict import KINDER, Refused
from invoicedrop.pdf.check.xml_text import unprintable_text

PICTURE = b"/Type /XObject /Subtype /Image /Width 40 /Height 40 /BitsPerComponent 8 /ColorSpace /DeviceGray"
DRAWN = pdfs.text_content("Invoice 8355") + b" q 40 0 0 40 9 9 cm /L Do Q"
WITH_PICTURE = pdfs.PAGE.replace(b"/Font", b"/XObject << /L 6 0 R >> /Font") % b""


def with_picture(picture: bytes) -> bytes:
    """Return an invoice with this picture on its page."""
    return pdfs.build(pdfs.objects(more={4: pdfs.stream(DRAWN), 6: picture, 10: WITH_PICTURE}))


def coded(data: bytes, extra: bytes) -> bytes:
    """Return a stream object's body with data that is coded already."""
    return b"<< /Length %d %b >>\nstream\n%b\nendstream" % (len(data), extra, data)


def detail(pdf: bytes) -> str:
    """Return why a PDF is refused, in the words of the details."""
    with pytest.raises(Refused) as refused:
        facts(pdf)
    return refused.value.detail


def test_refusal_names_the_object_and_what_it_is() -> None:
    """A bookkeeper can tell the maker of the accounting software which object it is, and what happened to it."""
    cut = coded(zlib.compress(bytes(range(256)) * 7)[:-20], b"/Filter /FlateDecode " + PICTURE)
    assert detail(with_picture(cut)) == "object 6 ends in the middle of a picture"
    holed = pdfs.build(pdfs.objects(more={3: pdfs.FONT + bytes(40)}))
    assert re.fullmatch(r"object 3 has a hole of 40 zeros at \d+", detail(holed))


def test_refusal_says_where_to_turn_if_a_viewer_is_kinder() -> None:
    """Where a viewer may be kinder than the rule, the detail ends with what to do; where none is, it does not."""
    font = pdfs.FONT.replace(b"/Helvetica", b"/Helvetica \xb7\xb7")
    wrong = bytearray(zlib.compress(pdfs.text_content("Invoice 8355")))
    wrong[-1] ^= 255
    kinder = [
        pdfs.build(pdfs.objects(more={3: font})),
        pdfs.build(pdfs.objects(more={4: coded(bytes(wrong), b"/Filter /FlateDecode")})),
    ]
    for pdf in kinder:
        assert detail(pdf).endswith("; " + KINDER)
    assert "maker" not in detail(pdfs.invoice(padding=9000)[:4000])


@pytest.mark.parametrize(
    ("text", "value", "damage"),
    [
        (b"<</A NaN/B undefined/C 1>>", {"A": None, "B": None, "C": 1}, None),
        (b"<</A(x) y)/B 1>>", {"A": b"x", "B": 1}, None),
        (b"<</A 1>>>>", {"A": 1}, None),
        (b"<</Company/Meyer & Co KG>>", {"Company": Name("Meyer")}, None),
        (b"<</A 1,5/B 2>>", {"A": 1, "B": 2}, None),
        (b"<</A(x (y)>>", {}, "has a text that does not end"),
        (b"<</A[1 2/B 3", {}, "ends too early"),
        (b"<</A[1 2>>/B 3", {"A": [1, 2]}, "has brackets that do not fit"),
        (b"<</A 5\xc69>>", {"A": 5}, "has bytes where none can be"),
    ],
)
def test_lenient_reading(text: bytes, value: object, damage: str | None) -> None:
    """Words that stand for nothing are null, brackets too many are nothing, and the rest is what damage leaves."""
    understood, found = read_leniently(text, 0, len(text))
    assert found == damage
    if not damage:
        assert understood == value


def test_decoding() -> None:
    """The codings of texts are undone as ISO 32000-1 has them; whether the end mark was there is told."""
    assert undo_lzw(bytes.fromhex("800B6050220C0C8501"), 99) == (b"-----A---B", True)  # 7.4.4.2, the example
    assert undo_lzw(bytes.fromhex("800B6050220C0C85")[:-1], 99)[1] is False
    assert undo_run_length(b"\x02abc\xfed\x80", 99) == (b"abcddd", True)
    assert undo_ascii85(b"87cUR\nD]j7BEbo80~\n>") == (b"Hello world!", True)
    assert undo_ascii85(b"87cURD]j7BEbo80~") == (b"Hello world!", True)
    assert undo_ascii85(b"87cURD]j7BEbo80") == (b"Hello world!", False)
    assert undo_hex(b"48 69 7>") == (b"Hip", True)
    assert undo_hex(b"4869") == (b"Hi", False)


@pytest.mark.parametrize(
    ("undo", "data"),
    [(undo_ascii85, b"zzzv~>"), (undo_hex, b"4z>"), (lambda data: undo_run_length(data, 99), b"\x09abc")],
)
def test_what_cannot_be_decoded(undo: object, data: bytes) -> None:
    """What is no such coding is not taken for one."""
    assert callable(undo)
    with pytest.raises(Malformed):
        undo(data)


def test_decoding_keeps_to_its_limit() -> None:
    """What expands to more than is allowed is refused while it does."""
    for undo, data in ((undo_run_length, b"\x81a" * 99), (undo_lzw, bytes.fromhex("800B6050220C0C85"))):
        with pytest.raises(Refused):
            undo(data, 5)


def predicted(kind: int, rows: list[bytes]) -> bytes:
    """Return rows with a PNG predictor (RFC 2083, 6), of one byte to the left."""
    out, above = b"", bytes(len(rows[0]))
    for row in rows:
        out += bytes([kind])
        for at, byte in enumerate(row):
            left, up, corner = (row[at - 1] if at else 0), above[at], (above[at - 1] if at else 0)
            nearest = min((left, up, corner), key=lambda value, p=left + up - corner: abs(p - value))  # type: ignore[misc]
            out += bytes([(byte - (0, left, up, (left + up) // 2, nearest)[kind]) & 255])
        above = row
    return out


@pytest.mark.parametrize("kind", range(5))
def test_predictors(kind: int) -> None:
    """Each of PNG's predictors is undone."""
    rows = [bytes((7 * row + at * at) & 255 for at in range(9)) for row in range(6)]
    parameters = {"Predictor": 10 + kind, "Columns": 9}
    dictionary = {"Filter": Name("FlateDecode"), "DecodeParms": parameters}
    assert decode(dictionary, zlib.compress(predicted(kind, rows)), 9999).data == b"".join(rows)


@pytest.mark.parametrize(
    "text",
    [
        b"<a>f\xfcr M\xfcller \x96 20 \xb0C, \xa7 5</a>",
        b"<a>\xc4\xd6\xdc\xe4</a>",
        b"<a x='B\xfcro'>l\x92article</a>",
        "<a>für Müller, 5 €</a>".encode(),
        "\ufeff<a>für</a>".encode("utf-16-le"),
    ],
)
def test_letters_of_any_encoding_pass(text: bytes) -> None:
    """Letters and signs in values are right in whatever set they are written."""
    assert not unprintable_text(text)


@pytest.mark.parametrize(
    "text",
    [b"<a>Rechn\x9eung</a>", b"<ram\xc5ID>1</ram:ID>", b"<a>\n \xdf \n<b/></a>", b"<a>54\xc6910</a>", b"<a>\x03</a>"],
)
def test_changed_bytes_do_not(text: bytes) -> None:
    """A byte in a tag, in a word, among blanks or within a number that no writer puts there is damage."""
    assert unprintable_text(text)


def test_zeros_in_content() -> None:
    """Zeros are right in an inline picture that is as long as it says, and behind the last operator."""
    picture = b"q BI /W 20 /H 20 /BPC 8 /CS /G ID " + bytes(400) + b"\nEI Q "
    assert content_hole(picture + pdfs.text_content("Invoice")) is None
    assert content_hole(pdfs.text_content("Invoice") + bytes(99)) is None
    assert content_hole(picture.replace(b"/H 20", b"/H 19") + pdfs.text_content("Invoice")) == 400
    assert content_hole(b"BT (Inv" + bytes(50) + b"oice) Tj ET") == 50


@pytest.mark.parametrize(
    ("name", "why"), [("FirstPage", "ok"), ("NextPage", "ok"), ("Print", "open_action"), ("X", "open_action")]
)
def test_named_actions(name: str, why: str) -> None:
    """Going to a page by name is no action; whatever else is named is one."""
    action = f"/OpenAction << /S /Named /N /{name} >>".encode()
    assert verdict(pdfs.build(pdfs.objects(catalog=action))) == why


@pytest.mark.parametrize("tail", [b"\n" * 90_000, bytes(200_000), b"<p>Thank you</p>" * 900, b"\r\n0\r\n\r\n", b"true"])
@pytest.mark.parametrize("made", [pdfs.invoice, lambda: pdfs.compressed(pdfs.objects())])
def test_what_stands_behind_a_whole_file(made: object, tail: bytes) -> None:
    """What stands behind a whole file does not matter, however long it is."""
    assert callable(made)
    assert verdict(made() + tail) == "ok"


@pytest.mark.parametrize("padding", [b"", bytes(3000)])
def test_update_that_is_cut(padding: bytes) -> None:
    """The beginning of an update is no such tail, wherever it breaks off, but within its first number."""
    whole = pdfs.invoice() + padding
    update = pdfs.updated(whole, 4, pdfs.stream(pdfs.text_content("Invoice 8355, corrected")))[len(whole) :]
    assert verdict(whole + update) == "ok"
    for size in range(3, len(update) - 6):
        assert verdict(whole + update[:size]) == "incomplete", size


def test_bytes_that_stand_twice() -> None:
    """What was put in twice, so that everything behind it has moved, is damage."""
    good = pdfs.invoice(padding=9000)
    at = good.index(b"/BaseFont")
    assert verdict(good[: at + 40] + good[at:]) in DAMAGE


def test_object_that_no_page_needs() -> None:
    """An object that no page needs may be anything, in a file whose table is exact; where it is not, it is damage."""
    odd = {7: b"<< /A (x) y) /B undefined", 8: coded(b"no Flate data", b"/Filter /FlateDecode")}
    whole = pdfs.build(pdfs.objects(more=odd))
    assert verdict(whole) == "ok"
    assert verdict(whole.replace(b"%PDF-1.7\n", b"%PDF-1.7\n%\n", 1)) in DAMAGE


@pytest.mark.parametrize("number", [3, 4, 10])
def test_object_that_a_page_needs(number: int) -> None:
    """A font, content or page that is not in the file is missed, although every entry of the table is exact."""
    found = pdfs.objects()
    del found[number]
    assert verdict(pdfs.build({**found, 12: b"null"})) in DAMAGE
