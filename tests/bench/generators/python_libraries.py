"""fpdf2, reportlab, WeasyPrint, borb, xhtml2pdf, pyHanko: `python python_libraries.py NAME` in the folder of inputs."""

import itertools
import sys
from pathlib import Path

LINES = [f"Position {n}: article {n * 37}, 3 pieces" for n in range(50)]
LOGOS, FILES = sorted(Path("logos").iterdir()), sorted(Path("attachments").iterdir())
PAGE = "<h1>Rechnung 8355</h1>%s" + "".join(f"<p>{line}</p>" for line in LINES)


def fpdf2() -> None:
    """Write fpdf2's."""
    import fpdf
    from fpdf.enums import EncryptionMethod as Method

    def make(name: str, *, logo: Path | None = None, file: Path | None = None, compress: bool = True, **lock) -> None:
        document = fpdf.FPDF()
        document.set_compression(compress)
        document.add_page()
        document.set_font("helvetica", size=10)
        for line in LINES:
            document.cell(text=line, new_x="LMARGIN", new_y="NEXT")
        if logo:
            document.image(logo, x=120, y=10)
        if file:
            document.embed_file(file, compress=compress)
        if lock:
            document.set_encryption(**lock)
        document.output(f"out/{name}.pdf")

    make("plain")
    for compress in (True, False):
        how = "" if compress else " uncompressed"
        for logo in LOGOS:
            make(logo.name + how, logo=logo, compress=compress)
        for file in FILES:
            make(f"with {file.name}{how}", file=file, compress=compress)
    for method in (Method.RC4, Method.AES_128, Method.AES_256):
        make(f"owner password {method.name}", owner_password="o", encryption_method=method)
        make(f"user password {method.name}", owner_password="o", user_password="u", encryption_method=method)


def reportlab() -> None:
    """Write reportlab's."""
    from reportlab.lib.pdfencrypt import StandardEncryption
    from reportlab.pdfgen.canvas import Canvas

    def make(name: str, logo: Path | None = None, **options) -> None:
        canvas = Canvas(f"out/{name}.pdf", **options)
        for n, line in enumerate(LINES):
            canvas.drawString(50, 800 - 14 * n, line)
        if logo:
            canvas.drawImage(str(logo), 300, 600)
            canvas.drawInlineImage(str(logo), 300, 500)
        canvas.save()

    for compression, how in ((1, ""), (0, " uncompressed")):
        make("plain" + how, pageCompression=compression)
        for logo in LOGOS:
            make(logo.name + how, logo, pageCompression=compression)
    for strength in (40, 128):
        for user, name in (("", "owner password"), ("u", "user password")):
            lock = StandardEncryption(user, "o" if not user else None, canPrint=0, strength=strength)
            make(f"{name} {strength}", encrypt=lock)


def weasyprint() -> None:
    """Write WeasyPrint's."""
    from weasyprint import HTML, Attachment

    def make(name: str, html: str = "", **options) -> None:
        HTML(string=PAGE % html, base_url=".").write_pdf(f"out/{name}.pdf", **options)

    make("plain")
    make("uncompressed", uncompressed_pdf=True)
    for logo in LOGOS:
        make(logo.name, f'<img src="{logo}">')
    for file, raw in itertools.product(FILES, (False, True)):
        name = f"with {file.name}{' uncompressed' if raw else ''}"
        make(name, attachments=[Attachment(filename=file)], uncompressed_pdf=raw)


def xhtml2pdf() -> None:
    """Write xhtml2pdf's."""
    from xhtml2pdf import pisa

    def make(name: str, html: str = "", **options) -> None:
        with Path(f"out/{name}.pdf").open("wb") as out:
            pisa.CreatePDF(PAGE % html, dest=out, **options)

    make("plain")
    for logo in LOGOS:
        make(logo.name, f'<img src="{logo}">')


def borb() -> None:
    """Write borb's."""
    from borb.pdf import PDF, Document, Image, Page, Paragraph, SingleColumnLayout

    def make(name: str, logo: Path | None = None) -> None:
        document, page = Document(), Page()
        document.append_page(page)
        layout = SingleColumnLayout(page)
        if logo:
            layout.append_layout_element(Image(logo, size=(128, 64)))
        for line in LINES[:20]:
            layout.append_layout_element(Paragraph(line))
        PDF.write(what=document, where_to=f"out/{name}.pdf")

    make("plain")
    for logo in LOGOS:
        make(logo.name, logo)


def pyhanko() -> None:
    """Sign an invoice of reportlab's with a certificate of our own."""
    from datetime import UTC, datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign import signers

    reportlab()
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Bench")])
    day = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(day).not_valid_after(day.replace(year=2036))
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    Path("key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    Path("cert.pem").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(pem))
    signer = signers.SimpleSigner.load("key.pem", "cert.pem")
    meta = signers.PdfSignatureMetadata(field_name="Signature1")
    for file in Path("out").glob("[!p]*"):
        file.unlink()
    with Path("out/plain.pdf").open("rb") as source, Path("out/signed.pdf").open("wb") as out:
        signers.sign_pdf(IncrementalPdfFileWriter(source), meta, signer=signer, output=out)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
