"""Which PDFs of which generators the check takes: each with logos, attachments, passwords, an update.

    python tests/bench/generators.py --cache FOLDER [NAME ...] [--keep FOLDER] [--json FILE]

Installs what is missing into FOLDER, by the package managers' own clients and without changing the system: Debian's
packages are unpacked there, those of npm, pip and Maven get folders of their own. A generator whose program is not on
the machine (java, node, php, ruby, a compiler) or whose packages cannot be had is named as skipped. What each makes is
a program in `generators/`; here is only which there are. The files of `user password` are to be refused, all others to
be taken; beside our verdict are those of the others, as in `damage.py`.
"""

import argparse
import io
import json
import logging
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

import pypdf
from damage import Ours, the_others
from PIL import Image

SOURCES: Final = Path(__file__).with_name("generators")
_FEW: Final = ((200, 30, 30), (20, 90, 160), (60, 60, 60))
"""Colours of a logo: a palette has more entries than are used."""


class Generator(NamedTuple):
    """A generator: the program that it runs by, its packages, and the command that makes the files.

    `packages` are for one manager ("deb", "npm", "pip", "mvn"). The command runs in a folder with `logos` and
    `attachments` and writes into `out`; {cache} is the cache, {source} the folder of the programs, {jars} a class path.
    """

    needs: str
    packages: str
    command: str


_JARS: Final = "java -cp '{jars}'"
_LIBRARY: Final = "'{cache}/pip/bin/python' '{source}/python_libraries.py'"
_PHP: Final = "php -d memory_limit=1G -d include_path='{cache}/deb/usr/share/php:/usr/share/php'"
GENERATORS: Final = {
    "iText 2": Generator(
        "javac", "deb libitext-java libbcprov-java libbcmail-java", f"{_JARS} '{{source}}/itext.java'"
    ),
    "iText 5": Generator(
        "javac",
        "deb libitext5-java libbcprov-java libbcpkix-java libbcutil-java",
        f"sed s/com.lowagie/com.itextpdf/ '{{source}}/itext.java' > Make.java && {_JARS} Make.java",
    ),
    "OpenPDF": Generator("javac mvn", "mvn com.github.librepdf:openpdf:1.3.43", f"{_JARS} '{{source}}/itext.java'"),
    "PDFBox": Generator(
        "javac",
        "deb libpdfbox2-java libfontbox2-java libcommons-logging-java libbcprov-java libbcpkix-java",
        f"{_JARS} '{{source}}/pdfbox.java'",
    ),
    "FOP": Generator("fop", "", "cp '{source}/invoice.fo' . && fop -q invoice.fo out/plain.pdf"),
    "jsPDF": Generator("node npm", "npm jspdf", "node '{source}/jspdf.mjs' '{cache}/npm'"),
    "pdf-lib": Generator("node npm", "npm pdf-lib", "node '{source}/pdf-lib.mjs' '{cache}/npm'"),
    "PDFKit": Generator("node npm", "npm pdfkit", "node '{source}/pdfkit.mjs' '{cache}/npm'"),
    "libharu": Generator(
        "cc",
        "deb libhpdf-dev libhpdf-2.3.0",
        "lib=$(dirname $(find '{cache}/deb' -name libhpdf.so)) && LD_LIBRARY_PATH=$lib && export LD_LIBRARY_PATH &&"
        " cc -w -I'{cache}/deb/usr/include' '{source}/libharu.c' -o make $lib/libhpdf.so && ./make",
    ),
    "FPDF": Generator("php", "deb php-fpdf", f"{_PHP} '{{source}}/fpdf.php'"),
    "TCPDF": Generator("php", "deb php-tcpdf", f"{_PHP} '{{source}}/tcpdf.php'"),
    "dompdf": Generator(
        "php",
        "deb php-dompdf php-dompdf-svg-lib php-font-lib php-masterminds-html5 php-horde-css-parser",
        f"{_PHP} '{{source}}/dompdf.php'",
    ),
    "Prawn": Generator(
        "ruby",
        "deb ruby-prawn ruby-pdf-core ruby-ttfunk",
        "ruby -I'{cache}/deb/usr/share/rubygems-integration/all' -I'{cache}/deb/usr/lib/ruby/vendor_ruby'"
        " '{source}/prawn.rb'",
    ),
    "fpdf2": Generator("", "pip fpdf2 cryptography", f"{_LIBRARY} fpdf2"),
    "reportlab": Generator("", "pip reportlab", f"{_LIBRARY} reportlab"),
    "WeasyPrint": Generator("", "pip weasyprint", f"{_LIBRARY} weasyprint"),
    "xhtml2pdf": Generator("", "pip xhtml2pdf", f"{_LIBRARY} xhtml2pdf"),
    "borb": Generator("", "pip borb", f"{_LIBRARY} borb"),
    "pyHanko": Generator("", "pip reportlab pyhanko", f"{_LIBRARY} pyhanko"),
    "LibreOffice": Generator(
        "soffice",
        "",
        "soffice --headless --convert-to pdf --outdir out '{source}/invoice.html' -env:UserInstallation=file://$PWD",
    ),
    "Chromium": Generator(
        "chromium", "", "chromium --headless --no-sandbox --print-to-pdf=out/plain.pdf '{source}/invoice.html'"
    ),
}
"""The generators, by name."""
CHANGES: Final = {
    # what other programs make of a generator's first file: the program, and its command
    "qpdf, linearised": ("qpdf", "qpdf --linearize in.pdf out.pdf"),
    "qpdf, object streams": ("qpdf", "qpdf --object-streams=generate in.pdf out.pdf"),
    "qpdf, owner password": ("qpdf", "qpdf --encrypt '' o 256 -- in.pdf out.pdf"),
    "qpdf, user password, no owner's": ("qpdf", "qpdf --encrypt u '' 256 --allow-insecure -- in.pdf out.pdf"),
    "pdftk": ("pdftk", "pdftk in.pdf output out.pdf"),
    "pdftk, user password": ("pdftk", "pdftk in.pdf output out.pdf encrypt_aes128 user_pw u"),
    "Ghostscript": ("gs", "gs -q -dBATCH -dNOPAUSE -sDEVICE=pdfwrite -o out.pdf in.pdf"),
    "MuPDF": ("mutool", "mutool clean -gggg in.pdf out.pdf"),
}


def write_inputs(folder: Path) -> None:
    """Write logos and attachments: palettes that are larger than what is used, dark pictures, zeros, 8-bit XML."""
    logos, attachments = folder / "logos", folder / "attachments"
    for made in (logos, attachments, folder / "out"):
        made.mkdir()
    for size in (4, 32, 64, 128, 256):
        logo = Image.new("P", (120, 40))
        logo.putpalette([value for colour in _FEW for value in colour] + [0] * (3 * (size - len(_FEW))))
        logo.putdata([(x // 9 + y // 7) % len(_FEW) for y in range(40) for x in range(120)])
        logo.save(logos / f"logo_{size}.gif", optimize=False)
        logo.save(logos / f"logo_{size}.png", bits={4: 2, 32: 8}.get(size, 8))
    for mode, bright in (("L", 120), ("RGB", (65, 69, 120)), ("RGBA", (65, 69, 120, 90))):
        dark = Image.new(mode, (300, 90))
        dark.paste(bright, (200, 60, 280, 80))
        dark.save(logos / f"dark_{mode}.png")
    for encoding in ("UTF-8", "ISO-8859-1", "windows-1252"):
        xml = f'<?xml version="1.0" encoding="{encoding}"?>\n<Invoice><Name>Müller § Söhne</Name></Invoice>'
        (attachments / f"{encoding}.xml").write_bytes(xml.encode(encoding))
    field = b"NAME".ljust(11, b"\0") + b"C" + bytes(4) + b"\xc8" + bytes(15)
    head = b"\x03\x7c\x05\x05" + struct.pack("<IHH", 9, 65, 201) + bytes(20)
    (attachments / "KUNDEN.DBF").write_bytes(head + field + b"\r" + (b" " + b"Meyer".ljust(200, b"\0")) * 9)
    (attachments / "satz.txt").write_bytes(b"Satz; 19,90; Teekanne".ljust(300, b"\0") * 12)


def install(packages: str, cache: Path) -> None:
    """Install packages ("deb a b", "npm a", "pip a", "mvn group:name:version") under the cache, once."""
    manager, *names = packages.split() or [""]
    folder = cache / manager
    missing = [name for name in names if not (folder / f".has-{re.sub(r'[^a-z0-9.-]', '-', name)}").exists()]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    commands = {
        "deb": "apt-get download {} && for file in *.deb; do dpkg-deb -x $file . && rm $file; done",
        "npm": "npm install --no-audit --no-fund --prefix . {}",
        "pip": f"[ -x bin/python ] || '{sys.executable}' -m venv . ; bin/python -m pip install {{}}",
        "mvn": "for name in {}; do mvn -q dependency:copy -Dartifact=$name -DoutputDirectory=.; done",
    }
    _run(commands[manager].format(" ".join(missing)), folder)
    for name in missing:
        (folder / f".has-{re.sub(r'[^a-z0-9.-]', '-', name)}").touch()


def made_by(generator: Generator, cache: Path) -> dict[str, bytes]:
    """Return what a generator makes, and what other programs make of its first file."""
    for program in generator.needs.split():
        if not shutil.which(program):
            raise FileNotFoundError(f"no {program} here")
    install(generator.packages, cache)
    manager = generator.packages.partition(" ")[0]
    # Not the same library in two versions on one class path: what was asked for stands first.
    jars = sorted(map(str, (cache / manager).rglob("*.jar"))) if manager in {"deb", "mvn"} else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder)
        _run(generator.command.format(cache=cache, source=SOURCES, jars=":".join(jars)), folder)
        files = {path.stem: path.read_bytes() for path in sorted((folder / "out").iterdir())}
        if not files:
            raise RuntimeError("it made nothing")
        first = files.get("plain") or next(iter(files.values()))
        (folder / "in.pdf").write_bytes(first)
        for change, (program, command) in CHANGES.items():
            if shutil.which(program):
                _run(command, folder)
                files[change] = (folder / "out.pdf").read_bytes()
        files["pypdf, updated"] = _updated(first)
        files["padded, then updated"] = _updated(first + bytes(3000))
    return files


def _updated(pdf: bytes) -> bytes:
    writer = pypdf.PdfWriter(io.BytesIO(pdf), incremental=True)
    writer.add_attachment("note.txt", b"note")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _run(command: str, folder: Path) -> None:
    process = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, timeout=600, check=False)
    if process.returncode:
        lines = (process.stderr or process.stdout).decode(errors="replace").strip().splitlines() or ["no output"]
        raise RuntimeError(f"exit code {process.returncode}: {lines[-1][:100]}")


def table(verdicts: dict[str, dict[str, dict[str, str]]], checks: list[str]) -> str:
    """Return the verdicts as a table in Markdown: a line for each generator, then one for each file that is wrong."""
    lines = [f"| generator | files | {' | '.join(checks)} |", "| --- " * (len(checks) + 2) + "|"]
    wrong = []
    for generator, files in verdicts.items():
        right = []
        for check in checks:
            good = [name for name, found in files.items() if is_right(name, found[check])]
            right.append(f"{len(good)}")
        lines.append(f"| {generator} | {len(files)} | {' | '.join(right)} |")
        wrong += [
            f"| {generator} | {name} | {' | '.join(found[check] for check in checks)} |"
            for name, found in files.items()
            if not is_right(name, found[checks[0]])
        ]
    if wrong:
        lines += ["", "Wrong:", "", f"| generator | file | {' | '.join(checks)} |", "| --- " * (len(checks) + 2) + "|"]
    return "\n".join(lines + wrong)


def is_right(name: str, found: str) -> bool:
    """Whether a verdict is the one for a file of this name."""
    return found.startswith("refused" if "user password" in name else "taken")


def main() -> None:
    """Install, make, check, print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("name", nargs="*", help="generators (default: all)")
    arguments.add_argument("--cache", type=Path, required=True, help="a folder to install them in")
    arguments.add_argument("--keep", type=Path, help="write the files that they make there, too")
    arguments.add_argument("--json", type=Path, help="write the verdicts there, too")
    options = arguments.parse_args()
    cache = options.cache.resolve()
    logging.disable(logging.CRITICAL)
    ours = Ours()
    others = the_others()
    verdicts: dict[str, dict[str, dict[str, str]]] = {}
    for name in options.name or GENERATORS:
        try:
            files = made_by(GENERATORS[name], cache)
        except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
            print(f"{name}: skipped ({error})", flush=True)
            continue
        print(f"{name}: {len(files)} files", flush=True)
        verdicts[name] = {}
        for file, pdf in files.items():
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / f"{name} {file}.pdf").write_bytes(pdf)
            words = {check: "taken" if accepts(pdf) else "refused" for check, accepts in others.items()}
            refusal = ours.refusal(pdf)
            verdicts[name][file] = {"ours": f"refused: {refusal}" if refusal else "taken"} | words
    ours.validator.close()
    print(table(verdicts, ["ours", *others]))
    if options.json:
        options.json.write_text(json.dumps(verdicts, indent=1))


if __name__ == "__main__":
    main()
