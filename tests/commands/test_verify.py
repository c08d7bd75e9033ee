import hashlib
import io
import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from rich.console import Console

from invoicedrop.commands import verify
from invoicedrop.invoice import Receipt
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.settings.settings import Settings
from merchant import Merchant


def _verify(settings: Settings, *, order: int | None = None, days: int = 30, as_json: bool = False) -> tuple[int, str]:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, no_color=True, highlight=False)
    code = verify.verify(settings, console, order=order, days=days, as_json=as_json)
    return code, re.sub("\x1b\\[[0-9;]*m", "", out.getvalue())


def _results(settings: Settings, **options: Any) -> tuple[int, dict[str, str]]:
    code, text = _verify(settings, as_json=True, **options)
    return code, {invoice["file"]: invoice["result"] for invoice in json.loads(text)["invoices"]}


class Receipts:
    """A ledger's receipts, and the attachments in the sandbox that they stand for."""

    def __init__(self, merchant: Merchant, ledger: Ledger) -> None:
        self._merchant = merchant
        self._ledger = ledger

    def add(self, order_id: int, *, stored: bytes | None = None, name: str | None = None, attached: bool = True) -> int:
        """Record a receipt for this order; return the attachment id. `stored`: Channable has these bytes instead."""
        inbox = self._merchant.settings().inboxes[0]
        body = f"%PDF-1.7 invoice of order {order_id} %%EOF".encode()
        number = 9_000 + order_id
        if attached:
            number = self._merchant.sandbox.store.attach(order_id, body if stored is None else stored).id
        entry = Entry(
            account=inbox.account,
            project_id=inbox.project_id,
            reference=name or str(order_id),
            sha256=hashlib.sha256(body).hexdigest(),
            inbox=inbox.name,
            file=name or f"{order_id}.pdf",
            size=len(body),
            first_seen=time.time(),
            order_id=order_id,
        )
        self._ledger.processed(self._ledger.uploaded(self._ledger.uploading(entry), Receipt(number)), None)
        return number


@pytest.fixture
def receipts(merchant: Merchant) -> Iterator[Receipts]:
    """An open ledger, as beside a running daemon."""
    merchant.state.mkdir()
    with Ledger.open(merchant.state) as ledger:
        yield Receipts(merchant, ledger)


def test_what_is_the_same_is_one_line(merchant: Merchant, receipts: Receipts) -> None:
    """Where every attachment has our bytes the command prints how many, lists none, and exits with 0."""
    receipts.add(5)
    receipts.add(6)
    assert _verify(merchant.settings()) == (
        0,
        "2 uploaded in the last 30 days: 2 the same in Channable, byte for byte.\n",
    )
    assert _results(merchant.settings()) == (0, {"5.pdf": "same", "6.pdf": "same"})


@pytest.mark.parametrize(
    "stored", [b"something else", b"", b"%PDF-1.7 invoice of order 5 %%EO", b"%PDF-1.7 invoice of order 5 %%EOF "]
)
def test_other_bytes_differ(merchant: Merchant, receipts: Receipts, stored: bytes) -> None:
    """Other bytes, even a byte more or less, are listed with file and order, and the exit code is 1."""
    receipts.add(5, stored=stored)
    receipts.add(6)
    code, text = _verify(merchant.settings())
    assert code == 1
    assert re.search(r"^differs  5\.pdf +5 +1 ", text, re.MULTILINE)
    assert "6.pdf" not in text
    assert "Channable holds other bytes" in text
    assert _results(merchant.settings()) == (1, {"5.pdf": "differs", "6.pdf": "same"})


def test_what_is_gone_is_missing_and_explained(merchant: Merchant, receipts: Receipts) -> None:
    """An attachment that is no longer there, or whose file has expired, is missing; the usual reasons are named."""
    number = receipts.add(5)
    receipts.add(6, attached=False)
    merchant.sandbox.store.forget_file(number)
    assert _results(merchant.settings()) == (1, {"5.pdf": "missing", "6.pdf": "missing"})
    _, text = _verify(merchant.settings())
    words = " ".join(text.split())
    assert "2 missing" in words
    assert "Amazon keeps only the latest invoice of an order" in words
    assert "removes files some time after the upload" in words


def test_one_order_can_be_asked_for(merchant: Merchant, receipts: Receipts) -> None:
    """With an order only that order's receipts are compared, and each is listed, even if it is the same."""
    receipts.add(5)
    receipts.add(6, stored=b"other")
    assert _results(merchant.settings(), order=5) == (0, {"5.pdf": "same"})
    assert re.search(r"^same    5\.pdf", _verify(merchant.settings(), order=5)[1], re.MULTILINE)
    assert _verify(merchant.settings(), order=7) == (0, "Nothing was uploaded to order 7 in the last 30 days.\n")


def test_days_limit_what_is_compared(merchant: Merchant, receipts: Receipts) -> None:
    """What was uploaded more than `days` days ago is not compared."""
    receipts.add(5)
    receipts.add(6)
    with closing(sqlite3.connect(merchant.state / "ledger.sqlite3")) as database, database:
        database.execute("UPDATE invoices SET uploaded_at = uploaded_at - 3 * 86400 WHERE order_id = 5")
    assert _results(merchant.settings(), days=2) == (0, {"6.pdf": "same"})
    assert _results(merchant.settings(), days=4) == (0, {"5.pdf": "same", "6.pdf": "same"})


def test_one_upload_under_two_names_is_compared_once(merchant: Merchant, receipts: Receipts) -> None:
    """Two entries that share a receipt stand for one attachment: it is downloaded once."""
    receipts.add(5)
    with closing(sqlite3.connect(merchant.state / "ledger.sqlite3")) as database, database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(invoices)")]
        names = ", ".join(set(columns) - {"id", "reference"})
        database.execute(f"INSERT INTO invoices (reference, {names}) SELECT 'again', {names} FROM invoices")
    code, results = _results(merchant.settings())
    assert (code, len(results)) == (0, 1)
    assert merchant.sandbox.journal.arrived("download") == 1


def test_without_a_ledger_there_is_nothing_to_compare(merchant: Merchant) -> None:
    """Before the daemon ever ran, nothing was uploaded: exit 0, no request, no ledger."""
    assert _verify(merchant.settings(), days=1) == (0, "Nothing was uploaded in the last 1 day.\n")
    assert json.loads(_verify(merchant.settings(), as_json=True)[1]) == {
        "invoices": [],
        "totals": {"same": 0, "differs": 0, "missing": 0, "unasked": 0},
        "questioned": [],
    }
    assert not merchant.state.exists()
    assert merchant.sandbox.journal.arrived() == 0


def test_names_are_shown_literally(merchant: Merchant, receipts: Receipts) -> None:
    """Markup and control characters in a file name are printed literally."""
    receipts.add(5, stored=b"", name="5 [red]\x1b[2J.pdf")
    assert "5 [red]\\x1b[2J.pdf" in _verify(merchant.settings())[1]


# What cannot be compared


def test_an_api_that_cannot_be_asked_is_75(
    merchant: Merchant, receipts: Receipts, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a wrong token nothing is known about the invoices; one sentence says why, after two requests."""
    for number in (5, 6, 7):
        receipts.add(number)
    code, text = _verify(merchant.settings(api_token="another"))
    assert (code, text) == (75, "3 uploaded in the last 30 days: 3 not compared.\n")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("not everything could be compared: the API token is wrong")
    assert merchant.sandbox.journal.arrived() == 2


def test_one_order_in_trouble_does_not_stop_the_others(
    merchant: Merchant, receipts: Receipts, capsys: pytest.CaptureFixture[str]
) -> None:
    """A single download that fails is reported, the rest is compared, and the exit code says that work is left."""
    for number in (5, 6, 7):
        receipts.add(number)
    merchant.sandbox.faults.add("status", "attachment", status=500, order_id=6)
    assert _results(merchant.settings()) == (75, {"5.pdf": "same", "6.pdf": "unasked", "7.pdf": "same"})
    assert "order 6: HTTP 500" in capsys.readouterr().err


def test_a_difference_outweighs_what_could_not_be_compared(merchant: Merchant, receipts: Receipts) -> None:
    """If one invoice differs and another could not be compared, the exit code is that of the difference."""
    receipts.add(5, stored=b"other")
    receipts.add(6)
    merchant.sandbox.faults.add("truncate", "download", skip=1)
    assert _results(merchant.settings()) == (1, {"5.pdf": "differs", "6.pdf": "unasked"})


def test_a_project_that_is_no_longer_set_up_is_reported(
    merchant: Merchant, receipts: Receipts, capsys: pytest.CaptureFixture[str]
) -> None:
    """Receipts of a project that no inbox has any more cannot be compared, and no request is made for them."""
    receipts.add(5)
    assert _results(merchant.settings(project_id="77")) == (75, {"5.pdf": "unasked"})
    assert "no inbox is set up for project 2001" in capsys.readouterr().err
    assert merchant.sandbox.journal.arrived() == 0


def test_the_token_does_not_go_to_the_download_host(merchant: Merchant, receipts: Receipts) -> None:
    """The attachment's URL is requested with the token; the file itself is downloaded from another host without it."""
    receipts.add(5)
    assert _verify(merchant.settings())[0] == 0
    assert {request.kind: request.had_authorization for request in merchant.sandbox.requests} == {
        "attachment": True,
        "download": False,
    }


def test_an_order_that_has_shown_trouble_is_a_finding(merchant: Merchant, receipts: Receipts) -> None:
    """The bytes are the same, but the order reports trouble: exit 1, and which order, but not in whose words."""
    receipts.add(5)
    receipts.add(6)
    with Ledger.open(merchant.state) as ledger:
        for entry in ledger.uploaded_since(0.0, 6):
            ledger.looked_at(entry, None, question="error: Ms Zonnebloem has no VAT number")
    code, text = _verify(merchant.settings())
    assert code == 1
    assert "2 uploaded in the last 30 days: 2 the same in Channable, byte for byte.\n" in text
    assert "Accepted, but trouble is reported: 1 invoice\n" in text
    assert "6.pdf" in text
    assert "Zonnebloem" not in text
    code, text = _verify(merchant.settings(), as_json=True)
    assert [(line["file"], line["order_id"]) for line in json.loads(text)["questioned"]] == [("6.pdf", 6)]
    assert _verify(merchant.settings(), order=5)[0] == 0
