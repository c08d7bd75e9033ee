"""Caches before the API that keep orders, though a token was sent: an invoice in doubt is found, or a person decides.

A fault proxy stands between the daemon and the sandbox (`fault_proxy`), and gives the first answer of each address
again.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fault_proxy import FaultProxy, Rule, fault_proxy
from invoicedrop.sandbox.paper import invoice_pdf
from invoicedrop.timing import Timing
from merchant import Daemon, Merchant, running
from quick_service import program
from scripted_api import Reply
from waiting import wait_until

_QUICK = Timing(
    doubt_looks=(0.02, 0.1), first_retry=0.02, file_retry=0.02, first_probe=0.02, longest_probe=1.0, order_fresh=0.0
)
_KINDS = {
    "says nothing, as nginx": (),
    "Age": (("age", "12"), ("via", "1.1 shop-cache")),
    "X-Cache": (("x-cache", "HIT from shop-cache"), ("via", "1.1 shop-cache")),
    "Varnish": (("x-varnish", "32770 3"), ("via", "1.1 shop-cache (Varnish/7.7)")),
    "RFC 9211": (("cache-status", "shop-cache; hit; ttl=30"), ("via", "1.1 shop-cache")),
}


@pytest.fixture
def proxy(merchant: Merchant) -> Iterator[FaultProxy]:
    """A fault proxy that the merchant's daemon takes for the API."""
    with fault_proxy(merchant.sandbox.url) as proxy:
        merchant.environment["INVOICEDROP_API_URL"] = proxy.url
        yield proxy


def _pdfs(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.pdf")}


def _lost(proxy: FaultProxy, orders: range, *, stored: bool = True) -> set[str]:
    """Let the answers to the first uploads of these orders be lost; return their invoices' names."""
    for order in orders:
        proxy.add(Rule("POST", f"/orders/{order}/attachments$", count=1, passed_on=stored, drop=True))
    return {f"{order}.pdf" for order in orders}


def _sent(merchant: Merchant) -> Counter[int]:
    return Counter(upload.order_id for upload in merchant.sandbox.uploads())


def _wait_for(daemon: Daemon, folder: Path, names: set[str]) -> None:
    wait_until(lambda: _pdfs(folder) == names, seconds=30, what=f"{names} in {folder.name}: {daemon.errors()}")


@pytest.mark.parametrize("kind", _KINDS)
def test_what_a_cache_has_kept_of_an_order_is_not_believed(merchant: Merchant, proxy: FaultProxy, kind: str) -> None:
    """Behind a cache that keeps each order as first read, four lost answers are found, and the cache is named."""
    names = _lost(proxy, range(1, 5))
    proxy.add(Rule("GET", keeps=True, kept_headers=_KINDS[kind]))
    for name in names:
        merchant.drop_pdf(name)
    with running(merchant, program=program(_QUICK, checked=False), resend_after="0.3") as daemon:
        _wait_for(daemon, merchant.processed, names)
        assert daemon.stop() == 0
    assert _sent(merchant) == dict.fromkeys(range(1, 5), 1)
    assert proxy.count("POST") == 4
    told = [line for line in daemon.events("upload.reconciled") if line["found"]]
    assert len(told) == 4
    for line in told:
        assert line["level"] == "warning"
        assert "a cache before the API keeps orders" in str(line["detail"])
        assert ("shop-cache" if _KINDS[kind] else "fault-proxy") in str(line["detail"])


def test_what_was_not_stored_is_sent_again_behind_a_cache(merchant: Merchant, proxy: FaultProxy) -> None:
    """A cache costs an honest invoice nothing: what the API has not got is sent again, once, and nobody is warned."""
    names = _lost(proxy, range(1, 4), stored=False)
    proxy.add(Rule("GET", keeps=True))
    for name in names:
        merchant.drop_pdf(name)
    with running(merchant, program=program(_QUICK, checked=False), resend_after="0.3") as daemon:
        _wait_for(daemon, merchant.processed, names)
        assert daemon.stop() == 0
    assert _sent(merchant) == dict.fromkeys(range(1, 4), 1)
    assert not [line for line in daemon.events("upload.reconciled") if line["level"] != "info"]


def test_without_a_cache_an_invoice_in_doubt_costs_one_list_before_it_is_sent_again(
    merchant: Merchant, proxy: FaultProxy
) -> None:
    """Only the look that decides asks for a list, of a few moments about the order's own."""
    names = _lost(proxy, range(5, 6), stored=False)
    merchant.drop_pdf(*names)
    with running(merchant, program=program(_QUICK, checked=False), resend_after="0.3") as daemon:
        _wait_for(daemon, merchant.processed, names)
        assert daemon.stop() == 0
    lists = [passage.path for passage in proxy.passages if "/orders?" in passage.path]
    assert len(lists) == 1
    assert "start_date=" in lists[0]
    assert "end_date=" in lists[0]


@pytest.mark.parametrize("known", ["moment", "number"])
def test_an_order_is_found_by_its_moment_or_by_its_number(merchant: Merchant, proxy: FaultProxy, known: str) -> None:
    """An order that says no moment, or another one than the list goes by, is found by its marketplace number."""
    names = _lost(proxy, range(5, 6))
    proxy.add(Rule("GET", keeps=True))
    if known == "number":
        merchant.sandbox.store.add_order(5, hidden=("created",))
    merchant.drop_pdf(*names)
    with running(merchant, program=program(_QUICK, checked=False), resend_after="0.3") as daemon:
        _wait_for(daemon, merchant.processed, names)
        assert daemon.stop() == 0
    assert _sent(merchant) == {5: 1}
    assert proxy.count("GET", "search=") == (known == "number")


def test_where_no_list_tells_a_person_decides(merchant: Merchant, proxy: FaultProxy) -> None:
    """A cache that takes all lists for one gives no proof: a few more looks, then it is a question; never two of it."""
    names = _lost(proxy, range(5, 6))
    proxy.add(Rule("GET", keeps=True, without_query=True, kept_headers=(("age", "9"),)))
    merchant.drop_pdf("2.pdf")
    with running(merchant, program=program(_QUICK, checked=False), resend_after="0.1") as daemon:
        _wait_for(daemon, merchant.processed, {"2.pdf"})
        # From now on the list of orders is in the cache.
        merchant.run("check")
        assert "keeps answers" in merchant.run("check").stdout
        merchant.drop_pdf(*names)
        _wait_for(daemon, merchant.failed, names)
        assert daemon.stop() == 0
    assert _sent(merchant) == {2: 1, 5: 1}
    assert daemon.events("invoice.failed")[-1]["reason"] == "outcome_unclear"
    assert "a cache" in str(daemon.events("invoice.failed")[-1]["detail"])
    assert len(daemon.events("upload.reconciled")) == 5


def test_an_order_from_a_cache_is_read_again_before_anything_is_sent(merchant: Merchant, proxy: FaultProxy) -> None:
    """An order that was cancelled, or got these bytes, after a cache took it is not taken for what it was before."""
    store = merchant.sandbox.store
    proxy.add(Rule("GET", keeps=True, kept_headers=_KINDS["Age"]))
    with running(merchant, program=program(_QUICK, checked=False)) as daemon:
        first = {"5.pdf", "6.pdf"}
        for name in first:
            merchant.drop_pdf(name)
        _wait_for(daemon, merchant.processed, first)
        store.add_order(5, status_shipped="cancelled")
        content = invoice_pdf("of another tool")
        store.attach(6, content)
        merchant.drop_pdf("5_2.pdf", invoice_pdf("another"))
        merchant.drop_pdf("6_2.pdf", content)
        _wait_for(daemon, merchant.failed, {"5_2.pdf"})
        _wait_for(daemon, merchant.processed, first | {"6_2.pdf"})
        assert daemon.stop() == 0
    assert proxy.count("POST") == 2
    assert daemon.events("invoice.failed")[0]["reason"] == "order_cancelled"


def test_where_lists_are_refused_a_person_decides_and_is_obeyed(merchant: Merchant, proxy: FaultProxy) -> None:
    """A box that lets no list pass makes a question of what was lost, no outage; moved back, the invoice is sent."""
    names = _lost(proxy, range(5, 6), stored=False)
    proxy.add(Rule("GET", r"/orders\?", passed_on=False, reply=Reply(b"Forbidden", 403)))
    merchant.drop_pdf(*names)
    with running(merchant, program=program(_QUICK, checked=False), resend_after="0.1") as daemon:
        _wait_for(daemon, merchant.failed, names)
        daemon.wait_for("invoice.failed")  # it is written after the move
        assert daemon.events("invoice.failed")[0]["reason"] == "outcome_unclear"
        assert daemon.events("api.paused") == []
        (merchant.failed / "5.pdf").rename(merchant.drop / "5.pdf")
        _wait_for(daemon, merchant.processed, names)
        assert daemon.stop() == 0
    assert _sent(merchant) == {5: 1}
