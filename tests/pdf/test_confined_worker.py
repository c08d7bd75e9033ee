"""The checking process is confined: what a file that takes it over gets, and that honest files notice nothing."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import fpdf
import pytest
from fpdf.enums import EncryptionMethod

import forbidden
import pdfs
from invoicedrop.system.confinement import offered

HERE = Path(__file__).parent
SHARED = Path(__file__).parents[3] / "shared"
WITHOUT = (str(HERE.parent / "without_confinement.py"), "both", "ENOSYS")
"""Runs a program where the kernel offers neither Landlock nor seccomp."""
CONFINED = pytest.mark.skipif(
    not (offered().landlock and offered().seccomp), reason="the kernel does not offer Landlock and seccomp"
)


def ask(*arguments: str, confined: bool, current: Path = HERE) -> dict[str, str]:
    """Have PDFs checked by real processes; return the outcomes. `current` is on the module path, as by `python -m`."""
    done = subprocess.run(
        [sys.executable, *(() if confined else (*WITHOUT, sys.executable)), str(HERE / "ask_validator.py"), *arguments],
        cwd=current,
        env={"PYTHONPATH": f"{current}:{HERE.parent}"},
        capture_output=True,
        text=True,
        check=True,
    )
    confinement, outcomes = json.loads(done.stdout)
    assert confinement == ([offered().landlock, True] if confined else [0, False])
    assert isinstance(outcomes, dict)
    return outcomes


def attempts(folder: Path, *, confined: bool) -> dict[str, str]:
    """Have a checking process try everything that it must not; return the outcomes."""
    folder.mkdir()
    forbidden.prepare(folder)
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(folder / "socket"))
        unix.listen()
        return ask("attempts", str(folder), str(tcp.getsockname()[1]), confined=confined, current=folder)


@CONFINED
def test_a_process_that_is_taken_over_reaches_nothing(tmp_path: Path) -> None:
    """Of all that a file could have its process do to us, to others and to files, nothing is done."""
    outcomes = attempts(tmp_path / "target", confined=True)
    assert set(outcomes) == {*forbidden.FILES, *forbidden.CALLS, forbidden.EXEC}
    refusals = {"Permission denied", "Operation not permitted", "Function not implemented", "can't start new thread"}
    assert {name: outcome for name, outcome in outcomes.items() if outcome not in refusals} == {}
    assert (tmp_path / "target" / "changed").read_text() == "secret"


@CONFINED
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for whom limits alone stop nothing")
def test_without_confinement_it_would_reach_all(tmp_path: Path) -> None:
    """The same attempts, in the same process without its confinement, are all successful: they are real ones."""
    outcomes = attempts(tmp_path / "target", confined=False)
    assert {name: outcome for name, outcome in outcomes.items() if outcome != "done"} == {}


def aes(method: EncryptionMethod) -> bytes:
    """Return an invoice that is encrypted against changes."""
    document = fpdf.FPDF()
    document.add_page()
    document.set_font("helvetica", size=12)
    document.cell(text="Invoice 8355")
    document.set_encryption(owner_password="ours", encryption_method=method)
    return bytes(document.output())


@CONFINED
def test_honest_files_notice_nothing(tmp_path: Path) -> None:
    """Every PDF of the tests, encrypted ones included, has the same outcome in a process that is not confined."""
    samples = {f"aes {method.name}": aes(method) for method in EncryptionMethod} | pdfs.careless()
    samples |= {f"pages {n}": pdfs.fpdf2(lines=40 * n, restricted=n == 2) for n in (1, 2, 3)}
    samples |= {"factur-x": pdfs.factur_x("8355"), "plain": pdfs.invoice(padding=200_000)}
    for family in (pdfs.hostile(), pdfs.acting(), pdfs.not_invoices()):
        samples |= {name: pdf for name, (pdf, _) in family.items()}
    for number, pdf in enumerate(samples.values()):
        (tmp_path / f"{number}.pdf").write_bytes(pdf)
    paths = [str(tmp_path / f"{number}.pdf") for number in range(len(samples))]
    outcomes = ask("pdfs", *paths, confined=True)
    assert outcomes == ask("pdfs", *paths, confined=False)
    assert all("pages=1" in outcomes[path] for path in paths[: len(EncryptionMethod)])


@CONFINED
def test_late_imports_notice_nothing() -> None:
    """Whatever a file may need at last can be imported in a confined process as in one that is not confined."""
    outcomes = ask("imports", confined=True)
    assert outcomes == ask("imports", confined=False)
    assert "encodings.cp1252" not in outcomes["failed"]


@CONFINED
@pytest.mark.skipif(not SHARED.is_dir(), reason="there are no invoices beside the project")
@pytest.mark.parametrize("step", [8, pytest.param(1, marks=pytest.mark.soak)])
def test_real_invoices_notice_nothing(step: int) -> None:
    """Real e-invoices, and real cases of damage, have the same outcome in a process that is not confined."""
    paths = [str(path) for folder in ("invoices", "cases/pdf") for path in sorted((SHARED / folder).rglob("*.pdf"))]
    paths = paths[::step]
    assert ask("pdfs", *paths, confined=True) == ask("pdfs", *paths, confined=False)
