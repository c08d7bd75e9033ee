"""How much damage is noticed, and how fast: our validator beside pypdf (lenient and strict) and `qpdf --check`.

    python tests/bench/damage.py [--rounds 20] [--seed 1] [--json FILE]

The shared cases (`../shared/cases/pdf` beside the project, where it is) have rows of their own, by kind: the share that
got its verdict, to be taken or to be refused.

Measured on real invoices (the folder in INVOICEDROP_BENCH_INVOICES, else `../shared/invoices` beside the project, else
none) and on PDFs that generators make here: those of the extra `bench`, and the programs that are installed. qpdf is
left out where it is not. "Accepted undamaged" should be 100%, all else is what was caught.
"""

import argparse
import io
import json
import logging
import os
import platform
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from importlib import metadata
from pathlib import Path

import psutil
import pypdf

from invoicedrop.errors import Rejected
from invoicedrop.pdf.validator import Validator

sys.path.insert(0, str(Path(__file__).parents[1]))
import pdfs

ROOT = Path(__file__).parents[2]
Damage = Callable[[bytes, random.Random], bytes]


def truncated(pdf: bytes, chance: random.Random) -> bytes:
    """Cut off anywhere."""
    return pdf[: chance.randrange(1, len(pdf))]


def without_tail(pdf: bytes, chance: random.Random) -> bytes:
    """Without the last 8 to 600 bytes."""
    return pdf[: -chance.randint(8, min(600, len(pdf) - 1))]


def zeros_from_second_third(pdf: bytes, _chance: random.Random) -> bytes:
    """Zeros from the second third on."""
    return pdf[: len(pdf) // 3] + bytes(len(pdf) - len(pdf) // 3)


def zero_second_third(pdf: bytes, _chance: random.Random) -> bytes:
    """Zeros in the second third."""
    third = len(pdf) // 3
    return pdf[:third] + bytes(third) + pdf[2 * third :]


def hole(size: int, step: int) -> Damage:
    """Return the damage of a hole of zeros that begins at a multiple of `step`."""

    def damage(pdf: bytes, chance: random.Random) -> bytes:
        if len(pdf) <= size:
            return pdf
        at = chance.randrange(len(pdf) - size) // step * step
        return pdf[:at] + bytes(size) + pdf[at + size :]

    return damage


def missing(pdf: bytes, chance: random.Random) -> bytes:
    """512 bytes missing from inside."""
    at = chance.randrange(max(1, len(pdf) - 512))
    return pdf[:at] + pdf[at + 512 :]


def to_crlf(pdf: bytes, _chance: random.Random) -> bytes:
    """Every LF made CR LF."""
    return re.sub(rb"(?<!\r)\n", b"\r\n", pdf)


def to_lf(pdf: bytes, _chance: random.Random) -> bytes:
    """Every CR LF made LF."""
    return pdf.replace(b"\r\n", b"\n")


def inverted(pdf: bytes, chance: random.Random) -> bytes:
    """One byte inverted."""
    at = chance.randrange(len(pdf))
    return pdf[:at] + bytes([pdf[at] ^ 255]) + pdf[at + 1 :]


KINDS: dict[str, tuple[Damage, float, float]] = {
    # name: damage, how many rounds of it, percent that should be caught
    "truncated anywhere": (truncated, 1, 99.5),
    "last 8 to 600 bytes missing": (without_tail, 1, 100),
    "zeros from the second third on": (zeros_from_second_third, 0, 100),
    "zeros in the second third": (zero_second_third, 0, 100),
    "hole of 64 KiB": (hole(65_536, 1), 1, 99),
    "hole of 64 KiB, whole pages": (hole(65_536, 4096), 1, 99),
    "hole of 4 KiB": (hole(4096, 1), 1, 98),
    "hole of 4 KiB, whole page": (hole(4096, 4096), 1, 98),
    "512 bytes missing inside": (missing, 1, 0),
    "LF to CR LF": (to_crlf, 0, 100),
    "CR LF to LF": (to_lf, 0, 100),
    "one byte inverted": (inverted, 2, 75),
}


def real_invoices() -> dict[str, bytes]:
    """Return the real invoices, where there are any."""
    folder = Path(os.environ.get("INVOICEDROP_BENCH_INVOICES", ROOT.parent / "shared" / "invoices"))
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.pdf"))}


LINES = [f"Position {n}: article {n * 37 % 1000}, {n % 7 + 1} pieces, {n * 3.17:.2f} EUR" for n in range(150)]
HTML = "<meta charset=utf-8><h1>Rechnung 8355</h1><p>" + "<p>".join(LINES)


def by_reportlab() -> bytes:
    """Return an invoice of reportlab's."""
    from reportlab.pdfgen.canvas import Canvas  # noqa: PLC0415 - only where it is installed

    out = io.BytesIO()
    canvas = Canvas(out, pageCompression=1)
    for n, line in enumerate(LINES):
        if n % 50 == 0 and n:
            canvas.showPage()
        canvas.drawString(50, 800 - n % 50 * 14, line)
    canvas.save()
    return out.getvalue()


def by_weasyprint() -> bytes:
    """Return an invoice of WeasyPrint's."""
    from weasyprint import HTML as Page  # noqa: N811, PLC0415 - only where it is installed

    return bytes(Page(string=HTML).write_pdf())


def by_matplotlib() -> bytes:
    """Return a page of matplotlib's, a chart of the prices."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only where it is installed

    out = io.BytesIO()
    figure = Figure()
    figure.subplots().plot([n * 3.17 for n in range(150)])
    figure.savefig(out, format="pdf")
    return out.getvalue()


LIBRARIES: dict[str, Callable[[], bytes]] = {
    "reportlab": by_reportlab,
    "weasyprint": by_weasyprint,
    "matplotlib": by_matplotlib,
}
PROGRAMS = {
    # name: what makes invoice.pdf of invoice.html, invoice.tex or invoice.ms
    "LibreOffice": "soffice --headless --convert-to pdf invoice.html",
    "LibreOffice, PDF/A-3": "soffice --headless --convert-to "
    """'pdf:writer_web_pdf_Export:{"SelectPdfVersion":{"type":"long","value":"3"}}' invoice.html""",
    "wkhtmltopdf": "wkhtmltopdf -q invoice.html invoice.pdf",
    "Chromium": "chromium --headless --no-sandbox --print-to-pdf=invoice.pdf invoice.html",
    "pdfTeX": "pdflatex -interaction=batchmode invoice.tex",
    "groff": "groff -k -ms -T pdf invoice.ms > invoice.pdf",
    "Ghostscript": "groff -k -ms -T ps invoice.ms | gs -q -dBATCH -dNOPAUSE -sDEVICE=pdfwrite -o invoice.pdf -",
    "Cairo": "groff -k -ms -T pdf invoice.ms > in.pdf && pdftocairo -pdf in.pdf invoice.pdf",
    "qpdf, object streams": "wkhtmltopdf -q invoice.html in.pdf && "
    "qpdf --object-streams=generate --linearize in.pdf invoice.pdf",
}


def generated() -> dict[str, bytes]:
    """Return what the installed generators make of one invoice."""
    files = {"fpdf2": pdfs.fpdf2(lines=200), "fpdf2, restricted": pdfs.fpdf2(lines=200, restricted=True)}
    files["by hand, object streams"] = pdfs.compressed(pdfs.objects(padding=60_000))
    for library, make in LIBRARIES.items():
        with suppress(ImportError):
            files[library] = make()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "invoice.html").write_text(HTML)
        (folder / "invoice.ms").write_text(".LP\n" + "\n.LP\n".join(LINES) + "\n")
        tex = "\n\n".join(LINES)
        (folder / "invoice.tex").write_text(f"\\documentclass{{article}}\\begin{{document}}{tex}\\end{{document}}")
        environment = os.environ | {"QT_QPA_PLATFORM": "offscreen", "HOME": name}
        for program, command in PROGRAMS.items():
            made = folder / "invoice.pdf"
            made.unlink(missing_ok=True)
            with suppress(subprocess.SubprocessError):
                subprocess.run(
                    ["sh", "-c", command], cwd=name, env=environment, capture_output=True, timeout=120, check=True
                )
                files[program] = made.read_bytes()
    return files


VERSIONS = {
    "qpdf": "qpdf --version",
    "LibreOffice": "soffice --version",
    "wkhtmltopdf": "wkhtmltopdf --version",
    "Chromium": "chromium --version",
    "pdfTeX": "pdflatex --version",
    "groff": "groff --version",
    "Ghostscript": "gs --version",
    "pdftocairo": "pdftocairo -v",
}


def versions() -> str:
    """Return with what this is measured, and when."""
    parts = [f"{date.today():%-d %B %Y}", f"{os.cpu_count()} cores", f"Python {platform.python_version()}"]  # noqa: DTZ011 - a day
    for library in ("pypdf", "fpdf2", *LIBRARIES):
        with suppress(metadata.PackageNotFoundError):
            parts.append(f"{library} {metadata.version(library)}")
    for program, command in VERSIONS.items():
        if shutil.which(command.split()[0]):
            done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
            number = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
            parts.append(f"{program} {number[0] if number else '?'}")
    return ", ".join(parts)


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Raise TimeoutError if it takes longer; what the peers need for some files."""

    def ring(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def by_pypdf(*, strict: bool) -> Callable[[bytes], bool]:
    """Return a check as most programs do it: open, count the pages."""

    def accepts(pdf: bytes) -> bool:
        try:
            with at_most(20):
                return len(pypdf.PdfReader(io.BytesIO(pdf), strict=strict).pages) > 0
        except Exception:  # noqa: BLE001 - whatever it raises, it does not accept the file
            return False

    return accepts


def by_qpdf(pdf: bytes) -> bool:
    """Whether `qpdf --check` has nothing against a file (exit code 0: neither errors nor warnings)."""
    with tempfile.NamedTemporaryFile(suffix=".pdf") as file:
        file.write(pdf)
        file.flush()
        return subprocess.run(["qpdf", "--check", file.name], capture_output=True, check=False).returncode == 0


def the_others() -> dict[str, Callable[[bytes], bool]]:
    """Return the other checks that can be had here, by name."""
    checks = {"pypdf, lenient": by_pypdf(strict=False), "pypdf, strict": by_pypdf(strict=True)}
    return checks | {"qpdf --check": by_qpdf} if shutil.which("qpdf") else checks


class Ours:
    """Our validator, with the time of each check in milliseconds."""

    def __init__(self) -> None:
        self.validator = Validator(timeout=20, memory_mb=1024)
        self.times: list[float] = []

    def __call__(self, pdf: bytes) -> bool:
        """Whether we accept a file."""
        return self.refusal(pdf) is None

    def refusal(self, pdf: bytes) -> str | None:
        """Return reason and detail if we refuse a file."""
        fd = os.memfd_create("invoice")
        try:
            os.write(fd, pdf)
            started = time.perf_counter()
            try:
                self.validator.check(fd, len(pdf))
            except Rejected as rejected:
                return str(rejected)
            else:
                return None
            finally:
                self.times.append((time.perf_counter() - started) * 1000)
        finally:
            os.close(fd)


Counts = dict[str, dict[str, list[int]]]


def measure(files: dict[str, bytes], checks: dict[str, Callable[[bytes], bool]], rounds: int, seed: int) -> Counts:
    """Return, by damage and check, how many were caught and how many there were."""
    counts: Counts = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for name, pdf in files.items():
        for check, accepts in checks.items():
            good = counts["accepted undamaged"][check]
            good[0] += accepts(pdf)
            good[1] += 1
        for kind, (damage, weight, _) in KINDS.items():
            chance = random.Random(f"{seed} {name} {kind}")
            for _ in range(max(1, int(rounds * weight))):
                damaged = damage(pdf, chance)
                if damaged == pdf:
                    continue
                for check, accepts in checks.items():
                    count = counts[kind][check]
                    count[0] += not accepts(damaged)
                    count[1] += 1
    return counts


def judged_cases(checks: dict[str, Callable[[bytes], bool]]) -> Counts:
    """Return, by kind of the shared cases and check, how many got their verdict (taken or refused) and how many are."""
    counts: Counts = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    folder = ROOT.parent / "shared" / "cases" / "pdf"
    rows = (folder / "expected.tsv").read_text().splitlines() if folder.is_dir() else []
    for name, expected, kind, _ in sorted((row.split("\t") for row in rows), key=lambda row: (row[1] != "ok", row[2])):
        pdf, good = (folder / name).read_bytes(), expected == "ok"
        for check, accepts in checks.items():
            count = counts[f"{'take' if good else 'refuse'}: {kind}"][check]
            count[0] += accepts(pdf) == good
            count[1] += 1
    return counts


def table(title: str, counts: Counts, checks: list[str]) -> str:
    """Return the counts as a table in Markdown."""
    targets = {kind: f"{target:g}%" if target else "" for kind, (_, _, target) in KINDS.items()}
    lines = [f"| {title} | number | target | {' | '.join(checks)} |", "| --- " * (len(checks) + 3) + "|"]
    for kind in dict.fromkeys(("accepted undamaged", *KINDS, *counts)):
        caught = counts.get(kind)
        if caught is None:
            continue
        shares = [f"{100 * caught[check][0] / caught[check][1]:.2f}%" for check in checks]
        lines.append(f"| {kind} | {caught[checks[0]][1]} | {targets.get(kind, '100%')} | {' | '.join(shares)} |")
    return "\n".join(lines)


def speed(ours: Ours, files: dict[str, bytes]) -> dict[str, float]:
    """Return how long undamaged files take, one after the other, and how large a checking process is then.

    What else the machine does (`load`: how many want a core, on average) matters less to the best of each file's ten
    times, and to the processor time of the checking process for each file.
    """
    for pdf in files.values():
        ours(pdf)
    ours.times.clear()
    before = _processor_seconds()
    for _ in range(10):
        for pdf in files.values():
            ours(pdf)
    best = sorted(min(ours.times[n :: len(files)]) for n in range(len(files)))
    times = sorted(ours.times)
    used = _processor_seconds() - before
    resident = [child.memory_info().rss for child in psutil.Process().children()]
    return {
        "median_ms": round(statistics.median(times), 2),
        "p95_ms": round(times[int(len(times) * 0.95)], 2),
        "max_ms": round(times[-1], 2),
        "best_median_ms": round(statistics.median(best), 2),
        "best_p95_ms": round(best[int(len(best) * 0.95)], 2),
        "processor_ms": round(1000 * used / len(times), 2),
        "mean_kb": round(statistics.mean(map(len, files.values())) / 1000),
        "child_rss_mb": round(max(resident) / 2**20, 1),
        "load": round(os.getloadavg()[0], 1),
    }


def _processor_seconds() -> float:
    """Return the processor time of all checking processes, those that have ended included."""
    ours = psutil.Process()
    return sum(ours.cpu_times()[2:4]) + sum(sum(child.cpu_times()[:4]) for child in ours.children(recursive=True))


def main() -> None:
    """Measure, and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=20, help="damaged copies of each file, for each kind")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--json", type=Path, help="write the figures there, too")
    arguments.add_argument("--only-ours", action="store_true", help="leave out the others, which take their time")
    wanted = arguments.parse_args()
    logging.disable(logging.CRITICAL)
    print(versions(), "\n")
    ours = Ours()
    checks: dict[str, Callable[[bytes], bool]] = {"ours": ours}
    if not wanted.only_ours:
        checks |= the_others()
    result: dict[str, object] = {}
    for title, files in {"real invoices": real_invoices(), "generated": generated()}.items():
        if not files:
            print(f"{title}: none here\n")
            continue
        print(f"{title}: {len(files)} files: {', '.join(files) if title == 'generated' else ''}")
        times = speed(ours, files)
        counts = measure(files, checks, wanted.rounds, wanted.seed)
        print(table(title, counts, list(checks)), f"\n\n{times}\n", flush=True)
        result[title] = {"speed": times, "caught": counts}
    cases = judged_cases(checks)
    if cases:
        print(table("shared cases", cases, list(checks)), "\n")
        result["shared cases"] = cases
    ours.validator.close()
    if wanted.json is not None:
        wanted.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
