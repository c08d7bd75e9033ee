import io
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from invoicedrop.channable.models import Order
from invoicedrop.commands import access, orders
from invoicedrop.commands.orders import file_name
from invoicedrop.inbox.names import parse_name
from invoicedrop.invoice import OrderIdKind
from invoicedrop.ledger.buckets import BucketLevel
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.sandbox import CUSTOMER_SURNAME, STATUSES, Options, marketplace_number, serve
from invoicedrop.sandbox.samples import SAMPLES
from invoicedrop.settings.settings import Settings
from invoicedrop.system.local_time import day, iso
from merchant import Merchant


def _run(settings: Settings, *, as_json: bool = False, **options: Any) -> tuple[int, str]:
    out = io.StringIO()
    options = {"search": "", "days": 30, "without_invoice": False, "inbox": None} | options
    console = Console(file=out, width=80, force_terminal=True, no_color=True, highlight=False)
    code = orders.orders(settings, console, as_json=as_json, **options)
    return code, re.sub("\x1b\\[[0-9;]*m", "", out.getvalue())


def _listed(settings: Settings, **options: Any) -> list[dict[str, Any]]:
    code, text = _run(settings, as_json=True, **options)
    assert code == 0
    listed = json.loads(text)["orders"]
    assert isinstance(listed, list)
    return listed


def test_orders_show_the_name_that_a_file_must_have(merchant: Merchant) -> None:
    """The name is the order's Channable id or marketplace number, as set; the other number stands beside it."""
    (order,) = _listed(merchant.settings(), search=marketplace_number(93))
    assert (order["file_name"], order["marketplace_number"]) == ("93.pdf", marketplace_number(93))
    settings = merchant.settings(order_id_kind="marketplace")
    (order,) = _listed(settings, search=marketplace_number(93))
    assert (order["file_name"], order["id"]) == (f"{marketplace_number(93)}.pdf", 93)
    lines = [line.split() for line in _run(settings, search=marketplace_number(93))[1].splitlines()]
    assert lines[1][:3] == [f"{marketplace_number(93)}.pdf", "kaufland", "93"]


def test_without_invoice_lists_the_orders_that_have_none(merchant: Merchant) -> None:
    """Orders that have an invoice are left out; another kind of document is no invoice."""
    merchant.sandbox.store.attach(100, b"%PDF-")
    merchant.sandbox.store.attach(99, b"%PDF-", attachment_type="PACKING_SLIP")
    listed = _listed(merchant.settings())
    assert [len(order["invoices"]) for order in listed[:3]] == [1, 0, 0]
    without_invoice = _listed(merchant.settings(), without_invoice=True)
    assert [order["id"] for order in without_invoice[:2]] == [99, 98]
    assert len(without_invoice) == len(listed) - 1


def test_days_limit_the_list(merchant: Merchant) -> None:
    """Only orders of the last `days` days are listed, and an empty list is a sentence."""
    merchant.sandbox.store.add_order(500, created=datetime.now(UTC) - timedelta(days=3, hours=1))
    assert 500 in {order["id"] for order in _listed(merchant.settings(), days=4)}
    assert 500 not in {order["id"] for order in _listed(merchant.settings(), days=3)}
    assert "No order found in the last 24 hours." in _run(merchant.settings(), days=1, search="nothing like it")[1]


def test_long_lists_come_in_pages(merchant: Merchant) -> None:
    """250 orders take three requests of a hundred orders, and each order is listed once."""
    with serve(Options(orders=250, rate=0)) as api:
        settings = merchant.settings(api_url=api.url)
        assert [order["id"] for order in _listed(settings)] == list(range(250, 0, -1))
        assert api.journal.arrived("orders") == 3
        assert all("limit=100" in request.query for request in api.requests)


def test_table_fits_80_columns_and_shows_no_customer(merchant: Merchant) -> None:
    """Numbers and dates stay whole at 80 columns; no customer's name and no token is printed."""
    merchant.sandbox.store.attach(98, b"%PDF-", title=f"{CUSTOMER_SURNAME}.pdf")
    for as_json in (False, True):
        code, text = _run(merchant.settings(), as_json=as_json)
        assert code == 0
        assert CUSTOMER_SURNAME not in text
        assert merchant.sandbox.token not in text
        if not as_json:
            assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
            assert all(f" {marketplace_number(number)} " in text for number in range(90, 101))
            assert f"{len(text.splitlines()) - 2} orders found in the last 30 days." in text


def test_marketplace_texts_are_shown_literally(merchant: Merchant) -> None:
    """A marketplace's number is never read as markup, and never controls the terminal."""
    merchant.sandbox.store.add_order(600, channel_id="[red]7\x1b[2J", channel_name="[bold]x", created=datetime.now(UTC))
    _, text = _run(merchant.settings(), days=1)
    assert "[red]7\\x1b[2J" in text
    assert "[bold]x" in text


@pytest.mark.parametrize(
    ("channel_id", "order_number", "name"),
    [
        ("302-1", "302-2", "302-1.pdf"),
        ("A_1", "302-2", "302-2.pdf"),
        ("A/1", None, None),
        (None, None, None),
        ("A 1", "", None),
        ("x" * 101, None, None),
    ],
)
def test_a_number_that_no_file_name_can_express(
    channel_id: str | None, order_number: str | None, name: str | None
) -> None:
    """Where a number would be read differently from a file name, the order's other number is used, or none."""
    order = Order.model_validate(
        {"id": 1, "channel_id": channel_id, "data": {"extra": {"channel_order_number": order_number}}}
    )
    assert file_name(order, "marketplace") == name


def test_orders_that_cannot_be_named_are_listed_all_the_same(merchant: Merchant) -> None:
    """An order whose number cannot be a file name is shown with its id and a note."""
    merchant.sandbox.store.add_order(600, channel_id="A/1", created=datetime.now(UTC))
    _, text = _run(merchant.settings(order_id_kind="marketplace"), days=1, search="A/1")
    assert re.search(r"\(no name can say it\)\s+\w+\s+600", text)


# What is owed


@pytest.fixture
def samples(tmp_path: Path) -> Iterator[Merchant]:
    """A merchant with orders of every kind, as `sandbox/samples` has them."""
    with serve(Options(orders=0, samples=True, rate=0)) as api:
        yield Merchant(tmp_path, api)


OWED = {9002, 9009, *range(9021, 9027), 9033, 9035, 9036, 9042, 9051, 9052, 9053}
"""Shipped, wholly or in part, and nothing stands against an invoice."""


def _json(merchant: Merchant, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = merchant.run("orders", "--json", *arguments)
    return done.returncode, json.loads(done.stdout)


def test_without_invoice_lists_what_is_owed_and_nothing_else(samples: Merchant) -> None:
    """Shipped orders of channels that take invoices, or are unknown; not those cancelled, unshipped or for trial."""
    code, answer = _json(samples, "--without-invoice")
    assert code == 0
    assert {order["id"] for order in answer["orders"]} == OWED
    assert all(order["owed"] and order["not_owed_because"] is None for order in answer["orders"])
    shown = samples.run("orders", "--without-invoice").stdout
    assert f"{len(OWED)} orders of the last 30 days are owed an invoice." in shown
    assert "Whether these channels take invoices is not known: example_bazaar." in shown


@pytest.mark.parametrize("arguments", [("--all",), ("--without-invoice", "--all")])
def test_all_lists_the_rest_with_the_cause(samples: Merchant, arguments: tuple[str, ...]) -> None:
    """Every order is listed; each that is owed none has the cause why."""
    code, answer = _json(samples, *arguments)
    causes = {order["id"]: order["not_owed_because"] for order in answer["orders"]}
    assert code == 0
    assert set(causes) == set(SAMPLES)
    assert {number for number, cause in causes.items() if cause is None} == OWED
    assert causes[9003] == "cancelled"
    assert causes[9006] == "not shipped: processing"
    assert causes[9031] == causes[9032] == "a test or demo order"
    assert causes[9034] == "Channable takes no invoice for it"
    assert causes[9041] == "has an invoice"
    shown = samples.run("orders", *arguments).stdout
    assert re.search(r"9003\.pdf +amazon .* cancelled *\n", shown)
    assert f"{len(SAMPLES)} orders found in the last 30 days." in shown


def test_since_when_an_invoice_is_owed_is_shown(merchant: Merchant) -> None:
    """The API has no date of shipment: what is shown is since when the order is as it is."""
    modified = datetime.now(UTC) - timedelta(hours=30, minutes=1)
    created = datetime.now(UTC) - timedelta(days=9)
    merchant.sandbox.store.add_order(600, created=created, modified=modified)
    merchant.sandbox.store.add_order(601, created=created, hidden=("modified",))
    orders = {order["id"]: order for order in _json(merchant, "--without-invoice")[1]["orders"]}
    assert (orders[600]["owed_since"], orders[600]["owed_hours"]) == (iso(modified), 30.0)
    assert (orders[601]["owed_since"], orders[601]["owed_hours"]) == (iso(created), 216.0)
    shown = merchant.run("orders", "--without-invoice").stdout
    assert f"{day(modified)}, 30 h" in shown
    assert f"{day(created)}, 9 days" in shown


def test_of_no_order_there_are_no_items(merchant: Merchant) -> None:
    """Where nothing is found, `--items` says that, and nothing of orders that are not there."""
    shown = merchant.run("orders", "--items", "--search", "nobody has this").stdout
    assert shown == "No order found in the last 30 days.\n"


def test_overdue_is_an_exit_code(merchant: Merchant) -> None:
    """`--overdue` lists what is owed, and exits 1 if an invoice is owed for longer than so many hours."""
    moment = datetime.now(UTC) - timedelta(hours=100)
    merchant.sandbox.store.add_order(600, created=moment)
    merchant.sandbox.store.add_order(601, created=moment, status_shipped="cancelled")
    merchant.sandbox.store.add_order(602, created=datetime.now(UTC) - timedelta(hours=1))
    code, answer = _json(merchant, "--overdue", "99")
    overdue = {order["id"]: order["overdue"] for order in answer["orders"]}
    assert code == 1
    assert (overdue[600], overdue[602]) == (True, False)
    assert 601 not in overdue
    shown = merchant.run("orders", "--overdue", "99").stdout
    assert "1 of them for more than 99 hours." in shown
    marked = {line.split()[0] for line in shown.splitlines() if line.rstrip().endswith(", overdue")}
    assert marked == {"600.pdf"}, "in words, as a pipe has no colours"
    done = merchant.run("orders", "--overdue", "101")
    assert (done.returncode, "none of them for more than 101 hours." in done.stdout) == (0, True)
    assert merchant.run("orders", "--overdue", "99", "--all").returncode == 1
    merchant.sandbox.store.attach(600, b"%PDF-")
    assert merchant.run("orders", "--overdue", "99").returncode == 0


def test_an_order_without_any_date_is_overdue(merchant: Merchant) -> None:
    """Nobody can tell for how long it is owed an invoice, so somebody has to look at it."""
    merchant.sandbox.store.add_order(600, created=datetime.now(UTC), hidden=("created", "modified"))
    code, answer = _json(merchant, "--overdue", "700")
    (order,) = (order for order in answer["orders"] if order["id"] == 600)
    assert (code, order["owed_since"], order["owed_hours"], order["overdue"]) == (1, None, None, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--overdue", "720"), "--overdue 720 needs --days 31 or more"),
        (("--overdue", "24", "--days", "1"), "--overdue 24 needs --days 2 or more"),
        (("--overdue", "-1"), "--overdue"),
        (("--overdue", "soon"), "--overdue"),
        (("--days", "0"), "--days"),
    ],
)
def test_an_overdue_that_cannot_come_true_is_wrong_usage(
    merchant: Merchant, arguments: tuple[str, ...], words: str
) -> None:
    """An alarm that could never ring, or no number of hours, exits 2 and says why; the API is not asked."""
    done = merchant.run("orders", *arguments)
    assert (done.returncode, done.stdout, words in done.stderr) == (2, "", True)
    assert merchant.sandbox.requests == []


def test_overdue_of_one_project_is_told_though_another_does_not_answer(merchant: Merchant) -> None:
    """What is known to be overdue is not hidden behind a project that cannot be asked."""
    assert _run(_two_projects(merchant, 7777), overdue=0)[0] == 1


@pytest.mark.parametrize("kind", ["channable", "marketplace"])
def test_items_show_what_a_name_may_say(merchant: Merchant, kind: OrderIdKind) -> None:
    """Of bol's orders the item ids are shown, and the name that is for each of them is read as that."""
    merchant.sandbox.store.add_order(602, channel_name="bol", created=datetime.now(UTC))
    settings = merchant.settings(order_id_kind=kind)
    listed = {order["id"]: order for order in _listed(settings)}
    assert listed[602]["item_ids"] == [6021, 6022, 6023]
    name = parse_name(listed[602]["file_name_for_items"], kind)
    assert (f"{name.order}.pdf", name.item_ids) == (listed[602]["file_name"], (6021, 6022, 6023))
    others = [order for order in listed.values() if order["channel"] != "bol"]
    assert {(tuple(order["item_ids"]), order["file_name_for_items"]) for order in others} == {((), None)}
    _, text = _run(settings, items=True, days=1)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "6021 6022" in text
    assert listed[602]["file_name_for_items"] in text
    assert "6021" not in _run(settings, days=1)[1]


def test_items_of_other_channels_are_no_use(merchant: Merchant) -> None:
    """Where no order listed takes invoices for single items, that is said."""
    merchant.sandbox.store.add_order(600, channel_name="amazon", created=datetime.now(UTC))
    text = _run(merchant.settings(), items=True, search=marketplace_number(600))[1]
    assert "None of these orders takes invoices for single items: only bol's do." in text


@pytest.mark.parametrize("options", [{"without_invoice": True}, {"everything": True}, {"overdue": 1, "items": True}])
def test_lists_of_what_is_owed_fit_80_columns(samples: Merchant, options: dict[str, Any]) -> None:
    """Names and numbers stay whole at 80 columns, whichever options are combined, with either kind of name."""
    for kind in ("channable", "marketplace"):
        _, text = _run(samples.settings(order_id_kind=kind), **options)
        assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
        assert all(f"{marketplace_number(number)}" in text for number in OWED)


def test_orders_that_cannot_be_read_are_told(merchant: Merchant) -> None:
    """A list that lacks an order says so: it would look as if that one were owed nothing."""
    merchant.sandbox.store.add_order(600, created=datetime.now(UTC), shown={"id": None})
    merchant.sandbox.store.add_order(601, created=datetime.now(UTC), shown={"attachments": [{"id": "x"}]})
    code, answer = _json(merchant, "--without-invoice")
    assert code == 0
    assert answer["unreadable"] == [{"inbox": "default", "orders": 2}]
    done = merchant.run("orders", "--without-invoice", "--days", "1", "--search", marketplace_number(600))
    assert done.stderr == (
        "this list is not complete: 1 order cannot be read, as Channable describes it in an unknown way; look in "
        "Channable whether it is owed an invoice\n"
    )
    assert "No order of the last 24 hours is owed an invoice, as far as orders can be read." in done.stdout


def test_an_order_that_does_not_say_whether_it_was_shipped_is_told(merchant: Merchant) -> None:
    """It is not on the list of what is owed, and neither is it hidden."""
    merchant.sandbox.store.add_order(600, created=datetime.now(UTC), hidden=("status_shipped",))
    done = merchant.run("orders", "--without-invoice")
    assert (done.returncode, "600.pdf" in done.stdout) == (0, False)
    assert done.stderr.startswith("1 order without an invoice does not say whether it was shipped")
    code, answer = _json(merchant, "--all")
    assert (code, answer["undecided"]) == (0, [{"inbox": "default", "id": 600}])
    (order,) = (order for order in answer["orders"] if order["id"] == 600)
    assert (order["owed"], order["not_owed_because"]) == (None, "shipped or not? Its status is missing")


def test_json_has_what_the_api_says_of_an_order(samples: Merchant) -> None:
    """Status, platform and what it says of attachments stand beside what is known of the channel; no customer does."""
    done = samples.run("orders", "--json")
    orders = {order["id"]: order for order in json.loads(done.stdout)["orders"]}
    assert {orders[9001 + number]["status"] for number in range(len(STATUSES))} == set(STATUSES)
    assert (orders[9033]["platform"], orders[9034]["takes_attachments"]) == ("example_shop", False)
    assert (orders[9035]["takes_attachments"], orders[9031]["is_trial"]) == (None, True)
    assert (orders[9026]["channel_takes_invoices"], orders[9023]["channel_takes_invoices"]) == (None, True)
    assert CUSTOMER_SURNAME not in done.stdout + done.stderr


# Several inboxes


def _two_projects(merchant: Merchant, second_project: int) -> Settings:
    settings = merchant.settings()
    other = settings.inboxes[0].model_copy(update={"name": "Kaufland", "project_id": second_project})
    return settings.model_copy(update={"inboxes": (settings.inboxes[0], other)})


def test_each_project_is_asked_once(merchant: Merchant) -> None:
    """Two inboxes of one project list its orders once; of two projects, both are listed under their inbox."""
    with serve(Options(projects=(2001, 2002), orders={2001: [5], 2002: [6]}, rate=0)) as api:
        merchant.environment["INVOICEDROP_API_URL"] = api.url
        assert [order["id"] for order in _listed(_two_projects(merchant, 2001))] == [5]
        assert api.journal.arrived("orders") == 1
        both = _two_projects(merchant, 2002)
        assert [(order["inbox"], order["id"]) for order in _listed(both)] == [("default", 5), ("Kaufland", 6)]
        assert [order["id"] for order in _listed(both, inbox="kaufland")] == [6]
        lines = _run(both)[1].splitlines()
        assert [line.split()[:2] for line in lines[1:3]] == [["default", "5.pdf"], ["Kaufland", "6.pdf"]]


def test_an_unknown_inbox_is_wrong_usage(merchant: Merchant, capsys: pytest.CaptureFixture[str]) -> None:
    """For an unknown name the existing ones are printed to stderr, with exit 2 and nothing on stdout."""
    assert _run(merchant.settings(), inbox="amazon") == (2, "")
    assert capsys.readouterr().err == "there is no inbox called amazon; there are: default\n"


def test_a_project_that_cannot_be_asked_does_not_hide_the_others(
    merchant: Merchant, capsys: pytest.CaptureFixture[str]
) -> None:
    """One project's orders are listed, the other one's trouble is a sentence on stderr, and the exit code is 75."""
    settings = _two_projects(merchant, 7777)
    code, text = _run(settings, days=1)
    assert code == 75
    assert "100.pdf" in text
    error = capsys.readouterr().err
    assert error.startswith("the orders of inbox Kaufland cannot be listed now: ")
    assert "may not use this company or project" in error
    code, text = _run(settings, as_json=True)
    assert code == 75
    assert [project["inbox"] for project in json.loads(text)["unanswered"]] == ["Kaufland"]


# The API's trouble


def test_an_api_in_trouble_is_a_sentence_and_75(merchant: Merchant, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong token, a gateway's timeout and a dead server are one sentence each, with nothing on stdout."""
    assert _run(merchant.settings(api_token="another")) == (75, "")
    assert "the API token is wrong, revoked or expired" in capsys.readouterr().err
    merchant.sandbox.faults.add("status", "orders", status=504, skip=1, count=1)
    with_pages = merchant.settings(api_url=merchant.sandbox.url)
    merchant.sandbox.store.add_order(501, created=datetime.now(UTC))
    assert _run(with_pages) == (75, "")
    assert "HTTP 504" in capsys.readouterr().err
    merchant.sandbox.stop()
    assert _run(merchant.settings()) == (75, "")
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be reached" in line


def test_a_refusal_by_the_rate_limit_is_waited_for(merchant: Merchant) -> None:
    """429 means that others use the bucket too: the listing continues after a wait instead of failing."""
    merchant.sandbox.faults.add("rate_limited", "orders", retry_after="0", count=1)
    assert len(_listed(merchant.settings(), days=1, timing=replace(access.TIMING, first_probe=0.05))) > 1
    assert [request.status for request in merchant.sandbox.requests] == [429, 200]


def test_waiting_for_the_rate_limit_ends(merchant: Merchant, capsys: pytest.CaptureFixture[str]) -> None:
    """A rate limit that stays used up for longer than a command waits is a sentence, and exit 75."""
    merchant.sandbox.faults.add("rate_limited", "orders", retry_after="0")
    assert _run(merchant.settings(), timing=replace(access.TIMING, rate_limit_patience=0.05)) == (75, "")
    assert "rate limit is used up" in capsys.readouterr().err


def test_the_bucket_that_the_daemon_filled_is_respected(merchant: Merchant) -> None:
    """A command starts at the level that the ledger remembers, so that it does not spend the burst a second time."""
    merchant.state.mkdir()
    settings = merchant.settings(requests_per_second="4", burst="200")
    (inbox,) = settings.inboxes
    with Ledger.open(merchant.state) as ledger:
        with access.open_project(inbox, ledger) as project:
            assert project.client.rate_limiter.level()[0] == 0
        ledger.buckets.remember(inbox.account, BucketLevel(150.0, time.time()))
        with access.open_project(inbox, ledger) as project:
            assert project.client.rate_limiter.level()[0] == pytest.approx(150, abs=2)
        with access.open_project(inbox, None) as project:
            assert project.client.rate_limiter.level()[0] == 0


def test_listing_orders_makes_no_ledger(merchant: Merchant) -> None:
    """Listing orders before the daemon ever ran creates no state folder."""
    assert _listed(merchant.settings(), days=1)
    assert not merchant.state.exists()


@pytest.mark.parametrize("zone", ["AHEAD-12", "BEHIND+12"])
def test_any_date_of_an_order_can_be_shown(merchant: Merchant, monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    """An order of the last minute of the year 9999 is listed, whatever the time zone, however far the look back."""
    merchant.sandbox.store.add_order(600, created=datetime.max.replace(tzinfo=UTC))
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        assert "600.pdf" in _run(merchant.settings(), days=10_000_000)[1]
        assert _listed(merchant.settings())[0]["created"].startswith("9999-12-3")
    time.tzset()
