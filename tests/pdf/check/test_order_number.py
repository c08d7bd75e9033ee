"""Where a number in an invoice is its order's number, and where it stands by chance: text read from real PDFs."""

from pathlib import Path

import fpdf
import pytest
from checking import examples, facts
from hypothesis import given, settings
from hypothesis import strategies as st

import pdfs
from foreign_text import TRICKS
from invoicedrop.pdf.check.order_words import beside_order_word
from invoicedrop.sandbox.einvoice import e_invoice_pdf, e_invoice_xml
from invoicedrop.sandbox.paper import invoice_pdf, plausible_lines

REAL = sorted((Path(__file__).parents[4] / "shared" / "invoices").glob("*.pdf"))


def _found(pdf: bytes, *numbers: str) -> bool | None:
    return facts(pdf, expect=numbers).order_number_found


def _placed(*texts: tuple[int, int, str], one_object: bool = False) -> bytes:
    """Return an invoice with texts at places of its page, each in a text object of its own or all in one."""
    font = pdfs.FONT.replace(b">>", b"/Encoding /WinAnsiEncoding >>")
    shown = [
        b"1 0 0 1 %d %d Tm <%b> Tj" % (x, y, text.encode("cp1252", "replace").hex().encode()) for x, y, text in texts
    ]
    content = b" ".join(shown if one_object else [b"ET BT /F1 12 Tf " + text for text in shown])
    content = b"BT /F1 12 Tf " + content + b" ET"
    return pdfs.build(pdfs.objects(more={3: font, 4: pdfs.stream(content)}))


def _line(text: str) -> bytes:
    """Return an invoice with one line of text."""
    return _placed((72, 720, text))


def _table(*rows: tuple[str, ...]) -> bytes:
    """Return an invoice with a table, as an ordinary generator makes it."""
    document = fpdf.FPDF()
    document.add_page()
    document.set_font("helvetica", size=10)
    with document.table() as table:
        for cells in rows:
            row = table.row()
            for cell in cells:
                row.cell(cell)
    return bytes(document.output())


def _with_xml(xml: bytes) -> bytes:
    return pdfs.build(pdfs.objects("No text", more={20: pdfs.stream(xml, b"/Type /EmbeddedFile /Subtype /text#2Fxml")}))


@pytest.mark.parametrize(
    "label",
    [
        "Order",
        "ORDER NO.",
        "Order no:",
        "Order Number",
        "Order #",
        "Order-ID:",
        "order id =",
        "Your order:",
        "Purchase order",
        "PO number",
        "P.O. No.",
        "Bestellung",
        "Bestellnummer:",
        "Bestell-Nr.",
        "Bestell-Nr.:",
        "BestellNr",
        "Ihre Bestellnummer",
        "Kundenbestellnummer",
        "Auftrag",
        "Auftragsnummer",
        "Auftrags-Nr.",
        "Auftragsnr.:",
        "Auftrag Nr.",
        "commande",
        "Commande n\xb0",
        "N\xb0 de commande :",
        "Num\xe9ro de votre commande",
        "R\xe9f. commande",
        "ordernummer",
        "Ordernr.",
        "bestelnummer:",
        "Bestelnr",
        "Bestelling",
        "Pedido n.\xba",
        "N\xfamero de pedido",
        "N\xba pedido",
        "Ordine",
        "Numero d'ordine:",
        "Ordine n.",
        "Encomenda n\xba",
        "Zam\xf3wienie nr",
        "Numer zam\xf3wienia:",
        "C\xedslo objedn\xe1vky",
        "Objedn\xe1vka:",
        "Rendel\xe9s",
        "Rendel\xe9ssz\xe1m:",
        "Rendel\xe9si sz\xe1m",
        "Best\xe4llningsnummer",
        "Ordrenummer:",
        "Bestilling nr.",
        "Tilausnumero",
    ],
)
def test_beside_a_word(label: str) -> None:
    """A short number counts right behind a word for an order, and below it; behind another number it does not."""
    assert _found(_line(f"Invoice 1000, {label} 8355 of 2026-11-25"), "8355") is True
    assert _found(_placed((72, 720, label), (300, 720, "8355")), "8355") is True
    assert _found(_placed((72, 720, label), (72, 700, "8355"), one_object=True), "8355") is True
    assert _found(_table((label, "Total"), ("8355", "12.00")), "8355") is _is_named(label)
    assert _found(_line(f"Invoice 1000, {label} 4711, 8355"), "8355") is False
    assert _found(_line(f"Invoice 1000, {label} 98355"), "8355") is False


def _is_named(label: str) -> bool:
    """Whether a label is one for the order's number, and not for an order (which may be its date, or its total)."""
    bare = ("order", "your order:", "purchase order", "bestellung", "auftrag", "commande", "bestelling", "ordine")
    return label.casefold() not in (*bare, "objedn\xe1vka:", "rendel\xe9s")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Invoice 8355", "8355"),
        ("Total 5 EUR", "5"),
        ("Order number: 4711, 5 pieces", "5"),
        ("Order date: 5 November 2026", "5"),
        ("Order date 5.11.2026", "5"),
        ("Order 5.11.2026", "5"),
        ("Order of 5.11.2026", "11"),
        ("Order: 5. November 2026", "5"),
        ("Your order 5 de noviembre de 2026", "5"),
        ("Rechnung gem\xe4\xdf Bestellung vom 01.03.2018.", "2018"),
        ("Order total: 12.50", "12"),
        ("Order total: 12", "12"),
        ("Order 12.50", "12"),
        ("Order 12.50", "50"),
        ("Order value 8355", "8355"),
        ("Please order 5 items", "5"),
        ("Order 5 pcs", "5"),
        ("Bestellmenge 5", "5"),
        ("Bestelldatum: 25", "25"),
        ("Bestellung 5 St\xfcck", "5"),
        ("ordered 5", "5"),
        ("Recorder 5", "5"),
        ("Border no 5", "5"),
        ("Preorder bonus 5", "5"),
        ("Order number PO-99", "99"),
        ("Order 302-1234567-8355", "8355"),
        ("Order 8355-2", "8355"),
        ("Thank you for your order. 5 Mugs", "5"),
        ("8355 Musterstadt, order number 1", "8355"),
        ("A7", "A7"),
    ],
)
def test_by_chance(text: str, number: str) -> None:
    """A short number in a date, an amount, a quantity or another number is not the order's, whatever stands beside."""
    assert _found(_line(text), number) is False


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Invoice 835512", "835512"),
        ("Ref 302-1234567-1234567", "302-1234567-1234567"),
        ("AB12345", "AB12345"),
        ("12 November, Order 5, 17 items", "5"),
        ("Order (8355) of 25.11.2026", "8355"),
        ("Order 8355 from 2026-11-25", "8355"),
        ("Order 5, 25.11.2026", "5"),
        ("Order #1001", "#1001"),
        ("Order no. A7", "A7"),
        ("Bestellung\u00a0Nr.\u00a05.", "5"),
        ("Order 8355.", "8355"),
        ("5 mugs for 5 EUR, order 5", "5"),
    ],
)
def test_not_by_chance(text: str, number: str) -> None:
    """A long number counts wherever it stands, a short one behind its word, also if it stands elsewhere by chance."""
    assert _found(_line(text), number) is True


def test_cells_of_tables() -> None:
    """Below a heading counts the number of its own column, where that is certain."""
    assert _found(_table(("Bestellnummer", "Kundennummer", "Datum"), ("8355", "10023", "25.11.2026")), "8355") is True
    assert _found(_table(("Bestellnummer", "Kundennummer", "Datum"), ("8355", "10023", "25.11.2026")), "10023") is False
    assert _found(_table(("Rechnungsnummer", "Bestellnummer"), ("8355", "4711")), "8355") is False
    assert _found(_table(("Artikel", "Bestellnummer"), ("5 Becher", "4711")), "5") is False
    assert _found(_table(("Order", "Quantity"), ("Enamel mug", "5")), "5") is False
    stacked = ((72, 720, "Rechnungsnummer"), (72, 700, "Bestellnummer"), (72, 680, "8355"), (72, 660, "4711"))
    assert _found(_placed(*stacked), "8355") is False
    assert _found(_placed((72, 720, "M\xfcnchen"), (72, 700, "Bestellnummer"), (72, 680, "8355")), "8355") is True
    assert _found(_placed((72, 720, "Thank you for your order"), (72, 700, "5")), "5") is False
    assert _found(_placed((72, 720, "Your order"), (72, 700, "5 Mugs")), "5") is False
    assert _found(_placed((72, 720, "Order"), (72, 700, "No."), (72, 680, "8355")), "8355") is True


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.soak)])
def test_samples(step: int) -> None:
    """The sandbox's invoices have their own number, and by chance no other, whatever amounts stand in them."""
    for number in range(1, 30, step):
        pdf = invoice_pdf(str(number))
        assert [other for other in range(1, 60) if _found(pdf, str(other))] == [number]
    assert _found(e_invoice_pdf("5"), "5") is True
    assert _found(e_invoice_pdf("5"), "1") is False


def test_fields_of_the_einvoice() -> None:
    """A field of the e-invoice for the order's number counts; a date, a line, another document do not."""
    xml = e_invoice_xml("8355", type_code="380", lines=plausible_lines("8355"))
    assert _found(_with_xml(xml), "8355") is True
    assert _found(_with_xml(xml), "1") is False
    for content, found in (
        ("8355", True),
        ("Order 8355", True),
        ("#8355", True),
        ("X-8355", False),
        ("8355 / 2", False),
    ):
        named = xml.replace(b"<ram:IssuerAssignedID>8355<", b"<ram:IssuerAssignedID>%b<" % content.encode())
        assert _found(_with_xml(named), "8355") is found, content
    for element, found in (("Contract", False), ("Additional", False), ("SellerOrder", True), ("Invoice", False)):
        other = xml.replace(b"BuyerOrderReferencedDocument", element.encode() + b"ReferencedDocument")
        assert _found(_with_xml(other), "8355") is found, element
    dated = b"<ram:LineID>7</ram:LineID><ram:IssueDateTime>2026-11-25</ram:IssueDateTime></ram:BuyerOrder"
    assert _found(_with_xml(xml.replace(b"</ram:BuyerOrder", dated)), "7") is False
    assert _found(_with_xml(xml.replace(b"</ram:BuyerOrder", dated)), "2026") is False


@pytest.mark.parametrize(
    ("inside", "found"),
    [
        ("<c:OrderReference><b:ID>8355</b:ID></c:OrderReference>", True),
        ("<c:OrderReference><b:ID>1</b:ID><b:SalesOrderID>8355</b:SalesOrderID></c:OrderReference>", True),
        ("<b:BuyerReference>8355</b:BuyerReference>", True),
        ("<b:BuyerReference>04011000-12345-8355</b:BuyerReference>", False),
        ("<b:Note>Your order no. 8355 of 25.11.2026</b:Note>", True),
        ("<b:Note>8355 bonus points</b:Note>", False),
        ("<c:OrderLineReference><b:LineID>8355</b:LineID></c:OrderLineReference>", False),
        ("<b:ID>8355</b:ID>", False),
    ],
)
def test_fields_of_ubl(inside: str, found: object) -> None:
    """UBL's order references count, a note by the words in it."""
    xml = f'<Invoice xmlns="urn:i" xmlns:b="urn:b" xmlns:c="urn:c">{inside}</Invoice>'.encode()
    assert _found(_with_xml(xml), "8355") is found


@pytest.mark.skipif(not REAL, reason="the real invoices are not on this machine")
@pytest.mark.parametrize("step", [37, pytest.param(1, marks=pytest.mark.soak)])
def test_real_invoices(step: int) -> None:
    """In the real invoices their orders' numbers are found, and no number below 5,000 by chance."""
    numbers = {"Teilrechnung": "2018-471331", "Fremdwaehrung": "ORDER84359", "MINIMUM.pdf": "PO445"}
    numbers |= {"20201121": "AB321", "additional": "B123456789"}
    found = {}
    for path in REAL:
        for part, number in numbers.items():
            if part in path.name and "zugferd_2p0_MINIMUM" not in path.name:
                found[part] = _found(path.read_bytes(), number)
        assert _found(path.read_bytes(), *map(str, range(1, 5000, step))) is False, path.name
    assert found == dict.fromkeys(numbers, True)


@settings(max_examples=examples(100), deadline=None)
@given(st.one_of(st.text(), TRICKS), TRICKS, st.sampled_from(["Order no. ", "Bestell-Nr.\n", "", "\n"]))
def test_any_text_is_read(number: str, text: str, label: str) -> None:
    """Whatever a number and the text around it are, the search ends in an answer."""
    text = f"{text}{label}{number}{text}"
    assert beside_order_word(text, len(text) // 3, len(text) // 2) in {True, False}
    xml = f"<?xml?><Invoice><Note>{text}</Note></Invoice>".encode("utf-8", "surrogatepass")
    assert _found(_with_xml(xml), number, "8355") in {True, False, None}
    assert _found(_line(text), number, "8355") in {True, False}
