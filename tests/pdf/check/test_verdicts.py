"""What passes the check and what does not, and what is said about a good invoice."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fpdf
import pytest
from checking import facts, verdict

import pdfs
from invoicedrop.pdf.check.verdict import PdfFacts, Refused

REAL = sorted((Path(__file__).parents[4] / "shared" / "invoices").glob("*.pdf"))


@pytest.mark.parametrize(("name", "pdf"), [pytest.param(n, p, id=n) for n, p in pdfs.careless().items()])
def test_careless_generators_pass(name: str, pdf: bytes) -> None:
    """What every viewer opens all the same is no reason to refuse an invoice."""
    assert facts(pdf).pages == 1, name


@pytest.mark.parametrize("made", pdfs.ALL)
def test_each_gets_its_reason(made: Callable[[], dict[str, tuple[bytes, str]]]) -> None:
    """Hostile files, files that act, and files that are no invoices are each rejected for the right reason."""
    files = made()
    # With a sixteenth of the usual limit, a bomb is recognised as one sixteen times sooner.
    verdicts = {name: verdict(pdf, most_expanded=2**26) for name, (pdf, _) in files.items()}
    assert verdicts == {name: why for name, (_, why) in files.items()}


@pytest.mark.skipif(not REAL, reason="the real invoices are not on this machine")
def test_real_invoices_pass() -> None:
    """Every real invoice passes, and carries the e-invoice that its name says."""
    kinds = {"ZUGFeRDv1": ("ZUGFeRD 1",), "XML-Rechnung_FX_EN": ("Factur-X",), "XML-Rechnung_FX_X": ("XRechnung",)}
    for path in REAL:
        invoice = facts(path.read_bytes())
        assert invoice.pages in range(1, 4)
        for prefix, kind in kinds.items():
            if path.name.startswith(prefix):
                assert invoice.einvoice in kind, path.name


def test_facts_of_an_einvoice() -> None:
    """Pages, version, producer, PDF/A and the kind of e-invoice are read from the file."""
    assert facts(pdfs.factur_x()) == PdfFacts(
        pages=1, version="1.7", producer="Test (1)", pdfa="3B", einvoice="Factur-X", order_number_found=None
    )


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
    assert facts(pdfs.factur_x(guideline=guideline)).einvoice == kind


def test_version_of_the_catalog_counts_if_newer() -> None:
    """An update may raise the version in the catalog; a lower one there means nothing."""
    assert facts(pdfs.build(pdfs.objects(catalog=b"/Version /1.7"), version=b"1.4")).version == "1.7"
    assert facts(pdfs.build(pdfs.objects(catalog=b"/Version /1.4"), version=b"1.6")).version == "1.6"


def test_too_many_pages() -> None:
    """The limit of pages itself passes, one more does not."""
    assert facts(pdfs.invoice(pages=3), max_pages=3).pages == 3
    with pytest.raises(Refused, match="too_many_pages"):
        facts(pdfs.invoice(pages=4), max_pages=3)


@pytest.mark.parametrize(
    ("text", "number", "occurs"),
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
def test_order_number_in_the_text(text: str, number: str, occurs: object) -> None:
    """An order number counts where it stands alone in a page's text, whatever the case and the hyphenation."""
    assert facts(pdfs.invoice(text), expect=("0815-4711-0815", number)).order_number_found is occurs


def test_order_number_in_the_einvoice() -> None:
    """The e-invoice's order reference counts; another number in it, an amount for instance, does not."""
    assert facts(pdfs.factur_x("PO-99"), expect=("PO-99",)).order_number_found is True
    assert facts(pdfs.factur_x("PO-99"), expect=("8355",)).order_number_found is False


def test_password() -> None:
    """A PDF that needs a password is refused, one that only restricts printing is not."""
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


@pytest.mark.parametrize("earlier", [True, False])
def test_no_program_is_started_or_missed(tmp_path: Path, *, earlier: bool) -> None:
    """The check neither starts jbig2dec, which pypdf would, nor fails if it is installed or removed meanwhile."""
    started = tmp_path / "started"
    program = tmp_path / "jbig2dec"
    program.write_text(f"#!/bin/sh\ntouch {started}\n")
    program.chmod(0o755)
    answers = [str(program), ""] if earlier else ["", str(program)]
    command = [sys.executable, Path(__file__).with_name("installed_meanwhile.py"), *answers]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["ok", "damaged"]), done.stderr
    assert not started.exists()
