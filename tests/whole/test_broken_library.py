"""A library that is broken, and mended: nothing is blamed on an invoice meanwhile, and nobody has to start anything."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

import pdfs
from broken_library import FAULTS, break_library, mend
from invoicedrop.service import status_file
from merchant import Daemon, Merchant, running
from quick_service import QUICK, program
from waiting import wait_until

GOOD: Final = 10
BAD: Final = "99.pdf"


def names(folder: Path) -> set[str]:
    """Return which invoices, and reasons, lie in a folder."""
    return {entry.name for entry in folder.glob("[0-9]*")}


def drop_invoices(merchant: Merchant) -> set[str]:
    """Drop good invoices of several kinds, and a bad one among them; return the names of the good ones."""
    kinds = [
        pdfs.invoice(),
        pdfs.fpdf2(),
        pdfs.fpdf2(restricted=True),
        pdfs.factur_x(),
        pdfs.compressed(pdfs.objects()),
    ]
    for number in range(GOOD):
        merchant.drop_pdf(f"{number + 1}.pdf", kinds[number % len(kinds)] + b"\n" * number)
        if number == 1:
            merchant.drop_pdf(BAD, pdfs.fpdf2()[:-400])
    return {f"{number + 1}.pdf" for number in range(GOOD)}


def wait_for_tries(daemon: Daemon, number: int) -> None:
    """Wait until the daemon has tried anew a number of times: each time another process has loaded the library."""
    loaders: set[int] = set()

    def enough() -> bool:
        # Of each thread: a walk through all processes, again and again, would take more than what it waits for.
        for children in Path(f"/proc/{daemon.process.pid}/task").glob("*/children"):
            with suppress(ProcessLookupError, FileNotFoundError):
                loaders.update(pid for pid in map(int, children.read_text().split()) if os.getsid(pid) == pid)
        return len(loaders) >= number

    wait_until(enough, seconds=60, what=f"{number} tries")


@pytest.mark.long
@pytest.mark.parametrize(
    "fault",
    [
        "it wants other arguments",
        "it hangs",
        *(
            pytest.param(name, marks=pytest.mark.soak)
            for name in ("half installed", "TypeError", "MemoryError", "it ends the process")
        ),
    ],
)
def test_no_invoice_is_blamed_for_a_broken_library(merchant: Merchant, fault: str) -> None:
    """While the library is broken all invoices stay, and status and health say so; mended, each gets its verdict."""
    library = break_library(merchant.home, FAULTS[fault])
    good = drop_invoices(merchant)
    merchant.environment["PYTHONPATH"] = str(library)
    with running(merchant, program=program(QUICK), forked=False, validator_timeout="1.5") as daemon:
        daemon.wait_for("inbox.unavailable")
        wait_until(lambda: "PDF" in unavailable(merchant), what="the status to say so")
        health = merchant.run("health")
        assert (health.returncode, "PDF" in health.stdout) == (1, True)
        assert "PDF" in json.loads(merchant.run("status", "--json").stdout)["inboxes"][0]["trouble"]
        wait_for_tries(daemon, 3)
        assert names(merchant.drop) == good | {BAD}
        mend(library)
        daemon.wait_for("invoice.processed", GOOD, seconds=60)
        daemon.wait_for("invoice.failed", seconds=60)
        wait_until(lambda: not unavailable(merchant), what="the status to say that it is over")
        assert daemon.stop() == 0
    assert names(merchant.processed) == good
    assert names(merchant.failed) == {BAD, f"{BAD}.reason.txt"}


def unavailable(merchant: Merchant) -> str:
    """Return what the service says of its inbox."""
    report = status_file.read(merchant.state / "service.json")
    return "" if report is None else report.inboxes["default"].unavailable or ""
