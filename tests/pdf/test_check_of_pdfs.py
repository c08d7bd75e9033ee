"""The check itself, in this process: what passes, what does not, and what is told about a good invoice."""

import mmap
import random
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fpdf
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import pdfs
from invoicedrop.pdf.check import filters, streams
from invoicedrop.pdf.check.check import check
from invoicedrop.pdf.check.jpeg import jpeg
from invoicedrop.pdf.check.syntax import Malformed, Name, Ref, parse, tokens_end
from invoicedrop.pdf.check.verdict import Refused
from invoicedrop.reasons import Reason

REAL = sorted((Path(__file__).parents[3] / "shared" / "invoices").glob("*.pdf"))
DAMAGE = ("incomplete", "damaged")


def examples(number: int) -> int:
    """Return how many examples a test takes: so many in every run, and more in a search for new ones."""
    return max(number, settings().max_examples)


@contextmanager
def mapped(pdf: bytes) -> Iterator[mmap.mmap]:
    """Lend the bytes as the child has them."""
    with mmap.mmap(-1, len(pdf)) as data:
        data[:] = pdf
        yield data


def facts(pdf: bytes, *, max_pages: int = 500, expect: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what the check tells about a PDF."""
    with mapped(pdf) as data:
        return check(data, max_pages=max_pages, expect=expect, search_seconds=30)


def verdict(pdf: bytes) -> str:
    """Return the reason for which a PDF is rejected, or "ok"."""
    try:
        facts(pdf)
    except Refused as refused:
        reason, detail = refused.reason, refused.detail
    else:
        return "ok"
    assert reason in set(Reason)
    assert re.fullmatch(r"[ -~]{5,150}", detail)
    return reason


@pytest.mark.parametrize(("name", "pdf"), [pytest.param(n, p, id=n) for n, p in pdfs.careless().items()])
def test_careless_generators_pass(name: str, pdf: bytes) -> None:
    """What every viewer opens all the same is no reason to refuse an invoice."""
    assert facts(pdf)["pages"] == 1, name


@pytest.mark.parametrize("made", pdfs.ALL)
def test_each_gets_its_reason(
    made: Callable[[], dict[str, tuple[bytes, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hostile files, files that act, and files that are no invoices are each rejected for the right reason."""
    monkeypatch.setattr(streams, "_EXPANDED", 2**26)  # a bomb is as good as one sixteen times as large
    files = made()
    assert {name: verdict(pdf) for name, (pdf, _) in files.items()} == {name: why for name, (_, why) in files.items()}


@pytest.mark.skipif(not REAL, reason="the real invoices are not on this machine")
def test_real_invoices_pass() -> None:
    """Every real invoice passes, and tells which e-invoice it carries as its name does."""
    kinds = {"ZUGFeRDv1": ("ZUGFeRD 1",), "XML-Rechnung_FX_EN": ("Factur-X",), "XML-Rechnung_FX_X": ("XRechnung",)}
    for path in REAL:
        found = facts(path.read_bytes())
        assert found["pages"] in range(1, 4)
        for prefix, kind in kinds.items():
            if path.name.startswith(prefix):
                assert found["einvoice"] in kind, path.name


def test_facts_of_an_einvoice() -> None:
    """Pages, version, producer, PDF/A and the kind of e-invoice are read from the file."""
    assert facts(pdfs.factur_x()) == {
        "pages": 1,
        "version": "1.7",
        "producer": "Test (1)",
        "pdfa": "3B",
        "einvoice": "Factur-X",
        "order_number_found": None,
    }


@pytest.mark.parametrize(
    ("guideline", "kind"),
    [
        ("urn:ferd:CrossIndustryDocument:invoice:1p0:comfort", "ZUGFeRD 1"),
        ("urn:cen.eu:en16931:2017#conformant#urn:zugferd.de:2p0:extended", "ZUGFeRD 2"),
        ("urn:factur-x.eu:1p0:minimum", "Factur-X"),
        ("urn:cen.eu:en16931:2017#compliant#urn:xoev-de:kosit:standard:xrechnung_2.1", "XRechnung"),
    ],
)
def test_kinds_of_einvoices(guideline: str, kind: str) -> None:
    """The guideline inside the e-invoice decides which kind it is."""
    assert facts(pdfs.factur_x(guideline=guideline))["einvoice"] == kind


def test_version_of_the_catalog_counts_if_newer() -> None:
    """An update may raise the version in the catalog; a lower one there means nothing."""
    assert facts(pdfs.build(pdfs.objects(catalog=b"/Version /1.7"), version=b"1.4"))["version"] == "1.7"
    assert facts(pdfs.build(pdfs.objects(catalog=b"/Version /1.4"), version=b"1.6"))["version"] == "1.6"


def test_too_many_pages() -> None:
    """The limit of pages itself passes, one more does not."""
    assert facts(pdfs.invoice(pages=3), max_pages=3)["pages"] == 3
    with pytest.raises(Refused, match="too_many_pages"):
        facts(pdfs.invoice(pages=4), max_pages=3)


@pytest.mark.parametrize(
    ("text", "number", "found"),
    [
        ("Order 302-1234567-1234567", "302-1234567-1234567", True),
        ("Order 302-1234567- 1234567", "302-1234567-1234567", True),
        ("Order (8355)", "8355", True),
        ("Order 183551", "8355", False),
        ("Order 83 55", "8355", False),
        ("Order A8355", "8355", False),
        ("order c0ffee-1", "C0FFEE-1", True),
        ("Nothing", "8355", False),
    ],
)
def test_order_number_in_the_text(text: str, number: str, found: object) -> None:
    """An order number counts where it stands alone in a page's text, whatever the case and the hyphenation."""
    assert facts(pdfs.invoice(text), expect=("0815-4711-0815", number))["order_number_found"] is found


def test_order_number_in_the_einvoice() -> None:
    """The e-invoice's order reference counts; another number in it, an amount for instance, does not."""
    assert facts(pdfs.factur_x("PO-99"), expect=("PO-99",))["order_number_found"] is True
    assert facts(pdfs.factur_x("PO-99"), expect=("8355",))["order_number_found"] is False


def test_password() -> None:
    """A PDF that needs a password is refused; that is told apart from one that only restricts printing."""
    document = fpdf.FPDF()
    document.add_page()
    document.set_font("helvetica", size=12)
    document.cell(text="secret")
    document.set_encryption(owner_password="theirs", user_password="yours")
    assert verdict(bytes(document.output())) == "encrypted"
    assert verdict(pdfs.fpdf2(restricted=True)) == "ok"


def test_damage_inside_an_encrypted_file() -> None:
    """A restricted file's streams are decrypted and checked, too."""
    good = pdfs.fpdf2(restricted=True)
    at = good.find(b"stream\n") + 200
    assert verdict(good[:at] + bytes([good[at] ^ 255]) + good[at + 1 :]) == "damaged"


GOOD = {
    "table": pdfs.invoice(padding=40_000),
    "fpdf2": pdfs.fpdf2(),
    "object streams": pdfs.compressed(pdfs.objects(padding=40_000)),
    "e-invoice": pdfs.factur_x(),
}
MANGLED = GOOD | {name: pdf for name, pdf in pdfs.careless().items() if len(pdf) < 10_000}


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
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


@settings(max_examples=examples(150), deadline=None)
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


@settings(max_examples=examples(150), deadline=None)
@given(name=st.sampled_from(sorted(GOOD)), share=st.floats(0, 1, exclude_max=True), size=st.integers(1, 2000))
def test_missing_middle_is_caught(name: str, share: float, size: int) -> None:
    """Bytes that are missing from inside a stream are caught."""
    pdf = GOOD[name]
    streams = [match.span(1) for match in re.finditer(rb"stream\n(.*?)\nendstream", pdf, re.DOTALL)]
    start, end = max(streams, key=lambda span: span[1] - span[0])
    at = start + int(share * (end - start - 1))
    assert verdict(pdf[:at] + pdf[min(end, at + size) :]) in DAMAGE


@settings(max_examples=examples(300), deadline=None)
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


@settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(sorted(MANGLED)),
    edits=st.lists(
        st.tuples(
            st.floats(0, 1, exclude_max=True),
            st.integers(0, 12),
            st.one_of(
                st.binary(max_size=8),
                st.sampled_from(
                    [b"<<", b">>", b"[", b"(", b"stream\n", b" 0 R", b"endobj", b"xref", b"9999999999", b"/"]
                ),
            ),
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_whatever_comes_gets_a_verdict(name: str, edits: list[tuple[float, int, bytes]]) -> None:
    """However a PDF is mangled, the check ends with facts or a verdict and never with an error of its own."""
    pdf = MANGLED[name]
    for share, length, text in edits:
        at = int(share * len(pdf))
        pdf = pdf[:at] + text + pdf[at + length :]
    verdict(pdf)


WORDS = [
    *b"<< >> [ ] ( ) < > / % obj endobj stream\n endstream xref\n trailer startxref %%EOF null true -1 0 .5 1e9".split(
        b" "
    ),
    *b"/Length /Filter /FlateDecode /DCTDecode /LZWDecode /JBIG2Decode /Type /ObjStm /XRef /Metadata /Kids".split(),
    *b"/Count /Prev /W /Index /N /First /DecodeParms /Columns /Encrypt /OpenAction /AA /S /JavaScript /Names".split(),
    *b"/Contents /Pages /Root /Size /Collection #4a".split(),
    *[b" 0 R", b"1 0 R", b"10 0 R", b"/Predictor 12", b"\r", b"\n", bytes(200)],
]
NUMBERS = [0, 1, -1, 2, 5, 10, 255, 65_536, 2**31, 2**63, 10**19, 10**30]


def mutated(pdf: bytes, chance: random.Random) -> bytes:
    """Return the PDF with a few changes of the kinds that parsers stumble over, inside its streams, too."""
    body = bytearray(pdf)
    for _ in range(chance.choice((1, 1, 2, 3, 5, 10))):
        at = chance.randrange(len(body) + 1)
        match chance.randrange(7):
            case 0:
                body[at : at + chance.randrange(20)] = chance.choice(WORDS)
            case 1:
                del body[at : at + chance.choice((1, 2, 10, 100, 1000))]
            case 2:
                body[at : at + 1] = chance.randbytes(1)
            case 3:
                other = chance.randrange(len(body) + 1)
                body[at:at] = body[other : other + chance.choice((5, 50, 500))]
            case 4:
                change_one(body, rb"\d+", lambda _: b"%d" % chance.choice(NUMBERS), chance)
            case 5:
                change_one(body, rb"/[A-Za-z]+", lambda _: chance.choice([w for w in WORDS if w[:1] == b"/"]), chance)
            case _:
                change_one(
                    body, rb"/Length \d+[^\0]{0,99}?stream\r?\n.*?endstream", lambda old: rewritten(old, chance), chance
                )
    return bytes(body) or b"%PDF-1.4"


def change_one(body: bytearray, pattern: bytes, change: Callable[[bytes], bytes], chance: random.Random) -> None:
    """Change one of the places where a pattern is found, whichever."""
    found = list(re.finditer(pattern, body, re.DOTALL))
    if found:
        match = chance.choice(found)
        body[match.start() : match.end()] = change(match[0])


def rewritten(old: bytes, chance: random.Random) -> bytes:
    """Return a Flate stream (from its length on) with changes in what it says, compressed again."""
    head, _, rest = old.partition(b"stream")
    try:
        text = bytearray(zlib.decompress(rest.strip().removesuffix(b"endstream")))
    except zlib.error:
        return old
    for _ in range(3):
        at = chance.randrange(len(text) + 1)
        text[at : chance.randrange(at, len(text) + 1)] = chance.choice(WORDS)
    data = zlib.compress(bytes(text))
    return re.sub(rb"/Length \d+", b"/Length %d" % len(data), head) + b"stream\n" + data + b"\nendstream"


@settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(sorted(MANGLED)), seed=st.integers(0, 2**64))
def test_whatever_a_mutation_makes_gets_a_verdict(name: str, seed: int) -> None:
    """Words, names, numbers and streams put where they do not belong end with facts or a verdict, too."""
    verdict(mutated(MANGLED[name], random.Random(seed)))


def test_generator_without_checksums_is_forgiven() -> None:
    """Where every stream's checksum is wrong, it is the generator's habit; where one is, it is damage."""

    def without(data: bytes) -> bytes:
        body = zlib.compress(data)[:-4] + b"\0\0\0\0"
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
        assert jpeg(picture, 0, len(picture)) is None


def test_damaged_jpeg_is_caught() -> None:
    """A JPEG without its end, with a stray marker, or with a hole in its codes is damaged."""
    picture = a_jpeg((ALL, CODES))
    middle = len(picture) // 2
    stray = picture[:middle] + b"\xff\x01" + picture[middle:]
    hole = picture[:middle] + bytes(4096) + picture[middle + 4096 :]
    for damaged in (picture[:-2], picture[:middle], stray, hole, b"\xff\xd8\xff\xd9", b"GIF89a" + bytes(90)):
        assert jpeg(damaged, 0, len(damaged)) is not None


def test_white_area_of_a_jpeg_is_no_hole() -> None:
    """Where the tables give an unchanged block a code of zero bits, as many zeros as there are blocks are right."""
    white = a_jpeg((ALL, CODES[:900] + bytes(2400) + CODES[:900]), table=FLAT)
    assert jpeg(white, 0, len(white)) is None
    too_much = a_jpeg((ALL, CODES[:900] + bytes(2600) + CODES[:900]), table=FLAT)
    assert jpeg(too_much, 0, len(too_much)) == "has a hole"


def test_progressive_jpeg_without_one_of_its_scans_is_caught() -> None:
    """A hole that swallowed a whole scan shows in the one that should refine it; one in a scan's codes shows itself."""
    lacking = a_jpeg((DC, CODES), (b"\x01\x3f\x02", CODES), (b"\x01\x3f\x10", CODES), progressive=True)
    assert jpeg(lacking, 0, len(lacking)) == "lacks a scan"
    hole = a_jpeg((DC, CODES), (AC, CODES[:500] + bytes(400) + CODES), progressive=True)
    assert jpeg(hole, 0, len(hole)) == "has a hole"


@pytest.mark.parametrize(
    ("codes", "trouble"),
    [
        (bytes(1250), None),
        (bytes(600) + b"\xaa" * 10 + bytes(650), "has a hole"),
        (bytes(600) + b"\xaa" * 10 + bytes(645), None),
        (bytes(1249), "has a hole"),
        (bytes(1251), "has a hole"),
    ],
)
def test_even_picture_has_as_many_codes_as_blocks(codes: bytes, trouble: str | None) -> None:
    """A progressive scan of zeros is whole if it holds exactly one difference for each block."""
    picture = a_jpeg((DC, codes), progressive=True, table=FLAT)
    assert jpeg(picture, 0, len(picture)) == trouble


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"<< /A 1 /B [1 0 R 2.5 -3 (a\\(b\\)\\101\\n) <48 69 7>] /C#20D true >>", None),
        (b"% comment\n 42", 42),
        (b"/Name", Name("Name")),
        (b"null", None),
        (b"12 0 R", Ref(12, 0)),
        (b"((nested) \\\nline)", b"(nested) line"),
    ],
)
def test_parsing_values(text: bytes, value: object) -> None:
    """Values are read as ISO 32000-1 has them."""
    found, _ = parse(text)
    if text.startswith(b"<<"):
        assert found == {"A": 1, "B": [Ref(1, 0), 2.5, -3, b"a(b)A\n", b"Hip"], "C D": True}
    else:
        assert found == value


@pytest.mark.parametrize("text", [b"", b"<<", b"<< /A >>", b"<< 1 2 >>", b"[ 1 >>", b"]", b"word", b"(open", b"<</A 1"])
def test_parsing_refuses_what_is_no_value(text: bytes) -> None:
    """What is unbalanced, unfinished or no value is told as such."""
    with pytest.raises(Malformed):
        parse(text)


@settings(max_examples=examples(200), deadline=None)
@given(text=st.binary(max_size=200))
def test_tokens_and_values_agree(text: bytes) -> None:
    """What parses as a value without a word of its own consists of right tokens all the way."""
    try:
        value, end = parse(text)
    except Malformed:
        return
    if not isinstance(value, bytes):
        assert tokens_end(text, 0) >= end or b"<" in text
