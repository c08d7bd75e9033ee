"""The real command with a drop folder in which hostile files lie among good ones: what that costs the good ones."""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psutil
import pytest
from fpdf import FPDF

import pdfs
from invoicedrop.sandbox import Options, Running, serve
from invoicedrop.sandbox.paper import invoice_pdf
from merchant import Merchant, running
from waiting import wait_until

HOSTILE, TO_WARM_UP = 30, 20
LIMIT = 3.0
"""Seconds that one check may take."""
EITHER_LIMIT = {"deflate bomb", "deflate bomb in an object stream"}
"""They end at the limit of what streams may expand to, on a busy machine at that of time: both are right."""


@pytest.fixture
def sandbox() -> Iterator[Running]:
    """A sandbox API without a rate limit that knows every order."""
    with serve(Options(rate=0, any_order=True)) as api:
        yield api


def endless() -> bytes:
    """Return a PDF whose check takes many minutes: each of many streams has a length that is looked for in vain."""
    more = {20 + number: b"<< /Length 99999 0 R >>\nstream\nq Q\nendstream" for number in range(40_000)}
    return pdfs.build(pdfs.objects(padding=2_000_000, more=more))


def with_password() -> bytes:
    """Return a PDF that needs a password."""
    document = FPDF()
    document.add_page()
    document.set_font("helvetica", size=12)
    document.cell(text="secret")
    document.set_encryption(owner_password="theirs", user_password="yours")
    return bytes(document.output())


def hostile() -> dict[str, tuple[bytes, str]]:
    """Return thirty files, each with the reason for which it is to be rejected: the worst first, of all kinds."""
    found = {"endless": (endless(), "check_timeout"), "with a password": (with_password(), "encrypted")}
    for made, most in zip(pdfs.ALL, (20, 8, 8), strict=True):
        kind = [(name, pair) for name, pair in made().items() if pair[1] != "ok"]
        found |= dict(kind[:most])
    return dict(list(found.items())[:HOSTILE])


def seconds_from(earlier: dict[str, object], later: dict[str, object]) -> float:
    """Return how long after one line of the log another was written."""
    first, second = (datetime.fromisoformat(str(line["timestamp"])) for line in (earlier, later))
    return (second - first).total_seconds()


def names(folder: Path) -> set[str]:
    """Return the PDFs in a folder."""
    return {path.name for path in folder.glob("*.pdf")}


@pytest.mark.long
@pytest.mark.parametrize("good_ones", [60, pytest.param(200, marks=pytest.mark.soak)])
def test_good_invoices_among_hostile_files(merchant: Merchant, good_ones: int) -> None:
    """All good ones go, all hostile ones fail for their reasons, and neither memory nor waiting shows they were there.

    How long a good file waits is told by the log: from when it was found to when it was checked.
    """
    files = hostile()
    bad = {f"{9000 + number}.pdf": content for number, (content, _) in enumerate(files.values())}
    right = [{why, "check_timeout"} if name in EITHER_LIMIT else {why} for name, (_, why) in files.items()]
    assert len(bad) == HOSTILE
    good = {f"{1 + number}.pdf": invoice_pdf(f"{1 + number}") for number in range(TO_WARM_UP + good_ones)}
    with running(merchant, forked=False, validator_timeout=str(LIMIT)) as daemon:
        everything = list(good.items())
        for name, content in everything[:TO_WARM_UP]:
            merchant.drop_pdf(name, content)
        daemon.wait_for("invoice.processed", TO_WARM_UP)
        process = psutil.Process(daemon.process.pid)
        before = most = process.memory_info().rss
        waiting = list(bad.items())
        for number, (name, content) in enumerate(everything[TO_WARM_UP:]):
            merchant.drop_pdf(name, content)
            if number % (good_ones // HOSTILE) == 0 and waiting:
                merchant.drop_pdf(*waiting.pop(0))
        assert not waiting

        def done() -> bool:
            nonlocal most
            most = max(most, process.memory_info().rss)
            return names(merchant.processed) == good.keys() and names(merchant.failed) == bad.keys()

        wait_until(done, seconds=90, what="every file to be filed")
        daemon.wait_for("invoice.failed", HOSTILE)
        assert daemon.stop() == 0
    reasons = {line["file"]: line["reason"] for line in daemon.events("invoice.failed")}
    assert reasons.keys() == bad.keys()
    for name, whys in zip(bad, right, strict=True):
        assert reasons[name] in whys, name
        assert (merchant.failed / f"{name}.reason.txt").is_file()
    sent = {upload.order_id: upload.sha256 for upload in merchant.sandbox.uploads()}
    assert len(merchant.sandbox.uploads()) == len(good)
    assert sent == {int(Path(name).stem): hashlib.sha256(content).hexdigest() for name, content in good.items()}
    found = {line["file"]: line for line in daemon.events("invoice.found")}
    checked = {line["file"]: line for line in daemon.events("invoice.validated")}
    waits = [seconds_from(found[name], checked[name]) for name in good]
    assert max(waits) < LIMIT
    assert most - before < 50 * 2**20
