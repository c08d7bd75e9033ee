"""The order is known before an invoice is sent: the real daemon against the sandbox, with orders of every kind."""

import dataclasses
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from invoicedrop.invoice import State
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.sandbox import STATUSES, Kind
from invoicedrop.sandbox.einvoice import CORRECTION, CREDIT_NOTE, e_invoice_pdf
from invoicedrop.sandbox.paper import Line, invoice_pdf
from invoicedrop.timing import Timing
from merchant import Daemon, Merchant, running
from quick_service import QUICK, program
from waiting import wait_until

UNCHECKED = program(QUICK, checked=False)


def _read_requests(merchant: Merchant) -> list[str]:
    """Return the kinds of the requests that reached the sandbox, but for uploads."""
    return [request.kind for request in merchant.sandbox.requests if request.kind != "upload"]


def _reason(merchant: Merchant, name: str) -> str:
    return " ".join((merchant.failed / f"{name}.reason.txt").read_text().split())


def _fails_softly(merchant: Merchant, daemon: Daemon, name: str, reason: str) -> None:
    """Wait until the invoice fails for this reason; moved back, it is sent all the same, and the log says so."""
    daemon.wait_for("invoice.failed")
    assert daemon.events("invoice.failed")[-1]["reason"] == reason
    sent = len(merchant.sandbox.uploads())
    wait_until((merchant.failed / f"{name}.reason.txt").exists, what="the reason")
    assert "sent all the same" in _reason(merchant, name)
    (merchant.failed / name).rename(merchant.drop / name)
    wait_until((merchant.processed / name).exists, what=f"{name} in processed; {daemon.errors()}")
    assert daemon.events("invoice.found")[-1]["waived"] == [reason]
    assert len(merchant.sandbox.uploads()) == sent + 1


def test_a_single_invoice_costs_one_read(merchant: Merchant) -> None:
    """The order is read once before its invoice is sent, and the log says what it showed; nothing of a customer."""
    merchant.drop_pdf("8.pdf")
    with running(merchant, "run", "--once", program=UNCHECKED) as daemon:
        assert daemon.wait() == 0
    assert _read_requests(merchant) == ["order"]
    (line,) = daemon.events("order.checked")
    assert {name: line[name] for name in ("channel", "status", "invoices", "order_id", "file")} == {
        "channel": "bol",
        "status": "shipped",
        "invoices": 0,
        "order_id": 8,
        "file": "8.pdf",
    }


def test_it_can_be_switched_off(merchant: Merchant) -> None:
    """With order_check = off an invoice is sent by its name alone, as before."""
    merchant.sandbox.store.add_order(8, status_shipped="cancelled")
    merchant.drop_pdf("8.pdf")
    with running(merchant, "run", "--once", program=UNCHECKED, order_check="off") as daemon:
        assert daemon.wait() == 0
    assert _read_requests(merchant) == []
    assert daemon.events("order.checked") == []
    assert len(merchant.sandbox.uploads()) == 1


def test_a_backlog_of_recent_orders_costs_few_reads(merchant: Merchant) -> None:
    """300 invoices of recent orders cost at most 1.2 requests each."""
    for number in range(1, 301):
        merchant.sandbox.store.add_order(number)
        merchant.drop_pdf(f"{number}.pdf", b"%PDF-" + str(number).encode())
    with running(merchant, "run", "--once", program=UNCHECKED) as daemon:
        assert daemon.wait(60) == 0
    assert len(merchant.sandbox.uploads()) == 300
    assert len(merchant.sandbox.requests) <= 360


def test_a_lost_ledger_doubles_nothing(merchant: Merchant) -> None:
    """Everything dropped again after the state folder was deleted makes no new attachment; all is filed."""
    bodies = {f"{number}.pdf": merchant.drop_pdf(f"{number}.pdf") for number in range(1, 13)}
    with running(merchant, "run", "--once", program=UNCHECKED) as daemon:
        assert daemon.wait() == 0
    shutil.rmtree(merchant.state)
    for path in merchant.processed.iterdir():
        path.unlink()
    for name, body in bodies.items():
        merchant.drop_pdf(name, body)
    with running(merchant, "run", "--once", program=UNCHECKED) as daemon:
        assert daemon.wait() == 0
    assert len(merchant.sandbox.uploads()) == 12
    assert len(daemon.events("invoice.duplicate")) == 12
    assert daemon.events("upload.started") == []
    assert sorted(path.name for path in merchant.processed.iterdir()) == sorted(bodies)


@pytest.mark.parametrize("length_told", [True, False])
def test_what_another_tool_attached_is_not_sent_again(merchant: Merchant, *, length_told: bool) -> None:
    """The same bytes at the order, put there by somebody else, make a duplicate; other bytes and labels do not."""
    body = invoice_pdf("8")
    store = merchant.sandbox.store
    store.attach(8, body, length_told=length_told)
    store.attach(9, body[:-1] + b" ", length_told=length_told)
    store.attach(9, body, attachment_type="SHIPPING_LABEL")
    for name in ("8.pdf", "9.pdf"):
        merchant.drop_pdf(name, body if name == "8.pdf" else body + b"\n")
    with running(merchant, "run", "--once", program=UNCHECKED) as daemon:
        assert daemon.wait() == 0
    assert [line["file"] for line in daemon.events("invoice.duplicate")] == ["8.pdf"]
    assert [upload.order_id for upload in merchant.sandbox.uploads() if upload.posted] == [9]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_an_attachment_that_cannot_be_had_stops_nothing(merchant: Merchant, status: int) -> None:
    """What was at the order before, and whose file is gone, says nothing about this invoice: it is sent."""
    attachment = merchant.sandbox.store.attach(8, invoice_pdf("another"))
    merchant.sandbox.faults.add(Kind.STATUS, "download", status=status, attachment_id=attachment.id)
    merchant.drop_pdf("8.pdf")
    with running(merchant, "run", "--once", program=UNCHECKED) as daemon:
        assert daemon.wait() == 0
    assert Counter(upload.posted for upload in merchant.sandbox.uploads()) == {False: 1, True: 1}


def test_an_attachment_that_cannot_be_read_now_is_waited_for(merchant: Merchant) -> None:
    """Bytes that cannot be compared at this moment may be ours: the invoice waits, and is a duplicate later."""
    body = merchant.drop_pdf("8.pdf")
    merchant.sandbox.store.attach(8, body)
    merchant.sandbox.faults.add(Kind.STATUS, "download", status=503, count=3)
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("invoice.duplicate")
        assert daemon.stop() == 0
    assert len(merchant.sandbox.uploads()) == 1


def test_the_same_pdf_for_another_order_is_a_question(merchant: Merchant) -> None:
    """A PDF that was accepted for one order is not sent to another one, until a person moves it back."""
    body = merchant.drop_pdf("8.pdf")
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("invoice.processed")
        merchant.drop_pdf("9.pdf", body)
        _fails_softly(merchant, daemon, "9.pdf", "sent_to_another_order")
        assert "order 8" in _detail(daemon)
        assert daemon.stop() == 0
    assert [upload.order_id for upload in merchant.sandbox.uploads()] == [8, 9]


def _detail(daemon: Daemon) -> str:
    return str(daemon.events("invoice.failed")[-1]["detail"])


def test_of_many_copies_at_once_one_is_sent(merchant: Merchant) -> None:
    """Sixteen orders' files with the same bytes at once, in eight threads: exactly one of them is sent."""
    body = invoice_pdf("8")
    names = [f"{number}.pdf" for number in range(1, 17)]
    for name in names:
        merchant.drop_pdf(name, body)
    merchant.sandbox.faults.add(Kind.LATENCY, "upload", seconds=0.2)
    with running(merchant, "run", "--once", program=UNCHECKED) as daemon:
        assert daemon.wait() == 1
    assert len(merchant.sandbox.uploads()) == 1
    assert Counter(line["reason"] for line in daemon.events("invoice.failed")) == {"sent_to_another_order": 15}


def test_a_pdf_in_doubt_at_one_order_is_a_question_at_another(merchant: Merchant) -> None:
    """Bytes that may have been sent, in a life that was killed, go to no other order without a person."""
    body = merchant.drop_pdf("8.pdf")
    merchant.sandbox.faults.add(Kind.HANG_AFTER_STORE, "upload", order_id=8)
    with running(merchant, program=UNCHECKED) as daemon:
        wait_until(merchant.sandbox.uploads, what="the upload")
        daemon.kill()
    merchant.sandbox.faults.clear()
    merchant.sandbox.faults.add(Kind.STATUS, "order", status=500, order_id=8)
    merchant.drop_pdf("9.pdf", body)
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("invoice.failed")
        assert daemon.events("invoice.failed")[-1]["reason"] == "sent_to_another_order"
        merchant.sandbox.faults.clear()
        daemon.wait_for("invoice.processed")
        assert daemon.stop() == 0
    assert [upload.order_id for upload in merchant.sandbox.uploads()] == [8]


def test_a_cancelled_order_is_a_question(merchant: Merchant) -> None:
    """An invoice of a cancelled order waits for a person; moved back it is sent."""
    merchant.sandbox.store.add_order(8, status_shipped="cancelled")
    merchant.drop_pdf("8.pdf")
    with running(merchant, program=UNCHECKED) as daemon:
        _fails_softly(merchant, daemon, "8.pdf", "order_cancelled")
        assert daemon.stop() == 0


def test_a_credit_note_is_a_question(merchant: Merchant) -> None:
    """A credit note, by its e-invoice, waits for a person, and is sent when moved back; the ordinary e-invoice goes."""
    merchant.drop_pdf("8.pdf", e_invoice_pdf("8"))
    with running(merchant) as daemon:
        daemon.wait_for("invoice.processed")
        merchant.drop_pdf("8_2.pdf", e_invoice_pdf("8", type_code=CREDIT_NOTE))
        _fails_softly(merchant, daemon, "8_2.pdf", "credit_note")
        assert _detail(daemon) == "its e-invoice says so: type code 381"
        merchant.drop_pdf("9.pdf", e_invoice_pdf("9", type_code=CORRECTION, lines=[Line("Enamel mug", 1, -1000)]))
        daemon.wait_for("invoice.failed", 2)
        assert _detail(daemon) == "its e-invoice says so: type code 384 with a total of -12.10"
        assert daemon.stop() == 0
    assert [upload.order_id for upload in merchant.sandbox.uploads()] == [8, 8]


def test_the_same_bytes_exported_anew_are_no_decision(merchant: Merchant) -> None:
    """A person takes the PDF away, as the reason says; an export of the same bytes days later is asked about again."""
    merchant.sandbox.store.add_order(8, status_shipped="cancelled")
    body = merchant.drop_pdf("8.pdf")
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("invoice.failed")
        wait_until((merchant.failed / "8.pdf.reason.txt").exists, what="the reason")
        (merchant.failed / "8.pdf").unlink()
        merchant.drop_pdf("8.pdf", body)
        daemon.wait_for("invoice.failed", 2)
        assert daemon.stop() == 0
    assert merchant.sandbox.uploads() == []


def test_one_stored_upload_of_two_sets_of_items_is_not_the_other_s(merchant: Merchant) -> None:
    """The same PDF for two items: what the first one, in doubt, has stored is not taken for the second."""
    body = invoice_pdf("8")
    merchant.sandbox.faults.add(Kind.RESET_AFTER_STORE, "upload", count=1)
    timing = dataclasses.replace(QUICK, doubt_looks=(1.0,), order_fresh=0.01)
    with running(merchant, program=program(timing, checked=False), resend_after="2") as daemon:
        merchant.drop_pdf("8_items-11.pdf", body)
        daemon.wait_for("upload.unknown")
        merchant.drop_pdf("8_items-12.pdf", body)
        daemon.wait_for("invoice.processed", 2)
        assert daemon.events("invoice.duplicate") == []
        assert daemon.stop() == 0
    assert sorted(upload.item_ids for upload in merchant.sandbox.uploads()) == [(11,), (12,)]


def test_an_attachment_that_can_never_be_read_stops_no_invoice_for_ever(merchant: Merchant) -> None:
    """Given up because of what was at its order before, the invoice passes that when it is moved back."""
    merchant.sandbox.store.attach(8, invoice_pdf("another"))
    merchant.sandbox.faults.add(Kind.STATUS, "download", status=503)
    merchant.drop_pdf("8.pdf")
    with running(merchant, program=UNCHECKED, give_up_after="0.3") as daemon:
        other = count(20)

        def failed() -> bool:
            if not daemon.events("invoice.failed"):
                merchant.drop_pdf(f"{next(other)}.pdf")
            return bool(daemon.events("invoice.failed"))

        wait_until(failed, what="the end of the tries")
        assert daemon.events("invoice.failed")[0]["reason"] == "gave_up"
        wait_until((merchant.failed / "8.pdf.reason.txt").exists, what="the reason")
        (merchant.failed / "8.pdf").rename(merchant.drop / "8.pdf")
        wait_until((merchant.processed / "8.pdf").exists, what="8.pdf in processed")
        assert daemon.stop() == 0


def test_only_cancelled_is_cancelled(merchant: Merchant) -> None:
    """Of all statuses, unknown and missing ones too, only a cancelled order's invoice is held back."""
    store = merchant.sandbox.store
    for number, status in enumerate((*STATUSES, "something_new", ""), 1):
        store.add_order(number, status_shipped=status)
        merchant.drop_pdf(f"{number}.pdf")
    store.add_order(50, hidden=("status_shipped", "channel_name"))
    merchant.drop_pdf("50.pdf")
    with running(merchant, "run", "--once", program=UNCHECKED) as daemon:
        assert daemon.wait() == 1
    (failed,) = daemon.events("invoice.failed")
    assert failed["order_id"] == 1 + STATUSES.index("cancelled")
    assert len(merchant.sandbox.uploads()) == len(STATUSES) + 2


def test_an_invoice_waits_for_the_shipment(merchant: Merchant) -> None:
    """With wait_for_shipment an invoice waits, `status` says so, and goes when its order is shipped, not before."""
    merchant.sandbox.store.add_order(8, status_shipped="not_shipped")
    merchant.drop_pdf("8.pdf")
    quick = program(_quick_looks(), checked=False)
    with running(merchant, program=quick, wait_for_shipment="on") as daemon:
        daemon.wait_for("invoice.deferred")
        words = "until order 8 is shipped (not shipped now)"
        wait_until(lambda: words in " ".join(merchant.run("status").stdout.split()), what="the status")
        assert merchant.sandbox.uploads() == []
        merchant.sandbox.store.add_order(8, status_shipped="shipped")
        daemon.wait_for("invoice.processed")
        assert daemon.stop() == 0


def test_a_shipment_that_never_comes_is_a_question(merchant: Merchant) -> None:
    """After shipment_grace the invoice fails softly."""
    merchant.sandbox.store.add_order(8, status_shipped="waiting")
    merchant.drop_pdf("8.pdf")
    quick = program(_quick_looks(), checked=False)
    with running(merchant, program=quick, wait_for_shipment="on", shipment_grace="0.3") as daemon:
        _fails_softly(merchant, daemon, "8.pdf", "order_not_shipped")
        assert daemon.stop() == 0


def test_an_order_that_is_cancelled_while_it_waits_is_a_question(merchant: Merchant) -> None:
    """An order that is cancelled before it is shipped does not keep its invoice waiting."""
    merchant.sandbox.store.add_order(8, status_shipped="not_shipped")
    merchant.drop_pdf("8.pdf")
    with running(merchant, program=program(_quick_looks(), checked=False), wait_for_shipment="on") as daemon:
        daemon.wait_for("invoice.deferred")
        merchant.sandbox.store.add_order(8, status_shipped="cancelled")
        _fails_softly(merchant, daemon, "8.pdf", "order_cancelled")
        assert daemon.stop() == 0


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": Kind.STATUS, "status": 500},
        {"kind": Kind.STATUS, "status": 504},
        {"kind": Kind.BROKEN_JSON},
        {"kind": Kind.TRUNCATE},
        {"kind": Kind.RESET_BEFORE_READ},
        {"kind": Kind.LIE, "shown": {"attachments": [{"id": "?"}]}},
        {"kind": Kind.LIE, "shown": {"id": None}},
    ],
    ids=lambda fault: f"{fault['kind']}-{fault.get('status', '')}",
)
def test_an_order_that_cannot_be_read_is_waited_for(merchant: Merchant, fault: dict[str, object]) -> None:
    """A read of the order that fails puts the invoice off, never to the failed folder; then it is sent once."""
    merchant.sandbox.faults.add(**{"request": "order", "count": 2} | fault)  # type: ignore[arg-type]
    merchant.drop_pdf("8.pdf")
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("invoice.processed")
        assert daemon.events("invoice.failed") == []
        assert daemon.stop() == 0
    assert len(merchant.sandbox.uploads()) == 1


def test_one_unreadable_order_holds_up_no_other(merchant: Merchant) -> None:
    """An order that can never be read keeps its own invoice waiting, in pages and by itself; the others go on."""
    for number in range(1, 31):
        merchant.sandbox.store.add_order(number)
        merchant.drop_pdf(f"{number}.pdf")
    merchant.sandbox.store.add_order(7, shown={"attachments": "?"})
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("invoice.processed", 29)
        daemon.wait_for("invoice.deferred")
        assert daemon.events("invoice.failed") == []
        assert [path.name for path in merchant.drop.glob("*.pdf")] == ["7.pdf"]
        assert daemon.stop() == 0


def test_a_list_that_shifts_while_it_is_read_loses_no_invoice(merchant: Merchant) -> None:
    """New orders that push the others from page to page cost at most a read more for those that are missed."""
    store = merchant.sandbox.store
    for number in range(1, 251):
        store.add_order(number, created=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number))
    for number in range(1, 61):
        merchant.drop_pdf(f"{number}.pdf", b"%PDF-" + str(number).encode())
    newer = count(1000)

    def shift() -> None:
        for _ in range(30):
            store.add_order(next(newer), created=datetime.now(UTC))

    merchant.sandbox.moments.before("orders", shift, count=None)
    with running(merchant, "run", "--once", program=UNCHECKED) as daemon:
        assert daemon.wait() == 0
    assert sorted(upload.order_id for upload in merchant.sandbox.uploads()) == list(range(1, 61))


def test_a_list_that_hangs_holds_up_the_first_invoices_only(merchant: Merchant) -> None:
    """Where the list of orders never answers, it is left alone after its time, and each order is read by itself."""
    merchant.sandbox.faults.add(Kind.HANG_BEFORE_STORE, "orders")
    for number in range(1, 31):
        merchant.drop_pdf(f"{number}.pdf")
    with running(merchant, program=UNCHECKED, request_timeout="1") as daemon:
        daemon.wait_for("invoice.processed", 30)
        assert daemon.stop() == 0
    assert merchant.sandbox.journal.arrived("orders") == 1


def test_a_read_that_hides_an_attachment_doubles_nothing(merchant: Merchant) -> None:
    """An order that first shows too little, and then somebody's older invoice: after a lost answer a person decides."""
    merchant.sandbox.store.attach(8, invoice_pdf("older"))
    merchant.sandbox.faults.add(Kind.LIE, "order", shown={"attachments": []}, count=1)
    merchant.sandbox.faults.add(Kind.RESET_BEFORE_STORE, "upload", count=1)
    merchant.drop_pdf("8.pdf")
    with running(merchant, program=UNCHECKED) as daemon:
        _fails_softly(merchant, daemon, "8.pdf", "outcome_unclear")
        assert daemon.stop() == 0
    assert sum(upload.posted for upload in merchant.sandbox.uploads()) == 1


def test_the_base_line_is_written_with_the_intent(merchant: Merchant) -> None:
    """What the order has before the first byte leaves is on disk with the intent."""
    other = merchant.sandbox.store.attach(8, invoice_pdf("another"), created=datetime(2026, 1, 1, tzinfo=UTC))
    label = merchant.sandbox.store.attach(8, b"label", attachment_type="SHIPPING_LABEL")
    merchant.drop_pdf("8.pdf")
    merchant.sandbox.faults.add(Kind.HANG_BEFORE_STORE, "upload")
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("upload.started")
        daemon.kill()
    with Ledger.open(merchant.state) as ledger:
        (entry,) = ledger.in_state(State.UPLOADING)
    assert entry.base_line == {other.id, label.id}


def _quick_looks() -> Timing:
    return dataclasses.replace(QUICK, order_retry=0.05, longest_order_retry=0.1, order_fresh=0.04)
