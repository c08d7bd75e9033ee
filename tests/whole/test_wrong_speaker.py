"""Who speaks: answers of boxes in between, of the API about one resource, and odd ones, to the real command.

A fault proxy stands between the daemon and the sandbox (`fault_proxy`). What counts is what the sandbox has in the end,
what lies where, and what the log says.
"""

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from fault_proxy import FaultProxy, Rule, fault_proxy
from invoicedrop.sandbox.paper import invoice_pdf
from merchant import Daemon, Merchant, running
from quick_service import QUICK, program
from scripted_api import Reply, as_json
from waiting import wait_until

_PLAIN = (("content-type", "text/plain"),)
_PAGE = (("content-type", "text/html"),)
_BOXES = {
    "503 of Varnish": Reply(b"<!DOCTYPE html><title>503 Backend fetch failed</title>", 503, _PAGE),
    "503 of Envoy": Reply(b"upstream connect error or disconnect/reset before headers", 503, _PLAIN),
    "503 with Retry-After": Reply(b"", 503, (("retry-after", "1"),)),
    "429 in text": Reply(b"slow down", 429, _PLAIN),
    "401 in text": Reply(b"Jwt is missing", 401, _PLAIN),
    "401 of a gateway": as_json({"message": "No API key found in request"}, 401),
    "401 of Spring": as_json({"timestamp": "2026", "status": 401, "error": "Unauthorized", "path": "/v1"}, 401),
    "403 in text": Reply(b"Forbidden", 403, _PLAIN),
    "408 of haproxy": Reply(b"<html><body><h1>408 Request Time-out</h1></body></html>", 408, _PAGE),
    "407": Reply(b"", 407, (("proxy-authenticate", "Basic"),)),
    "302": Reply(b"", 302, (("location", "/sign-in"),)),
    "404 of an ingress": Reply(b"default backend - 404", 404, _PLAIN),
    "404 of Kong": as_json({"message": "no Route matched with those values"}, 404),
    "404 of Spring": as_json({"status": 404, "error": "Not Found", "message": "No message", "path": "/v1"}, 404),
    "404 of RFC 9457": as_json({"title": "Not Found", "status": 404, "detail": "no such thing"}, 404),
    "400, empty": Reply(b"", 400),
    "409 in text": Reply(b"conflict", 409, _PLAIN),
    "413 of nginx": Reply(b"<html><head><title>413 Request Entity Too Large</title></head></html>", 413, _PAGE),
    "422 as a list": as_json([{"loc": ["body"], "msg": "no"}], 422),
    "400 with an error": as_json({"error": {"code": 400, "message": "bad"}}, 400),
    "202 of a portal": as_json({"status": "ok"}, 202),
    "202, a web page": Reply(b"<html>Please sign in</html>", 202, _PAGE),
    "200, empty": Reply(b"", 200),
}
_ODD = {
    "status is a number": {"status": 1, "order_attachment_id": 7},
    "status is a list": {"status": ["success"], "order_attachment_id": 7},
    "id is true": {"status": "success", "order_attachment_id": True},
    "id is huge with a point": {"status": "success", "order_attachment_id": 1e300},
    "id is an object": {"status": "success", "order_attachment_id": {}},
}
_ODD_BODIES = {
    **{name: json.dumps(body).encode() for name, body in _ODD.items()},
    "deep": b'{"status": "success", "order_attachment_id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a number without end": b'{"status": "success", "order_attachment_id": ' + b"9" * 20_000 + b"}",
    "no number": b'{"status": "success", "order_attachment_id": NaN, "message": Infinity}',
    "half a character": b'{"status": "\\ud800", "order_attachment_id": 7, "message": "\\ud800\\u0000\\n"}',
}


@pytest.fixture
def proxy(merchant: Merchant) -> Iterator[FaultProxy]:
    """A fault proxy that the merchant's daemon takes for the API."""
    with fault_proxy(merchant.sandbox.url) as proxy:
        merchant.environment["INVOICEDROP_API_URL"] = proxy.url
        yield proxy


def _upload_to(order: int) -> str:
    return f"/orders/{order}/attachments$"


def _files(merchant: Merchant, folder: str) -> set[str]:
    return {path.name for path in (merchant.drop / folder).glob("*.pdf")}


def _wait_until_processed(merchant: Merchant, daemon: Daemon, names: set[str]) -> None:
    wait_until(lambda: _files(merchant, "processed") == names, seconds=40, what="all to be processed")
    assert _files(merchant, "failed") == set()
    assert "internal error" not in daemon.errors()


# A box in between


@pytest.mark.parametrize("box", _BOXES)
def test_what_a_box_answers_is_not_the_apis_word(merchant: Merchant, proxy: FaultProxy, box: str) -> None:
    """Whatever a box answers to an upload, stored or not, leaves it in doubt: nothing fails, nothing is there twice."""
    proxy.add(Rule("POST", _upload_to(5), count=1, reply=_BOXES[box]))
    proxy.add(Rule("POST", _upload_to(6), count=1, reply=_BOXES[box], passed_on=False))
    merchant.drop_pdf("5.pdf")
    merchant.drop_pdf("6.pdf")
    with running(merchant, program=program(QUICK, checked=False)) as daemon:
        _wait_until_processed(merchant, daemon, {"5.pdf", "6.pdf"})
        assert len(daemon.events("upload.unknown")) == 2
        paused = [str(line["detail"]) for line in daemon.events("api.paused")]
        assert bool(paused) is ("413" not in box)
        assert not [detail for detail in paused if "token" in detail]
    sent = Counter(upload.order_id for upload in merchant.sandbox.uploads())
    assert sent == {5: 1, 6: 1}
    assert proxy.count("POST", _upload_to(5)) == 1


@pytest.mark.parametrize(
    "box", ["404 of an ingress", "404 of Kong", "401 in text", "302", "200, empty", "202 of a portal"]
)
def test_a_box_that_answers_for_all_moves_nothing(merchant: Merchant, proxy: FaultProxy, box: str) -> None:
    """Where a box answers every request for a while, the project is paused, no order is unknown, and all go later."""
    names = {f"{order}.pdf" for order in range(5, 15)}
    proxy.add(Rule(passed_on=False, reply=_BOXES[box]))
    for name in names:
        merchant.drop_pdf(name)
    with running(merchant, program=program(QUICK, checked=False)) as daemon:
        daemon.wait_for("api.paused")
        wait_until(lambda: proxy.count() > 10, what="some probes")
        assert _files(merchant, ".") == names
        (paused,) = daemon.events("api.paused")
        assert "api_url" in str(paused["detail"])
        proxy.clear()
        _wait_until_processed(merchant, daemon, names)
        assert len(daemon.events("api.resumed")) == 1
    assert sorted(upload.order_id for upload in merchant.sandbox.uploads()) == list(range(5, 15))


def test_before_a_byte_has_left_nothing_is_in_doubt(merchant: Merchant, proxy: FaultProxy) -> None:
    """A server that cannot be reached leaves no doubt behind."""
    merchant.drop_pdf("5.pdf")
    proxy.add(Rule("POST", passed_on=False, reply=as_json({"status": "error", "message": "maintenance"}, 503), count=1))
    with running(merchant, program=program(QUICK, checked=False)) as daemon:
        _wait_until_processed(merchant, daemon, {"5.pdf"})
        assert daemon.events("upload.unknown") == daemon.events("upload.reconciled") == []
        assert len(daemon.events("api.paused")) == 1


# Orders that the API does not know


_NO_ORDER = as_json({"status": "error", "message": "Order not found"}, 404)


def test_several_unknown_orders_in_a_row_are_a_question(merchant: Merchant, proxy: FaultProxy) -> None:
    """Where the API knows none of several orders, and lists none, nothing more moves until it knows one."""
    proxy.add(Rule("GET", r"/orders/\d+$", passed_on=False, reply=_NO_ORDER))
    proxy.add(Rule("GET", r"/orders\?", passed_on=False, reply=as_json({"orders": [], "total": 0})))
    names = {f"{order}.pdf" for order in range(5, 15)}
    for name in names:
        merchant.drop_pdf(name)
    timing = replace(QUICK, project_question=0.1)
    with running(merchant, program=program(timing, checked=False), upload_workers="1") as daemon:
        daemon.wait_for("api.paused")
        wait_until(lambda: proxy.count("GET", r"/orders/\d+$") > 6, what="some probes")
        failed = _files(merchant, "failed")
        assert len(failed) == 2
        assert "project_id" in str(daemon.events("api.paused")[0]["detail"])
        proxy.clear()
        wait_until(lambda: _files(merchant, "processed") == names - failed, seconds=40, what="the others")
        assert _files(merchant, "failed") == failed
        assert len(daemon.events("api.paused")) == len(daemon.events("api.resumed")) == 1


def test_a_question_leaves_no_doubt(merchant: Merchant, proxy: FaultProxy) -> None:
    """Uploads to orders that the API does not know were certainly not taken, also where that is a question."""
    proxy.add(Rule("POST", passed_on=False, reply=_NO_ORDER))
    proxy.add(Rule("GET", r"/orders\?", passed_on=False, reply=as_json({"orders": [], "total": 0})))
    for order in range(5, 10):
        merchant.drop_pdf(f"{order}.pdf")
    changes = {"upload_workers": "1", "order_check": "off"}
    with running(merchant, program=program(QUICK, checked=False), **changes) as daemon:
        daemon.wait_for("api.paused")
        wait_until(lambda: proxy.count("POST") > 5, what="some probes")
        proxy.clear()
        wait_until(lambda: len(_files(merchant, "processed")) == 3, seconds=40, what="the others")
        assert len(_files(merchant, "failed")) == 2
        assert daemon.events("upload.unknown") == daemon.events("upload.reconciled") == []


def test_unknown_orders_that_the_list_shows_are_not_believed(merchant: Merchant, proxy: FaultProxy) -> None:
    """Where the project's list shows the very orders that are said to be unknown, nothing more moves."""
    proxy.add(Rule("GET", r"/orders/\d+$", passed_on=False, reply=_NO_ORDER))
    names = {f"{order}.pdf" for order in (5, 6, 7, 8)}
    for name in names:
        merchant.drop_pdf(name)
    timing = replace(QUICK, project_question=0.05)
    with running(merchant, program=program(timing, checked=False), upload_workers="1"):
        wait_until(lambda: proxy.count("GET", r"/orders\?") > 2, what="some lists")
        assert len(_files(merchant, "failed")) == 2
        proxy.clear()
        wait_until(lambda: len(_files(merchant, "processed")) == 2, seconds=40, what="the others")


def test_marketplace_numbers_that_no_order_has_are_a_question_too(merchant: Merchant, proxy: FaultProxy) -> None:
    """Where a project shows no order at all, none of several marketplace numbers is its invoice's fault."""
    proxy.add(Rule("GET", r"/orders\?", passed_on=False, reply=as_json({"orders": [], "total": 0})))
    for number in range(5):
        merchant.drop_pdf(f"302-1234567-123456{number}.pdf")
    changes = {"upload_workers": "1", "order_id_kind": "marketplace"}
    with running(merchant, program=program(QUICK, checked=False), **changes) as daemon:
        daemon.wait_for("api.paused")
        assert "project_id" in str(daemon.events("api.paused")[0]["detail"])
        wait_until(lambda: proxy.count("GET") > 8, what="some probes")
        assert len(_files(merchant, "failed")) == 2


def test_without_a_look_at_the_order_a_box_is_not_the_api_either(merchant: Merchant, proxy: FaultProxy) -> None:
    """With `order_check` off, a box that answers all uploads for a while fails none and doubles none."""
    proxy.add(Rule("POST", passed_on=False, reply=_BOXES["404 of an ingress"]))
    names = {f"{order}.pdf" for order in range(5, 15)}
    for name in names:
        merchant.drop_pdf(name)
    with running(merchant, program=program(QUICK, checked=False), order_check="off") as daemon:
        daemon.wait_for("api.paused")
        proxy.clear()
        _wait_until_processed(merchant, daemon, names)
    assert sorted(upload.order_id for upload in merchant.sandbox.uploads()) == list(range(5, 15))


def test_a_folder_of_wrong_names_comes_to_its_end(merchant: Merchant, proxy: FaultProxy) -> None:
    """Where the project's list shows other orders, orders that are unknown really are, however many in a row."""
    names = {f"{order}.pdf" for order in range(5001, 5008)}
    for name in names:
        merchant.drop_pdf(name)
    timing = replace(QUICK, project_question=0.2)
    with running(merchant, program=program(timing, checked=False)) as daemon:
        wait_until(lambda: _files(merchant, "failed") == names, seconds=40, what="all to fail")
        assert {line["reason"] for line in daemon.events("invoice.failed")} == {"order_not_found"}
        assert len(daemon.events("api.paused")) == 1
        merchant.drop_pdf("5.pdf")
        daemon.wait_for("invoice.processed")
    assert proxy.count("POST") == 1


# One resource's trouble


_REFUSALS = {
    "401": as_json({"error": "The access token is invalid"}, 401),
    "403": as_json({"status": "error", "message": "not for you"}, 403),
    "503": as_json({"status": "error", "message": "maintenance"}, 503),
    "403 in text": Reply(b"Forbidden", 403, _PLAIN),
    "503, a page": Reply(b"<html>503</html>", 503, _PAGE),
}


@pytest.mark.parametrize("refusal", _REFUSALS)
@pytest.mark.parametrize("resource", ["order", "attachment"])
def test_one_resource_in_trouble_holds_up_nobody_else(
    merchant: Merchant, proxy: FaultProxy, resource: str, refusal: str
) -> None:
    """An order, or an attachment's URL, that is refused for ever is its invoice's trouble, given up in time."""
    merchant.sandbox.store.attach(5, invoice_pdf("somebody else's"))
    path = r"/orders/5$" if resource == "order" else r"/orders/5/attachments/\d+$"
    proxy.add(Rule("GET", path, passed_on=False, reply=_REFUSALS[refusal]))
    merchant.drop_pdf("5.pdf")
    timing = replace(QUICK, longest_retry=0.3)
    with running(merchant, program=program(timing, checked=False), give_up_after="1") as daemon:
        for order in range(6, 30):
            merchant.drop_pdf(f"{order}.pdf")
            wait_until(
                lambda order=order: (merchant.processed / f"{order}.pdf").exists(),  # type: ignore[misc]
                what="another invoice",
            )
            seen = proxy.count("GET", path)
            if _files(merchant, "failed"):
                break
            wait_until(
                lambda seen=seen: proxy.count("GET", path) > seen or bool(_files(merchant, "failed")),  # type: ignore[misc]
                what="the next try",
            )
        daemon.wait_for("invoice.failed")
        assert daemon.events("invoice.failed")[0]["reason"] == "gave_up"
        assert daemon.events("api.paused") == []


@pytest.mark.parametrize("refusal", _REFUSALS)
def test_one_upload_that_is_refused_for_ever_holds_up_nobody_else(
    merchant: Merchant, proxy: FaultProxy, refusal: str
) -> None:
    """An upload that is refused for ever, by the API or by a firewall, pauses the others once, and is given up."""
    proxy.add(Rule("POST", _upload_to(5), passed_on=False, reply=_REFUSALS[refusal]))
    merchant.drop_pdf("5.pdf")
    timing = replace(QUICK, longest_retry=0.3, longest_probe=0.1)
    with running(merchant, program=program(timing, checked=False), give_up_after="2") as daemon:
        wait_until(lambda: proxy.count("POST", _upload_to(5)) > 0, what="the first refusal")
        for order in range(6, 60):
            merchant.drop_pdf(f"{order}.pdf")
            wait_until(
                lambda order=order: (merchant.processed / f"{order}.pdf").exists(),  # type: ignore[misc]
                what="another invoice",
            )
            seen = proxy.count(path=r"/orders/5\b")
            if _files(merchant, "failed"):
                break
            wait_until(
                lambda seen=seen: proxy.count(path=r"/orders/5\b") > seen or bool(_files(merchant, "failed")),  # type: ignore[misc]
                what="the next try",
            )
        daemon.wait_for("invoice.failed")
        assert daemon.events("invoice.failed")[0]["reason"] == "gave_up"
        assert len(daemon.events("api.paused")) == 1
    assert proxy.count("POST", _upload_to(5)) > 2


def test_a_token_that_expires_is_noticed_by_the_only_invoice(merchant: Merchant) -> None:
    """With one invoice alone, whose order is refused, the list of orders tells that it is the token."""
    merchant.sandbox.store.tokens.clear()
    merchant.drop_pdf("5.pdf")
    with running(merchant, program=program(QUICK, checked=False)) as daemon:
        daemon.wait_for("api.paused")
        assert "put a new one" in str(daemon.events("api.paused")[0]["detail"])
        merchant.sandbox.wait_until(lambda: len(merchant.sandbox.requests) > 6)
        merchant.sandbox.store.tokens.add(merchant.sandbox.token)
        daemon.wait_for("invoice.processed")
        assert len(daemon.events("api.paused")) == len(daemon.events("api.resumed")) == 1


def test_uploads_that_are_refused_do_not_flap(merchant: Merchant) -> None:
    """Where orders can be read but no upload is taken, the project stays paused, whatever is read meanwhile."""
    merchant.sandbox.faults.add("status", "upload", status=503)
    for order in (5, 6, 7):
        merchant.drop_pdf(f"{order}.pdf")
    timing = replace(QUICK, order_fresh=0.0)
    with running(merchant, program=program(timing, checked=False)) as daemon:
        merchant.sandbox.wait_until(lambda: merchant.sandbox.journal.arrived("upload") > 4)
        assert len(daemon.events("api.paused")) == 1
        merchant.sandbox.faults.clear()
        _wait_until_processed(merchant, daemon, {"5.pdf", "6.pdf", "7.pdf"})
        assert len(daemon.events("api.paused")) == len(daemon.events("api.resumed")) == 1


# What the API says


_CONFLICT = as_json({"status": "error", "message": "still being handled"}, 409)


def test_a_conflict_is_tried_again(merchant: Merchant, proxy: FaultProxy) -> None:
    """An order that is not ready (409) is no reason to fail, and no doubt: the invoice goes a little later."""
    proxy.add(Rule("POST", passed_on=False, reply=_CONFLICT, count=3))
    merchant.drop_pdf("5.pdf")
    with running(merchant, program=program(QUICK, checked=False)) as daemon:
        _wait_until_processed(merchant, daemon, {"5.pdf"})
        assert "still being handled" in str(daemon.events("invoice.deferred")[0]["detail"])
        assert daemon.events("upload.unknown") == daemon.events("api.paused") == []


def test_a_conflict_that_does_not_pass_is_a_refusal(merchant: Merchant, proxy: FaultProxy) -> None:
    """Where a conflict stays for as long as one waits, whoever was restarted meanwhile, the invoice is refused."""
    proxy.add(Rule("POST", passed_on=False, reply=_CONFLICT))
    merchant.drop_pdf("5.pdf")
    timing = replace(QUICK, conflict_patience=0.5)
    with running(merchant, program=program(timing, checked=False)) as daemon:
        wait_until(lambda: proxy.count("POST") >= 2, what="two tries")
        daemon.kill()
    with running(merchant, program=program(timing, checked=False)) as daemon:
        daemon.wait_for("invoice.failed")
        (failed,) = daemon.events("invoice.failed")
        assert failed["reason"] == "refused_by_api"
        assert "still being handled" in str(failed["detail"])
    assert 3 <= proxy.count("POST") <= 9


@pytest.mark.parametrize("how", ["outage", "stopped"])
def test_a_conflict_does_not_count_time_in_which_nothing_could_be_tried(
    merchant: Merchant, proxy: FaultProxy, how: str
) -> None:
    """After an outage, or a stop, longer than one waits for a conflict, one more conflict is no refusal yet."""
    proxy.add(Rule("POST", passed_on=False, reply=_CONFLICT, count=1))
    maintenance = as_json({"status": "error", "message": "maintenance"}, 503)
    outage = proxy.add(Rule("POST", passed_on=False, reply=maintenance))
    merchant.drop_pdf("5.pdf")
    timing = replace(QUICK, conflict_patience=1.0, first_probe=2.0, longest_probe=2.0)
    with running(merchant, program=program(timing, checked=False)) as daemon:
        daemon.wait_for("invoice.deferred")
        began = time.monotonic()
        daemon.wait_for("api.paused")
        if how == "stopped":
            assert daemon.stop() == 0
            wait_until(lambda: time.monotonic() > began + 1.2, what="more than one waits for a conflict")
        proxy.add(Rule("POST", passed_on=False, reply=_CONFLICT, count=2))
        proxy.remove(outage)
        if how == "outage":
            _wait_until_processed(merchant, daemon, {"5.pdf"})
    if how == "stopped":
        with running(merchant, program=program(timing, checked=False)) as daemon:
            _wait_until_processed(merchant, daemon, {"5.pdf"})


def test_what_is_sent_again_goes_on_a_connection_of_its_own(merchant: Merchant, proxy: FaultProxy) -> None:
    """The upload after a doubt uses no connection that was used before: a box may have closed it in silence."""
    proxy.add(Rule("POST", count=1, passed_on=False, drop=True))
    merchant.drop_pdf("5.pdf")
    with running(merchant, program=program(QUICK, checked=False)) as daemon:
        _wait_until_processed(merchant, daemon, {"5.pdf"})
    passages = list(proxy.passages)
    lost, again = (index for index, passage in enumerate(passages) if passage.method == "POST")
    looks = {passage.port for passage in passages[lost + 1 : again]}
    assert looks
    assert passages[again].port not in {passage.port for passage in passages[:again]}
    assert passages[lost].port in {passage.port for passage in passages[:lost]}


@pytest.mark.parametrize("odd", _ODD_BODIES)
def test_an_odd_receipt_is_a_doubt(merchant: Merchant, proxy: FaultProxy, odd: str) -> None:
    """A 202 that says something odd is asked about; it breaks nothing."""
    proxy.add(Rule("POST", count=1, reply=Reply(_ODD_BODIES[odd], 202, (("content-type", "application/json"),))))
    merchant.drop_pdf("5.pdf")
    with running(merchant, program=program(QUICK, checked=False)) as daemon:
        _wait_until_processed(merchant, daemon, {"5.pdf"})
    assert len(merchant.sandbox.uploads()) == 1
    assert proxy.count("POST") == 1


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, 10**40, -1])
def test_an_id_may_have_any_length(merchant: Merchant, proxy: FaultProxy, number: int) -> None:
    """An attachment's id of any length is a receipt, kept as it is."""
    odd = {"status": "warning", "order_attachment_id": number, "message": {"what": ["\x1b[31m\n"]}}
    proxy.add(Rule("POST", reply=as_json(odd, 202)))
    merchant.drop_pdf("5.pdf")
    with running(merchant, program=program(QUICK, checked=False)) as daemon:
        _wait_until_processed(merchant, daemon, {"5.pdf"})
        daemon.wait_for("invoice.processed")
        assert daemon.events("invoice.processed")[0]["attachment_id"] == number
        merchant.drop_pdf("5_2.pdf", invoice_pdf("5.pdf"))
        daemon.wait_for("invoice.duplicate")
        assert daemon.events("invoice.duplicate")[0]["attachment_id"] == number


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422, 503])
def test_no_words_of_the_api_break_anything(merchant: Merchant, proxy: FaultProxy, status: int) -> None:
    """An error's message of any type, depth or content ends in no internal error."""
    odd = (b"[" * 300 + b"]" * 300, b"9" * 5000, b"NaN", b'"\\ud800\\u0000\\u001b\\n"', b"{}", b"null", b"true")
    for words in odd:
        body = b'{"status": "error", "message": ' + words + b', "detail": ' + words + b"}"
        proxy.add(Rule("POST", count=1, passed_on=False, reply=Reply(body, status)))
    for order in range(5, 12):
        merchant.drop_pdf(f"{order}.pdf")
    timing = replace(QUICK, longest_probe=0.1, project_question=0.05)
    with running(merchant, program=program(timing, checked=False)) as daemon:
        wait_until(lambda: proxy.count("POST") >= len(odd), seconds=40, what="all to be said")
        wait_until(lambda: not _files(merchant, "."), seconds=40, what="all to be filed")
        assert "internal error" not in daemon.errors()


@pytest.mark.parametrize("seed", [1, 2])
def test_boxes_of_all_kinds_at_once(merchant: Merchant, proxy: FaultProxy, seed: int) -> None:
    """Whatever boxes answer to a third of all requests, stored or not, each invoice is there once, and none fails."""
    chance = random.Random(seed)
    orders = range(1, 41)
    for order in orders:
        for method, path in (("POST", _upload_to(order)), ("GET", rf"/orders/{order}$")):
            for _ in range(chance.choice((0, 0, 1, 2))):
                box = chance.choice(list(_BOXES.values()))
                proxy.add(Rule(method, path, count=1, reply=box, passed_on=chance.random() < 0.5))
        merchant.drop_pdf(f"{order}.pdf")
    proxy.add(Rule("GET", r"/orders\?", count=5, passed_on=False, reply=_BOXES["404 of Kong"]))
    timing = replace(QUICK, longest_probe=0.1, longest_retry=0.3, longest_retry_after=0.1, unstated_wait=0.01)
    with running(merchant, program=program(timing, checked=False)) as daemon:
        _wait_until_processed(merchant, daemon, {f"{order}.pdf" for order in orders})
    assert Counter(upload.order_id for upload in merchant.sandbox.uploads()) == dict.fromkeys(orders, 1)
