"""`invoicedrop history`: what became of an invoice, and the receipts since a day."""

import csv
import io
import json
import os
import shutil
import time
from dataclasses import replace
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from invoicedrop import cli
from invoicedrop.invoice import Receipt
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.ledger.step import StepKind
from invoicedrop.reasons import Reason
from merchant import Merchant, running
from quick_service import QUICK, UNCHECKED, program
from waiting import wait_until


def written(merchant: Merchant, ledger: Ledger, number: int, **changes: Any) -> Entry:
    """Write an invoice that was accepted and filed; return its entry."""
    inbox = merchant.settings().inboxes[0]
    entry = Entry(
        account=inbox.account, project_id=inbox.project_id, reference=str(number), order_id=number,
        sha256=f"{number:064x}", inbox=inbox.name, file=f"{number}.pdf", size=1000, first_seen=1_700_000_000.0,
    )  # fmt: skip
    entry = replace(entry, **changes)
    entry = entry.after(StepKind.FOUND, entry.first_seen, entry.file)
    sent = ledger.uploaded(ledger.uploading(entry), Receipt(100 + number))
    return ledger.processed(sent, merchant.processed / entry.file)


def ask(merchant: Merchant, *arguments: str) -> Result:
    """Run a command in this process."""
    environment: dict[str, str | None] = dict.fromkeys(name for name in os.environ if name.startswith("INVOICEDROP_"))
    return CliRunner().invoke(cli.app, arguments, env=environment | merchant.environment, catch_exceptions=False)


def test_the_whole_way_is_told_although_processed_was_cleared(merchant: Merchant) -> None:
    """Every step stands in the ledger: from the drop folder to processed, with what the order showed, in words."""
    merchant.drop_pdf("8.pdf")
    assert merchant.run("run", "--once", program=UNCHECKED).returncode == 0
    shutil.rmtree(merchant.processed)
    whole = str(merchant.drop / "8.pdf")
    for what in ("8", "8.pdf", "./drop/8.pdf", whole, r"\\server\drop\8.pdf", "8.pdf.reason.txt"):
        done = ask(merchant, "history", what)
        assert (done.exit_code, done.stderr) == (0, "")
        for words in ("8.pdf, order 8", "dropped", "checked: 1 page", "looked at: ", "attachment", "filed"):
            assert words in " ".join(done.stdout.split()), (what, words)
        assert all(len(line) <= 80 or "SHA-256" in line for line in done.stdout.splitlines())
    (invoice,) = json.loads(ask(merchant, "history", "8", "--json").stdout)["invoices"]
    steps = [step["step"] for step in invoice["steps"]]
    assert steps == ["found", "checked", "order_seen", "sent", "accepted", "filed"]
    assert invoice["complete"]
    for sha256 in (invoice["sha256"], invoice["sha256"][:6].upper()):
        assert json.loads(ask(merchant, "history", sha256, "--json").stdout)["invoices"] == [invoice]
    number = invoice["marketplace_number"]
    assert number
    assert json.loads(ask(merchant, "history", number.lower(), "--json").stdout)["invoices"] == [invoice]


def test_an_outage_is_a_few_rows(merchant: Merchant) -> None:
    """Tries that fail in the same way are counted, and the first try that passes ends them."""
    merchant.sandbox.faults.add(request="upload", kind="status", status=500, count=2)
    merchant.drop_pdf("8.pdf")
    assert merchant.run("run", "--once", program=program(QUICK, checked=False)).returncode == 0
    (invoice,) = json.loads(ask(merchant, "history", "8", "--json").stdout)["invoices"]
    times = {step["step"]: step["times"] for step in invoice["steps"]}
    assert times["sent"] >= 2
    assert times["deferred"] >= 1
    assert len(invoice["steps"]) <= 9
    assert "times, the last" in ask(merchant, "history", "8").stdout


def test_a_wait_with_all_others_is_a_step(merchant: Merchant) -> None:
    """What was dropped during an outage says what it waited for, and until when, although nothing was written then."""
    timing = replace(QUICK, told_wait=0.05, stop_look=0.02, longest_probe=0.1)
    merchant.sandbox.faults.add("status", status=503, count=8)
    with running(merchant, program=program(timing, checked=False)) as daemon:
        merchant.drop_pdf("8.pdf")
        daemon.wait_for("api.paused")
        merchant.drop_pdf("9.pdf")
        daemon.wait_for("invoice.processed", 2)
        outage = str(daemon.events("api.paused")[0]["detail"]).split(":")[0]
        ask(merchant, "pause", "--reason", "stocktaking")
        daemon.wait_for("inbox.paused")
        merchant.drop_pdf("10.pdf")
        wait_until(lambda: "10.pdf" in ask(merchant, "status").stdout, what="it waits")
        time.sleep(0.1)  # the least wait that is told
        ask(merchant, "resume")
        daemon.wait_for("invoice.processed", 3)
    told = " ".join(ask(merchant, "history", "9").stdout.split())
    assert "waited with all others until" in told
    assert outage in told
    told = " ".join(ask(merchant, "history", "10").stdout.split())
    assert "paused by a person since" in told
    assert "stocktaking" in told
    assert outage not in told


def test_a_duplicate_and_a_retry_are_steps(merchant: Merchant) -> None:
    """The same PDF that comes again is told by its name, and what a person moved back by what that waived."""
    body = merchant.drop_pdf("8.pdf")
    assert merchant.run("run", "--once", program=UNCHECKED).returncode == 0
    merchant.drop_pdf("8_again.pdf", body)
    merchant.drop_pdf("9.pdf", body)
    assert merchant.run("run", "--once", program=UNCHECKED).returncode == 1
    (merchant.failed / "9.pdf").rename(merchant.drop / "9.pdf")
    assert merchant.run("run", "--once", program=UNCHECKED).returncode == 0
    told = " ".join(ask(merchant, "history", "8_again.pdf").stdout.split())
    assert "the same PDF came again as 8_again.pdf: filed, and not sent" in told
    told = " ".join(ask(merchant, "history", "9").stdout.split())
    assert "cannot be sent: sent_to_another_order" in told
    assert "moved back into the drop folder by a person, to be sent in spite of sent_to_another_order" in told
    assert "accepted by Channable" in told


def test_what_nobody_knows_is_said_with_an_exit_code(merchant: Merchant) -> None:
    """Nothing matches: 1 and a sentence; too little of a hash says so; a wrong request is 2 with a sentence."""
    assert ask(merchant, "history", "8").stderr == "nothing was done yet: there is no ledger\n"
    merchant.state.mkdir()
    with Ledger.open(merchant.state) as ledger:
        written(merchant, ledger, 8)
    for what, words in (
        ("9", 'nothing is known of "9"'),
        ("ab12", "needs 6 digits"),
        ("9\x1b[2J", 'nothing is known of "9\\x1b[2J"'),
        ("/", 'nothing is known of "/"'),
    ):
        done = ask(merchant, "history", what)
        assert (done.exit_code, done.stdout) == (1, "")
        assert words in done.stderr
    for arguments, words in (
        ((), "name an order"),
        (("--since", "yesterday"), "--since needs a day"),
        (("--since", "2026-13-01"), "--since needs a day"),
        (("8", "--csv", "--json"), "exclude each other"),
    ):
        done = ask(merchant, "history", *arguments)
        assert (done.exit_code, done.stdout) == (2, "")
        assert words in done.stderr


def test_many_matches_are_a_list(merchant: Merchant) -> None:
    """Up to five invoices are shown whole; of more there is a table, by whose hashes each can be named."""
    merchant.state.mkdir()
    with Ledger.open(merchant.state) as ledger:
        for number in range(6):
            entry = written(merchant, ledger, 8, sha256=f"{number}bc{number:061x}", file=f"8_{number}.pdf")
            told = ask(merchant, "history", "8").stdout
            assert told.count("an upload began") == (number + 1 if number < 5 else 0)
    assert "6 invoices: name one by its SHA-256" in told
    assert entry.sha256[:12] in told
    assert "8_5.pdf" in ask(merchant, "history", entry.sha256[:12]).stdout


def test_what_is_older_than_its_steps_is_told_by_its_entry(merchant: Merchant) -> None:
    """An invoice of before step 6 shows what its row says, and that this is all."""
    merchant.state.mkdir()
    with Ledger.open(merchant.state) as ledger:
        entry = written(merchant, ledger, 8)
        bad = ledger.failed(ledger.rejected(replace(entry, id=0, state=type(entry.state).RECEIVED, version=0,
            reference="9", order_id=9, file="9.pdf", attachment_id=None, uploaded_at=None), Reason.DAMAGED, "no root"),
            merchant.failed / "9.pdf")  # fmt: skip
        ledger._database.write("DELETE FROM steps RETURNING id", {})
        ledger.looked_at(entry, None, confirmed=True)
        assert bad.sent is False
    told = ask(merchant, "history", "8").stdout
    assert "dropped before steps were kept" in told
    (invoice,) = json.loads(ask(merchant, "history", "8", "--json").stdout)["invoices"]
    assert [step["step"] for step in invoice["steps"]] == ["found", "sent", "accepted", "filed", "confirmed"]
    assert invoice["complete"] is False
    assert "damaged: no root" in ask(merchant, "history", "9").stdout


def test_receipts_are_safe_csv(merchant: Merchant) -> None:
    """One line an accepted invoice, RFC 4180 in UTF-8; no cell is a formula, and no name breaks a line."""
    merchant.state.mkdir()
    names = ["=cmd|' /C calc'!A1.pdf", '8,"8".pdf', "+1.pdf", "@SUM(A1).pdf", "-1.pdf", "ü.pdf", "a\nb.pdf"]
    with Ledger.open(merchant.state) as ledger:
        for number, name in enumerate(names):
            written(merchant, ledger, number + 1, file=name, marketplace_number="-302" if number else None)
        copy = written(merchant, ledger, 1, file="copy.pdf", reference="1b", items="")
        ledger.rejected(replace(copy, id=0, version=0, state=type(copy.state).RECEIVED, reference="bad",
            attachment_id=None, uploaded_at=None), Reason.DAMAGED, "")  # fmt: skip
    done = ask(merchant, "history", "--since", "2023-01-01", "--csv")
    assert done.exit_code == 0
    raw = done.stdout_bytes
    assert raw.count(b"\r\n") == raw.count(b"\n") == len(names) + 1
    rows = list(csv.DictReader(io.StringIO(raw.decode(), newline="")))
    assert [row["file"] for row in rows] == [
        "'=cmd|' /C calc'!A1.pdf", '8,"8".pdf', "'+1.pdf", "'@SUM(A1).pdf", "'-1.pdf", "ü.pdf", "a\\nb.pdf",
    ]  # fmt: skip
    assert rows[1]["marketplace_number"] == "'-302"
    assert rows[0] | {"file": "", "accepted_at": ""} == {
        "inbox": "default", "file": "", "order_id": "1", "marketplace_number": "", "sha256": f"{1:064x}",
        "bytes": "1000", "accepted_at": "", "attachment_id": "101", "confirmed_at": "",
        "filed_as": str(merchant.processed / names[0]),
    }  # fmt: skip
    listed = json.loads(ask(merchant, "history", "--since", "2023-01-01", "--json").stdout)["receipts"]
    assert [item["attachment_id"] for item in listed if item["file"] == "ü.pdf"] == [106]
    assert json.loads(ask(merchant, "history", "--since", "2999-01-01", "--json").stdout)["receipts"] == []
    one = ask(merchant, "history", "3", "--csv").stdout.splitlines()
    assert len(one) == 2
    assert "7 invoices" in ask(merchant, "history", "--since", "2023-01-01").stdout
