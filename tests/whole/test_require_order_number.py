"""The guard against the wrong customer, and the limit of pages: the real command, asked to be strict."""

import re

import pytest

from invoicedrop.sandbox import marketplace_number
from invoicedrop.sandbox.paper import invoice_pdf
from merchant import Daemon, Merchant, running


def _line(daemon: Daemon, event: str, file: str) -> dict[str, object]:
    return next(line for line in daemon.events(event) if line.get("file") == file)


def test_invoice_of_another_order_is_rejected(merchant: Merchant) -> None:
    """With reject, an invoice that names neither number of its order fails with both, and is never sent."""
    merchant.drop_pdf("8.pdf", invoice_pdf("7"))
    merchant.drop_pdf("9.pdf", invoice_pdf("9"))
    merchant.drop_pdf("10.pdf", invoice_pdf(marketplace_number(10)))
    done = merchant.run("run", "--once", require_order_number="reject")
    assert done.returncode == 1, done.stderr
    assert sorted(path.name for path in merchant.processed.iterdir()) == ["10.pdf", "9.pdf"]
    assert {upload.order_id for upload in merchant.sandbox.uploads()} == {9, 10}
    reason = (merchant.failed / "8.pdf.reason.txt").read_text()
    assert "wrong_order_number" in reason
    for number in ("8", marketplace_number(8)):
        assert number in re.findall(r"[\w-]+", reason.partition("detail")[2])


@pytest.mark.parametrize("kind", ["channable", "marketplace"])
def test_either_number_is_enough(merchant: Merchant, kind: str) -> None:
    """Whatever the file is named by, the other number of its order in the invoice is as good."""
    number = marketplace_number(11)
    named, inside = ("11", number) if kind == "channable" else (number, number)
    merchant.drop_pdf(f"{named}.pdf", invoice_pdf(inside))
    done = merchant.run("run", "--once", require_order_number="reject", order_id_kind=kind)
    assert done.returncode == 0, done.stderr
    assert [upload.order_id for upload in merchant.sandbox.uploads()] == [11]


def test_warning_is_only_a_warning(merchant: Merchant) -> None:
    """With warn, an invoice that names no number of its order is sent, and the log warns."""
    merchant.drop_pdf("8.pdf", invoice_pdf("7"))
    merchant.drop_pdf("9.pdf", invoice_pdf("9"))
    with running(merchant, require_order_number="warn") as daemon:
        daemon.wait_for("invoice.processed", 2)
        wrong, right = _line(daemon, "invoice.validated", "8.pdf"), _line(daemon, "invoice.validated", "9.pdf")
    assert (wrong["level"], wrong["order_number_found"]) == ("warning", False)
    assert (right["level"], right["order_number_found"]) == ("info", True)


def test_nobody_asks_unless_told_to(merchant: Merchant) -> None:
    """Without the setting nothing is asked of the API but to take the invoice."""
    merchant.drop_pdf("8.pdf", invoice_pdf("7"))
    done = merchant.run("run", "--once")
    assert done.returncode == 0, done.stderr
    assert [upload.order_id for upload in merchant.sandbox.uploads()] == [8]
    assert "order_number_found" not in done.stderr


def test_what_may_have_been_sent_is_not_judged_anew(merchant: Merchant) -> None:
    """An invoice in doubt is reconciled, not rejected, although the guard is on by now and would not let it pass."""
    merchant.drop_pdf("8.pdf", invoice_pdf("7"))
    merchant.sandbox.faults.add("reset_after_store", "upload", count=1)
    with running(merchant) as daemon:
        daemon.wait_for("upload.unknown")
    with running(merchant, require_order_number="reject") as daemon:
        daemon.wait_for("invoice.processed")
    assert len(merchant.sandbox.uploads()) == 1
    assert [path.name for path in merchant.processed.iterdir()] == ["8.pdf"]


def test_too_many_pages(merchant: Merchant) -> None:
    """More pages than max_pages is a verdict of its own."""
    merchant.drop_pdf("8.pdf", invoice_pdf("8", pages=3))
    merchant.drop_pdf("9.pdf", invoice_pdf("9", pages=2))
    assert merchant.run("run", "--once", max_pages="2").returncode == 1
    assert [path.name for path in merchant.processed.iterdir()] == ["9.pdf"]
    assert "too_many_pages" in (merchant.failed / "8.pdf.reason.txt").read_text()
