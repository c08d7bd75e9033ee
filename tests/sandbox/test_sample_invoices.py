"""Sample e-invoices: what the page says stands in the XML, too."""

import io
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree as ET

import pypdf
import pytest

from invoicedrop.sandbox.einvoice import CORRECTION, CREDIT_NOTE, FILE_NAME, INVOICE, e_invoice_pdf
from invoicedrop.sandbox.paper import Line

RAM = "{urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100}"
LINES = [Line("Lamp & shade <oak>", 2, 1999), Line("Mug", 3, 405)]


def _read(pdf: bytes) -> tuple[str, ET.Element]:
    reader = pypdf.PdfReader(io.BytesIO(pdf), strict=True)
    (xml,) = reader.attachments[FILE_NAME]
    root = reader.trailer["/Root"]
    assert root["/AF"][0]["/AFRelationship"] == "/Alternative"
    assert b"EN 16931" in root["/Metadata"].get_data()
    return reader.pages[0].extract_text(), ET.fromstring(xml)


def _texts(document: ET.Element, name: str) -> list[str]:
    return [element.text or "" for element in document.iter(RAM + name)]


@pytest.mark.parametrize(
    ("type_code", "title"), [(INVOICE, "Invoice"), (CREDIT_NOTE, "Credit note"), (CORRECTION, "Corrected invoice")]
)
def test_an_e_invoice_says_what_it_is_in_words_and_in_its_xml(type_code: str, title: str) -> None:
    """The type code, the order's number, the lines and the totals of the XML are those of the page."""
    pdf = e_invoice_pdf("302-1234567-0008355", type_code=type_code, lines=LINES)
    assert pdf == e_invoice_pdf("302-1234567-0008355", type_code=type_code, lines=LINES)
    page, document = _read(pdf)
    assert f"{title} number: INV-302-1234567-0008355" in page
    assert _texts(document, "TypeCode")[0] == type_code
    assert _texts(document, "IssuerAssignedID") == ["302-1234567-0008355"]
    assert _texts(document, "Name")[:2] == [line.text for line in LINES]
    net, vat = Decimal("52.13"), Decimal("10.95")
    assert [Decimal(text) for text in _texts(document, "LineTotalAmount")] == [Decimal("39.98"), Decimal("12.15"), net]
    assert _texts(document, "TaxTotalAmount") == [str(vat)]
    assert _texts(document, "GrandTotalAmount") == _texts(document, "DuePayableAmount") == [str(net + vat)]
    assert str(net + vat) in page


def test_a_correction_can_come_to_less_than_nothing() -> None:
    """Lines with a negative price give negative totals on the page and in the XML, whose prices stay positive."""
    page, document = _read(e_invoice_pdf("7", type_code=CORRECTION, lines=[Line("Taken back", 1, -1000)]))
    assert _texts(document, "GrandTotalAmount") == ["-12.10"]
    assert (_texts(document, "ChargeAmount"), _texts(document, "BilledQuantity")) == (["10.00"], ["-1"])
    assert "-12.10" in page


@pytest.mark.skipif(shutil.which("qpdf") is None, reason="qpdf is not installed")
def test_another_reader_finds_nothing_wrong(tmp_path: Path) -> None:
    """Qpdf reads a sample e-invoice without a warning."""
    file = tmp_path / "invoice.pdf"
    file.write_bytes(e_invoice_pdf("8355", type_code=CREDIT_NOTE))
    done = subprocess.run(["qpdf", "--check", str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
