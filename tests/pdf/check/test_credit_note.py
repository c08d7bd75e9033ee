"""Which e-invoices are credit notes, and which only look like it."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from checking import examples, facts
from hypothesis import given, settings
from hypothesis import strategies as st

import pdfs
from invoicedrop.sandbox.einvoice import CORRECTION, CREDIT_NOTE, INVOICE, e_invoice_pdf, e_invoice_xml
from invoicedrop.sandbox.paper import Line

REAL = sorted((Path(__file__).parents[4] / "shared" / "invoices").glob("*.pdf"))
# EN 16931 code lists of the CEF, v15, sheet 1001: the codes that are interpreted as an invoice, those as a credit note.
INVOICES = tuple(
    map(
        str,
        (
            71,
            80,
            82,
            84,
            102,
            130,
            202,
            203,
            204,
            211,
            218,
            219,
            295,
            325,
            326,
            331,
            380,
            382,
            383,
            384,
            385,
            386,
            387,
            388,
            389,
            390,
            393,
            394,
            395,
            456,
            457,
            471,
            472,
            473,
            500,
            501,
            527,
            553,
            575,
            623,
            633,
            751,
            780,
            817,
            870,
            875,
            876,
            877,
            935,
        ),
    )
)
CREDIT_NOTES = tuple(map(str, (81, 83, 261, 262, 296, 308, 381, 396, 420, 458, 502, 503, 532)))
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'


def _with_files(*files: tuple[str, bytes]) -> bytes:
    """Return an invoice with files attached, and metadata."""
    names = b" ".join(b"(%b) %d 0 R" % (name.encode(), 30 + n) for n, (name, _) in enumerate(files))
    more = {20: pdfs.stream(XMP, b"/Type /Metadata /Subtype /XML", compress=False)}
    for n, (name, content) in enumerate(files):
        file = b"<< /Type /Filespec /F (%b) /UF (%b) /EF << /F %d 0 R >> >>" % (name.encode(), name.encode(), 50 + n)
        more |= {30 + n: file, 50 + n: pdfs.stream(content, b"/Type /EmbeddedFile /Subtype /text#2Fxml")}
    catalog = b"/Metadata 20 0 R /Names << /EmbeddedFiles << /Names [%b] >> >>" % names
    return pdfs.build(pdfs.objects(catalog=catalog, more=more))


def _verdict(*contents: bytes) -> str | None:
    """Return the verdict on an invoice with these XML files, the first of them under the standard's name."""
    names = ("factur-x.xml", *(f"other-{n}.xml" for n in range(1, len(contents))))
    return facts(_with_files(*zip(names, contents, strict=True))).credit_note


def _cii(type_code: str = INVOICE, total: str | None = None, lines: Sequence[Line] = (Line("Mug", 1, 1000),)) -> bytes:
    xml = e_invoice_xml("5", type_code=type_code, lines=lines)
    return (
        xml
        if total is None
        else xml.replace(b"<ram:GrandTotalAmount>12.10<", b"<ram:GrandTotalAmount>%b<" % total.encode())
    )


def _zugferd_1(type_code: str, total: str) -> bytes:
    """Return what of a ZUGFeRD 1 invoice matters, its line behind its totals, with that standard's default prefix."""
    return f"""<CrossIndustryDocument xmlns="urn:ferd:CrossIndustryDocument:invoice:1p0"
xmlns:r="urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:12">
<HeaderExchangedDocument><r:TypeCode>{type_code}</r:TypeCode></HeaderExchangedDocument>
<SpecifiedSupplyChainTradeTransaction><r:ApplicableSupplyChainTradeSettlement>
<r:SpecifiedTradeSettlementMonetarySummation><r:GrandTotalAmount currencyID="EUR">{total}</r:GrandTotalAmount>
</r:SpecifiedTradeSettlementMonetarySummation></r:ApplicableSupplyChainTradeSettlement>
<r:IncludedSupplyChainTradeLineItem><r:TypeCode>381</r:TypeCode></r:IncludedSupplyChainTradeLineItem>
</SpecifiedSupplyChainTradeTransaction></CrossIndustryDocument>""".encode()


def _ubl(
    root: str = "Invoice", type_code: str = "380", amounts: str = "<b:TaxInclusiveAmount>9</b:TaxInclusiveAmount>"
) -> bytes:
    code = f"<b:{root}TypeCode>{type_code}</b:{root}TypeCode>" if type_code else ""
    return f"""<?xml version="1.0"?><x:{root} xmlns:x="urn:oasis:names:specification:ubl:schema:xsd:{root}-2"
xmlns:b="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"
xmlns:a="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2">
<b:ID>5</b:ID>{code}
<a:BillingReference><a:InvoiceDocumentReference><b:DocumentTypeCode>381</b:DocumentTypeCode>
</a:InvoiceDocumentReference></a:BillingReference>
<a:LegalMonetaryTotal>{amounts}</a:LegalMonetaryTotal></x:{root}>""".encode()


@pytest.mark.parametrize("code", CREDIT_NOTES)
def test_codes_of_credit_notes(code: str) -> None:
    """What the code list calls a credit note is one, whatever its total is, in each syntax."""
    words = f"type code {code}"
    assert _verdict(_cii(code)) == words
    assert _verdict(_cii(code, "-12.10")) == words
    assert _verdict(_zugferd_1(code, "5")) == words
    assert _verdict(_ubl(type_code=code)) == words
    assert _verdict(_ubl("CreditNote", code)) == words


@pytest.mark.parametrize("code", INVOICES)
def test_codes_of_invoices(code: str) -> None:
    """What the code list calls an invoice, the buyer's own (389) too, is one unless its total is less than nothing."""
    assert _verdict(_cii(code)) is None
    assert _verdict(_zugferd_1(code, "5")) is None
    assert _verdict(_ubl(type_code=code)) is None
    words = f"type code {code} with a total of -12.10"
    assert _verdict(_cii(code, "-12.10")) == words
    assert _verdict(_zugferd_1(code, "-12.10")) == words
    assert _verdict(_ubl(type_code=code, amounts="<b:TaxInclusiveAmount>-12.10</b:TaxInclusiveAmount>")) == words


@pytest.mark.parametrize(
    ("total", "words"),
    [
        ("0.00", None),
        ("-0.00", None),
        ("-0", None),
        ("\n -12.00 \n", "-12.00"),
        ("-.5", "-.5"),
        ("-1,234.00", "-1,234.00"),
        ("-1.234,00", "-1.234,00"),
        ("-1 234,00", "-1 234,00"),
        ("\u2212" + "12.00", "-12.00"),
        ("12.00-", "-12.00"),
        ("1,234.00", None),
        ("--12", None),
        ("-12-", None),
        ("12-13", None),
        ("-", None),
        ("", None),
        ("-INF", None),
        ("-1E2", None),
        ("-<ram:Amount>12</ram:Amount>", None),
        ("-<!-- in between -->12", "-12"),
        ("<![CDATA[-12]]>", "-12"),
        ("&#45;12", "-12"),
        ("-12</ram:GrandTotalAmount><ram:GrandTotalAmount currencyID='USD'>-13", "-12"),
        ("12</ram:GrandTotalAmount><ram:GrandTotalAmount currencyID='USD'>-13", None),
    ],
)
def test_sign_of_the_total(total: str, words: str | None) -> None:
    """Only a total that is certainly less than nothing makes a credit note of a correction."""
    expected = None if words is None else f"type code 384 with a total of {words}"
    assert _verdict(_cii(CORRECTION, total)) == expected


@pytest.mark.parametrize(
    ("amounts", "words"),
    [
        ("<b:TaxInclusiveAmount>9</b:TaxInclusiveAmount><b:PayableAmount>-3</b:PayableAmount>", None),
        ("<b:PayableAmount>-3</b:PayableAmount>", "type code 380 with a total of -3"),
        (
            "<b:PrepaidAmount>0.0</b:PrepaidAmount><b:PayableAmount>-3</b:PayableAmount>",
            "type code 380 with a total of -3",
        ),
        ("<b:PrepaidAmount>12</b:PrepaidAmount><b:PayableAmount>-3</b:PayableAmount>", None),
        ("<b:PayableRoundingAmount>-3</b:PayableRoundingAmount><b:PayableAmount>-3</b:PayableAmount>", None),
        ("<b:PayableAmount>3</b:PayableAmount>", None),
        ("<b:LineExtensionAmount>-3</b:LineExtensionAmount>", None),
    ],
)
def test_what_is_left_to_pay(amounts: str, words: str | None) -> None:
    """An invoice on which too much was paid in advance is no credit note, although there is money to come back."""
    assert _verdict(_ubl(amounts=amounts)) == words


def test_root_of_a_credit_note() -> None:
    """UBL's CreditNote is one by its root, without a type code or with any."""
    assert _verdict(_ubl("CreditNote", "")) == "it is a UBL CreditNote"
    assert _verdict(_ubl("CreditNote", "380")) == "it is a UBL CreditNote"


def test_type_codes_of_others() -> None:
    """The type code of a line, a tax, a referenced document or a foreign namespace is not the document's."""
    referenced = b"<ram:InvoiceReferencedDocument><ram:TypeCode>381</ram:TypeCode></ram:InvoiceReferencedDocument>"
    xml = _cii().replace(b"<ram:TypeCode>VAT<", b"<ram:TypeCode>381<")
    xml = xml.replace(b"<ram:InvoiceCurrencyCode>", referenced + b"<ram:InvoiceCurrencyCode>")
    foreign = b'<f:TypeCode xmlns:f="urn:f">381</f:TypeCode><ram:Note><ram:TypeCode>381</ram:TypeCode></ram:Note>'
    assert _verdict(xml.replace(b"</rsm:ExchangedDocument>", foreign + b"</rsm:ExchangedDocument>")) is None
    assert _verdict(_cii("381", "5").replace(b"CrossIndustryInvoice:100", b"SomethingElse:100")) is None
    assert _verdict(_ubl().replace(b"TaxInclusiveAmount>9", b"TaxExclusiveAmount>-9")) is None


def test_prefixes_mean_nothing() -> None:
    """Namespaces count by their address, whatever their prefixes are."""
    xml = _cii(CREDIT_NOTE).replace(b"rsm", b"@").replace(b"ram", b"rsm").replace(b"@", b"ram")
    assert _verdict(xml) == "type code 381"
    assert (
        _verdict(_ubl("CreditNote").replace(b"x:CreditNote", b"CreditNote").replace(b"xmlns:x=", b"xmlns=")) is not None
    )


def test_contradictions() -> None:
    """Two different type codes are none; the total still counts."""
    twice = b"<ram:TypeCode>380</ram:TypeCode><ram:TypeCode>381</ram:TypeCode>"
    assert _verdict(_cii().replace(b"<ram:TypeCode>380</ram:TypeCode>", twice)) is None
    assert _verdict(_cii("380", "-1").replace(b"<ram:TypeCode>380</ram:TypeCode>", twice)) == "a total of -1"
    assert _verdict(_cii().replace(b"<ram:TypeCode>380</ram:TypeCode>", b"")) is None
    assert _verdict(_cii("381 or 380")) is None


@pytest.mark.parametrize("declared", ["utf-8", "utf-16", "iso-8859-1", "windows-1252", "no-such-encoding", "us-ascii"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "iso-8859-1", "cp1252"])
def test_encodings(encoding: str, declared: str) -> None:
    """An e-invoice is read in the encoding that it has, whatever it declares."""
    text = _cii(CORRECTION, "-12.10").decode().replace("UTF-8", declared).replace("Example Shop", "Größe")
    assert _verdict(text.encode(encoding)) == "type code 384 with a total of -12.10"


def test_doctype_is_not_read() -> None:
    """An e-invoice with a DOCTYPE says nothing, even where its entities mean nothing."""
    for doctype in (
        b"<!DOCTYPE x>",
        b'<!DOCTYPE x [<!ENTITY code "381">]>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd">',
    ):
        assert (
            _verdict(_cii(CREDIT_NOTE).replace(b"<rsm:CrossIndustryInvoice", doctype + b"<rsm:CrossIndustryInvoice", 1))
            is None
        )


def test_broken_xml() -> None:
    """Of an e-invoice that breaks off counts what was read whole: the verdict is right, or there is none."""
    xml = _cii(CORRECTION, "-12.10")
    words = "type code 384 with a total of -12.10"
    read = xml.index(b"</ram:GrandTotalAmount>") + len(b"</ram:GrandTotalAmount>")
    for length in range(len(xml) - 400, len(xml)):
        assert _verdict(xml[:length]) == (words if length >= read else None)
    whole = _cii(CREDIT_NOTE)
    code = whole.index(b"381</ram:TypeCode>")
    assert _verdict(whole[: code + 2]) is None
    assert _verdict(whole[: code + 30]) == "type code 381"
    assert _verdict(whole.replace(b"<ram:SellerTradeParty>", b"<ram:SellerTradeParty & >")) == "type code 381"


def test_several_attachments() -> None:
    """Other XML is no e-invoice; of e-invoices that disagree counts the one with the standard's name, or none."""
    note, order = _cii(CREDIT_NOTE), b'<Order xmlns="urn:x"><TypeCode>381</TypeCode></Order>'
    assert _verdict(_cii(), order) is None
    assert _verdict(note, order) == "type code 381"
    assert _verdict(_cii(), note) is None
    assert _verdict(note, _cii()) == "type code 381"
    assert _verdict(note, _ubl("CreditNote")) == "type code 381"
    assert facts(_with_files(("a.xml", note), ("b.xml", _cii()))).credit_note is None
    assert facts(_with_files(("a.xml", _cii()), ("ZUGFeRD-invoice.xml", note))).credit_note == "type code 381"
    assert facts(_with_files(("factur-x.xml", _cii()), ("xrechnung.xml", note))).credit_note is None
    assert facts(_with_files(("invoice.xml", note))).credit_note == "type code 381"


def test_samples() -> None:
    """The sandbox's samples are told apart: invoice, credit note, corrections upwards, to nothing and downwards."""
    assert facts(e_invoice_pdf("5")).credit_note is None
    assert facts(e_invoice_pdf("5", type_code=CREDIT_NOTE)).credit_note == "type code 381"
    for cents, words in ((1000, None), (0, None), (-1000, "type code 384 with a total of -12.10")):
        lines = [Line("Enamel mug", 1, cents)]
        assert facts(e_invoice_pdf("5", type_code=CORRECTION, lines=lines)).credit_note == words
    assert facts(pdfs.invoice()).credit_note is None


@pytest.mark.skipif(not REAL, reason="the real invoices are not on this machine")
def test_real_invoices_are_invoices() -> None:
    """None of the real invoices is a credit note: not the self-billed one, nor those with a payment in advance."""
    assert {path.name: facts(path.read_bytes()).credit_note for path in REAL} == {path.name: None for path in REAL}


@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_any_xml_has_a_verdict(data: st.DataObject) -> None:
    """Whatever is done to an e-invoice's bytes, its check ends in a verdict of a few plain words, or none."""
    xml = bytearray(
        data.draw(st.sampled_from([_cii(CREDIT_NOTE), _cii(CORRECTION, "-1"), _ubl(), _zugferd_1("380", "1")]))
    )
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(xml)))
        piece = st.one_of(
            st.binary(max_size=6), st.sampled_from([b"<", b"</", b"<!DOCTYPE", b"&x;", b"]]>", b"\0", b"<a>" * 999])
        )
        xml[at : at + data.draw(st.integers(0, 9))] = data.draw(piece)
    words = _verdict(b"<" + bytes(xml)[1:])
    # This word has it parsed in any case.
    assert _verdict(b"<" + bytes(xml)[1:] + b"<!-- CreditNote -->") == words
    assert words is None or (words.isascii() and words.isprintable() and len(words) < 80)
