"""The stand-in for the Channable API: it answers as documented, and fails exactly as the script of faults says."""

import base64
import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pypdf
import pytest

from invoicedrop.sandbox import (
    CUSTOMER_SURNAME,
    Fault,
    FaultPlan,
    Kind,
    Options,
    Running,
    item_ids,
    marketplace_number,
    serve,
)
from invoicedrop.sandbox.bucket import LeakyBucket
from invoicedrop.sandbox.paper import Line, invoice_pdf
from sandbox_caller import Caller, Started

PDF = invoice_pdf("7")
SHA256 = hashlib.sha256(PDF).hexdigest()


# Uploads


def test_an_upload_is_accepted_and_shown_at_its_order(started: Started) -> None:
    """A valid upload is answered with 202 and an id, and the order then shows that attachment and an event."""
    caller = started()
    response = caller.upload(fields={"order_item_ids": [71, 72]})
    assert response.status_code == 202
    assert response.json() == {"status": "success", "order_attachment_id": 1, "message": None}
    answer = caller.order().json()
    (attachment,) = answer["order"]["attachments"]
    assert attachment["id"] == 1
    assert attachment["attachment_type"] == "INVOICE"
    assert (attachment["order_id"], attachment["project_id"]) == (7, caller.sandbox.project_id)
    assert abs(datetime.fromisoformat(attachment["created"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert [event["status"] for event in answer["events"]] == ["info"]
    (upload,) = caller.sandbox.uploads()
    assert (upload.order_id, upload.sha256, upload.size, upload.item_ids) == (7, SHA256, len(PDF), (71, 72))


def test_the_same_upload_twice_makes_two_attachments(started: Started) -> None:
    """There is no idempotency: a repeated POST makes a second attachment of the same bytes."""
    caller = started()
    assert [caller.upload().json()["order_attachment_id"] for _ in range(2)] == [1, 2]
    assert [upload.sha256 for upload in caller.sandbox.uploads()] == [SHA256, SHA256]


@pytest.mark.parametrize(
    ("values", "status", "loc"),
    [
        ({"fields": {"file": None}}, 422, ["body", "file"]),
        ({"fields": {"file": "no base64!"}}, 422, ["body", "file"]),
        ({"fields": {"file": "JVBERi0="[:-1]}}, 422, ["body", "file"]),
        ({"fields": {"file": "JV=ERi0="}}, 422, ["body", "file"]),
        ({"fields": {"attachment_type": "RECEIPT"}}, 422, ["body", "attachment_type"]),
        ({"fields": {"order_item_ids": [1, "2"]}}, 422, ["body", "order_item_ids", 1]),
        ({"fields": {"order_item_ids": [True]}}, 422, ["body", "order_item_ids", 0]),
        ({"fields": {"order_item_ids": "1"}}, 422, ["body", "order_item_ids"]),
        ({"order": "seven"}, 422, ["path", "order_id"]),
        ({"company": "x"}, 422, ["path", "company_id"]),
        ({"order": 999}, 404, None),
        ({"order": -7}, 404, None),
        ({"pdf": b"GIF89a"}, 415, None),
        ({"pdf": b" " * 1024 + b"%PDF-1.4"}, 415, None),
        ({"pdf": b""}, 415, None),
        ({"company": 1}, 403, None),
        ({"project": 1}, 403, None),
        ({"headers": {"Accept": "text/html"}}, 406, None),
        ({"token": "wrong"}, 401, None),
        ({"token": None}, 401, None),
    ],
)
def test_a_bad_upload_is_refused(started: Started, values: dict[str, Any], status: int, loc: list[Any] | None) -> None:
    """Each kind of bad upload gets the documented status and body, and nothing is stored."""
    caller = started()
    response = caller.upload(**values)
    assert response.status_code == status
    body = response.json()
    if status == 422:
        assert [entry["loc"] for entry in body["detail"]] == [loc]
        assert all({"loc", "msg", "type"} == set(entry) for entry in body["detail"])
    elif status == 401:
        assert "error" in body
        assert "message" not in body
    else:
        assert body["message"]
    assert caller.sandbox.uploads() == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"file": "\\ud800AAA"}', 422),
        (b"{", 400),
        (b'"text"', 422),
        (b"\xff", 400),
        (b"{}", 422),
        (b"[" * 100_000, 400),
    ],
)
def test_a_body_that_is_not_an_upload_is_refused(started: Started, body: bytes, status: int) -> None:
    """A body that is not JSON is 400; one that is not an object, or has no file, is 422."""
    caller = started()
    headers = {"Content-Type": "application/json"}
    response = caller.ask("POST", caller.path(1, "/7/attachments"), content=body, headers=headers)
    assert response.status_code == status


def test_junk_before_the_header_is_still_a_pdf(started: Started) -> None:
    """A file with %PDF anywhere in its first 1024 bytes is a PDF."""
    assert started().upload(pdf=b"\n" * 1020 + PDF).status_code == 202


def test_a_body_over_the_limit_is_413(started: Started) -> None:
    """A request larger than the limit is refused and not stored, and the connection remains usable."""
    caller = started(max_body_bytes=200_000)
    assert caller.upload(pdf=PDF + bytes(1_000_000)).status_code == 413
    assert caller.upload().status_code == 202


@pytest.mark.parametrize(
    ("method", "rest", "version"),
    [("GET", "/7/attachments", 1), ("POST", "/7", 2), ("DELETE", "", 2), ("HEAD", "/7", 2)],
)
def test_a_wrong_method_is_405(started: Started, method: str, rest: str, version: int) -> None:
    """An existing path is answered with 405 for another method, and the right one is named."""
    caller = started()
    response = caller.ask(method, caller.path(version, rest))
    assert response.status_code == 405
    assert response.headers["allow"] in {"GET", "POST"}


def test_an_unknown_path_is_404(started: Started) -> None:
    """A path that is not an endpoint is 404 with a message, and is recorded."""
    caller = started()
    assert caller.ask("GET", caller.sandbox.url + "/v3/x").json()["message"]
    assert [record.kind for record in caller.sandbox.requests] == ["other"]


def test_tokens_can_be_rotated_while_it_runs(started: Started) -> None:
    """Several tokens can be valid at a time, and adding and revoking take effect immediately."""
    caller = started(tokens=("old", "older"))
    assert [caller.order(token=token).status_code for token in ("old", "older", "new")] == [200, 200, 401]
    caller.sandbox.store.tokens.add("new")
    caller.sandbox.store.tokens.discard("old")
    assert [caller.order(token=token).status_code for token in ("old", "older", "new")] == [401, 200, 200]


# Downloads


def test_a_download_has_another_origin_and_needs_no_token(started: Started) -> None:
    """The download URL has another port than the API, returns the bytes without a token, and records that none came."""
    caller = started()
    caller.upload()
    url = caller.download_url().json()["url"]
    assert url.startswith(caller.sandbox.download_url + "/")
    assert httpx.URL(url).port != httpx.URL(caller.sandbox.url).port
    response = caller.ask("GET", url, token=None)
    assert response.content == PDF
    assert response.headers["content-type"] == "application/pdf"
    assert [record.had_authorization for record in caller.sandbox.requests] == [True, True, False]
    caller.ask("GET", url)
    assert caller.sandbox.requests[-1].had_authorization
    assert caller.ask("GET", caller.sandbox.download_url + f"/v2/companies/{1}").status_code == 404


def test_downloads_can_share_the_origin_of_the_api(started: Started) -> None:
    """With separate_download_host off, download URLs have the API's own origin."""
    caller = started(separate_download_host=False)
    caller.upload()
    url = caller.download_url().json()["url"]
    assert url.startswith(caller.sandbox.url + "/")
    assert caller.ask("GET", url, token=None).content == PDF


def test_a_download_url_expires_and_cannot_be_forged(started: Started) -> None:
    """A URL that has expired, names another attachment, or has no signature is 403."""
    caller = started()
    caller.upload()
    caller.upload()
    url = caller.download_url().json()["url"]
    assert caller.ask("GET", url.replace("/files/1", "/files/2"), token=None).status_code == 403
    assert caller.ask("GET", url.partition("?")[0], token=None).status_code == 403
    caller.sandbox.store.url_lifetime = 0
    assert caller.ask("GET", caller.download_url().json()["url"], token=None).status_code == 403


def test_a_file_that_is_gone_is_410(started: Started) -> None:
    """Once its file is gone, an attachment is still listed, but its URL and its download are 410."""
    caller = started()
    caller.upload()
    url = caller.download_url().json()["url"]
    caller.sandbox.store.forget_file(1)
    assert caller.download_url().status_code == 410
    assert caller.ask("GET", url, token=None).status_code == 410
    assert [attachment["id"] for attachment in caller.order().json()["order"]["attachments"]] == [1]


@pytest.mark.parametrize(("attachment", "order"), [(2, 7), (1, 8), (1, 999)])
def test_an_attachment_is_found_at_its_own_order_only(started: Started, attachment: int, order: int) -> None:
    """An unknown attachment, or one of another order, is 404."""
    caller = started()
    caller.upload()
    assert caller.download_url(attachment, order).status_code == 404


def test_a_new_attachment_can_become_visible_late(started: Started) -> None:
    """With visible_after, an upload is hidden from every read for that time, and then shown."""
    caller = started(visible_after=3600)
    caller.upload()
    assert caller.order().json()["order"]["attachments"] == []
    assert caller.download_url().status_code == 404
    assert len(caller.sandbox.uploads()) == 1
    caller.sandbox.store.visible_after = 0.05
    caller.upload()
    caller.sandbox.wait_until(lambda: len(caller.order().json()["order"]["attachments"]) == 1)
    assert caller.download_url(2).status_code == 200


# Orders


def test_orders_come_newest_first_in_pages(started: Started) -> None:
    """The list is newest first, at most 100 at a time, and limit and offset page through all of it."""
    caller = started(orders=250)
    answer = caller.orders().json()
    assert (len(answer["orders"]), answer["total"], answer["error_count"]) == (100, 250, 0)
    pages = [caller.orders(limit=100, offset=offset).json()["orders"] for offset in (0, 100, 200)]
    assert [order["id"] for page in pages for order in page] == list(range(250, 0, -1))
    created = [order["created"] for page in pages for order in page]
    assert created == sorted(created, reverse=True)


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 101}, {"limit": "x"}, {"offset": -1}, {"start_date": "x"}, {"end_date": "31.12."}]
)
def test_a_bad_query_is_422(started: Started, query: dict[str, Any]) -> None:
    """Each invalid filter is named in the 422."""
    response = started().orders(**query)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["query", *query]


def test_the_search_is_loose(started: Started) -> None:
    """A search for an order's number also returns an order that only mentions it."""
    caller = started(orders=[9, 10, 8355])
    orders = {order["id"]: order for order in caller.orders(search=marketplace_number(9)).json()["orders"]}
    assert set(orders) == {9, 10}
    assert orders[9]["channel_id"] == orders[9]["data"]["extra"]["channel_order_number"] == "302-1234567-0000009"
    assert orders[10]["channel_id"] != marketplace_number(9)
    assert caller.order_ids(search="8355") == [8355]
    assert caller.order_ids(search=CUSTOMER_SURNAME.upper(), limit=2) == [8355, 10]
    assert caller.order_ids(search="nobody") == []


def test_orders_can_be_filtered_by_date_and_status(started: Started) -> None:
    """start_date, end_date, last_modified_after and status each keep only the orders that match."""
    caller = started(orders=[])
    for day in (1, 2, 3):
        caller.sandbox.store.add_order(day, created=datetime(2026, 10, day, tzinfo=UTC))
    assert caller.order_ids(start_date="2026-10-02") == [3, 2]
    assert caller.order_ids(end_date="2026-10-02T00:00:00Z") == [2, 1]
    assert caller.order_ids(start_date="2026-10-02", end_date="2026-10-02T12:00:00") == [2]
    assert caller.order_ids(status="shipped") == [3, 2, 1]
    assert caller.order_ids(status="not_shipped") == []
    before = datetime.now(UTC)
    caller.upload(1)
    assert caller.order_ids(last_modified_after=before.isoformat()) == [1]


def test_any_order_exists_on_demand(started: Started) -> None:
    """With any_order every positive id is an order, and its marketplace number finds it."""
    caller = started(any_order=True, orders=0)
    assert caller.upload(123_456_789).status_code == 202
    assert [caller.order(order).status_code for order in (1, 0, -1, 2**63)] == [200, 404, 404, 404]
    assert 8355 in caller.order_ids(search="302-1234567-0008355")
    assert caller.order_ids(search="4711") == [4711]


def test_an_order_is_the_same_each_time_and_carries_customer_data(started: Started) -> None:
    """An order is generated deterministically, with item ids and with the customer name that tests search for."""
    first, second = (started(orders=[8355]).order(8355).json()["order"] for _ in range(2))
    assert {**first, "created": 0, "modified": 0} == {**second, "created": 0, "modified": 0}
    assert first["channel_name"] == "amazon"
    assert first["channel_id"] == "302-1234567-0008355"
    assert tuple(item["channable_order_item_id"] for item in first["data"]["products"]) == item_ids(8355)
    assert CUSTOMER_SURNAME in json.dumps(first)


def test_two_orders_can_share_a_marketplace_number(started: Started) -> None:
    """An order's numbers can be set, so that one number belongs to two orders."""
    caller = started(orders=3)
    caller.sandbox.store.add_order(2, channel_id="SAME-1")
    caller.sandbox.store.add_order(3, channel_id="X", channel_order_number="SAME-1")
    assert caller.order_ids(search="SAME-1") == [3, 2]


def test_projects_have_their_own_orders_and_share_one_bucket(started: Started) -> None:
    """Each project shows only its own orders, and all projects share the company's bucket."""
    caller = started(projects=(1, 2), orders={1: [5], 2: 3}, rate=0.001, burst=4)
    assert caller.upload(5, project=2).status_code == 404
    assert caller.upload(5, project=1).status_code == 202
    assert caller.upload(3, project=2).status_code == 202
    assert [(upload.project, upload.order_id) for upload in caller.sandbox.uploads()] == [(1, 5), (2, 3)]
    assert caller.upload(1, project=2).status_code == 202
    assert caller.upload(5, project=1).status_code == 429


def test_others_can_attach_documents_and_the_marketplace_can_add_events(started: Started) -> None:
    """Documents of other kinds and events of the marketplace can be added to an order from outside."""
    caller = started()
    caller.sandbox.store.attach(7, b"label", attachment_type="SHIPPING_LABEL", title="label.pdf")
    caller.sandbox.store.add_event(7, "error", "the marketplace refused the invoice")
    answer = caller.order().json()
    assert [attachment["attachment_type"] for attachment in answer["order"]["attachments"]] == ["SHIPPING_LABEL"]
    assert [event["status"] for event in answer["events"]] == ["info", "error"]
    assert caller.orders().json()["error_count"] == 1


# Rate limit and latency


def test_the_bucket_leaks_at_its_rate() -> None:
    """A burst fits, the next request does not, and afterwards exactly `rate` requests a second fit."""
    now = 0.0
    bucket = LeakyBucket(4, 200, clock=lambda: now)
    assert bucket.drain(250) == 200
    taken = 0
    for _ in range(1000):
        now += 0.01
        taken += bucket.take()
    assert taken == 40
    assert (bucket.accepted, bucket.refused) == (240, 50 + 960)
    now += 3600
    assert bucket.level == 0


def test_a_bucket_can_be_changed_and_switched_off() -> None:
    """A rate of 0 lets everything through, and a limit that lets nothing through is refused."""
    bucket = LeakyBucket(0, 0)
    assert bucket.drain(1000) == 1000
    bucket.configure(1, 2)
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    with pytest.raises(ValueError, match="nothing"):
        bucket.configure(1, 0)


def test_only_authorised_requests_count_against_the_limit(started: Started) -> None:
    """Requests without a valid token and downloads do not count; all others do, including those that are refused."""
    caller = started(rate=0.001, burst=4)
    for _ in range(10):
        assert caller.order(token="wrong").status_code == 401
    caller.upload()
    url = caller.download_url().json()["url"]
    for _ in range(10):
        assert caller.ask("GET", url, token=None).status_code == 200
    assert caller.order(999).status_code == 404
    assert caller.orders().status_code == 200
    response = caller.orders()
    assert response.status_code == 429
    assert "retry-after" not in response.headers
    assert caller.sandbox.store.bucket.refused == 1
    assert len(caller.sandbox.uploads()) == 1


def test_another_client_shares_the_bucket(started: Started) -> None:
    """What another client of the company has used up is not available to us."""
    caller = started(rate=0.001, burst=10)
    assert caller.sandbox.store.drain(9) == 9
    assert [caller.order().status_code for _ in range(2)] == [200, 429]


def test_latency_delays_every_answer(started: Started) -> None:
    """The latency is the minimum time of an answer, and can be changed while the sandbox runs."""
    caller = started(latency=0.15)
    begin = time.monotonic()
    caller.order()
    assert time.monotonic() - begin >= 0.15
    caller.sandbox.store.latency = 0
    assert min(caller.order().elapsed.total_seconds() for _ in range(5)) < 0.15


def test_requests_are_answered_concurrently(started: Started) -> None:
    """Ten concurrent requests take far less time than ten times the latency."""
    caller = started(latency=0.2)
    begin = time.monotonic()
    threads = [threading.Thread(target=caller.upload, args=(order,)) for order in range(1, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - begin < 1.5
    assert len(caller.sandbox.uploads()) == 10


def test_an_upload_is_stored_although_its_client_has_left(started: Started) -> None:
    """A request that arrived in full is carried out after its latency, even if the client has given up before."""
    caller = started(latency=0.2)
    with pytest.raises(httpx.ReadTimeout):
        caller.upload(timeout=0.05)
    assert caller.sandbox.uploads() == []
    caller.sandbox.wait_until(lambda: len(caller.sandbox.uploads()) == 1)


def test_small_answers_are_not_delayed(started: Started) -> None:
    """On a reused connection an answer is not held back for 40 ms to await an acknowledgement (Nagle)."""
    caller = started()
    # The best of several medians: the first answers of a connection are quick in any case, and a busy machine is slow.
    medians = [sorted(caller.order().elapsed.total_seconds() for _ in range(11))[5] for _ in range(6)]
    assert min(medians[1:]) < 0.035


# Faults on the wire


@pytest.mark.parametrize(("kind", "stored"), [(Kind.RESET_BEFORE_STORE, 0), (Kind.RESET_AFTER_STORE, 1)])
def test_a_reset_is_a_tcp_reset(started: Started, kind: Kind, stored: int) -> None:
    """The two resets after the whole request break the connection with RST, before or after storing."""
    caller = started()
    caller.sandbox.faults.add(kind, "upload", count=1)
    body = json.dumps({"file": base64.b64encode(PDF).decode()}).encode()
    with _connected(caller.sandbox) as connection:
        connection.sendall(_upload_head(caller, len(body)) + body)
        with pytest.raises(ConnectionResetError):
            connection.recv(1000)
    assert len(caller.sandbox.uploads()) == stored
    caller.sandbox.wait_until(lambda: caller.sandbox.requests[-1].over)
    assert caller.sandbox.requests[-1].status is None
    assert caller.upload().status_code == 202


def test_a_reset_can_come_while_the_client_is_sending(started: Started) -> None:
    """With reset_before_read the client's sending is interrupted, and nothing is stored."""
    caller = started()
    caller.sandbox.faults.add(Kind.RESET_BEFORE_READ, "upload", count=1)
    with _connected(caller.sandbox) as connection:
        connection.sendall(_upload_head(caller, 50_000_000))
        body = bytes(50_000_000)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(body)
    assert caller.sandbox.uploads() == []


def test_an_interrupted_request_uploads_nothing(started: Started) -> None:
    """A request whose body ends early is dropped, and the sandbox keeps working."""
    caller = started()
    with _connected(caller.sandbox) as connection:
        connection.sendall(_upload_head(caller, 50_000) + b'{"file"')
        caller.sandbox.wait_until(lambda: caller.sandbox.journal.arrived("upload") == 1)
    caller.sandbox.wait_until(lambda: caller.sandbox.requests[0].over)
    assert caller.sandbox.requests[0].status is None
    assert caller.upload().status_code == 202


@pytest.mark.parametrize(("kind", "stored"), [(Kind.HANG_BEFORE_STORE, 0), (Kind.HANG_AFTER_STORE, 1)])
def test_a_hang_lasts_until_the_client_leaves(started: Started, kind: Kind, stored: int) -> None:
    """A hanging request is never answered, and is over once its client has left."""
    caller = started()
    caller.sandbox.faults.add(kind, "upload", count=1)
    with pytest.raises(httpx.ReadTimeout):
        caller.upload(timeout=0.2)
    caller.sandbox.wait_until(lambda: caller.sandbox.requests[0].over)
    assert len(caller.sandbox.uploads()) == stored


def test_an_answer_can_be_truncated(started: Started) -> None:
    """With truncate the upload is stored, and the answer ends before its Content-Length."""
    caller = started()
    caller.sandbox.faults.add(Kind.TRUNCATE, "upload", count=1)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        caller.upload()
    assert len(caller.sandbox.uploads()) == 1


def test_an_answer_can_drip(started: Started) -> None:
    """With slow_drip the right answer arrives byte by byte, each after its pause."""
    caller = started()
    caller.sandbox.faults.add(Kind.SLOW_DRIP, "upload", count=1, seconds=0.002)
    response = caller.upload()
    assert response.json()["order_attachment_id"] == 1
    assert response.elapsed.total_seconds() >= 0.002 * len(response.content)


def test_a_drip_ends_when_the_client_leaves(started: Started) -> None:
    """A dripping answer, one byte a second by default, is abandoned when the client leaves."""
    caller = started()
    caller.sandbox.faults.add(Kind.SLOW_DRIP, "upload", count=1)
    with caller.client.stream(
        "POST",
        caller.path(1, "/7/attachments"),
        headers={"Authorization": f"Bearer {caller.sandbox.token}"},
        json={"file": base64.b64encode(PDF).decode()},
    ) as response:
        assert response.status_code == 202
        assert not caller.sandbox.requests[0].over
    caller.sandbox.wait_until(lambda: caller.sandbox.requests[0].over)


# Faults in answers


@pytest.mark.parametrize("status", [400, 401, 403, 409, 500, 502, 503, 504])
@pytest.mark.parametrize("stored", [False, True])
def test_any_status_can_come_before_or_after_storing(started: Started, status: int, stored: bool) -> None:
    """A status fault answers with that status and message, and stores only with `stored`."""
    caller = started()
    caller.sandbox.faults.add("status", "upload", count=1, status=status, stored=stored, message="sorry")
    response = caller.upload()
    assert response.status_code == status
    assert response.json()["error" if status == 401 else "message"] == "sorry"
    assert len(caller.sandbox.uploads()) == stored


@pytest.mark.parametrize("status", [200, 202, 502])
def test_a_proxy_can_answer_html(started: Started, status: int) -> None:
    """An html fault answers with a page and any status, stored or not."""
    caller = started()
    caller.sandbox.faults.add("html", "upload", count=1, status=status, stored=True)
    response = caller.upload()
    assert (response.status_code, response.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert response.text.startswith("<!doctype html>")
    assert len(caller.sandbox.uploads()) == 1


def test_a_redirect_goes_to_another_host(started: Started) -> None:
    """A redirect goes to the download host by default, where a token that follows it is recorded."""
    caller = started()
    caller.sandbox.faults.add("redirect", "order", count=1)
    response = caller.order()
    assert response.status_code == 302
    assert response.headers["location"].startswith(caller.sandbox.download_url)
    caller.ask("GET", response.headers["location"])
    assert [(record.kind, record.had_authorization) for record in caller.sandbox.requests][1:] == [("other", True)]
    caller.sandbox.faults.add("redirect", "order", count=1, status=308, location="http://elsewhere.example/")
    assert caller.order().headers["location"] == "http://elsewhere.example/"


@pytest.mark.parametrize(
    ("retry_after", "header"),
    [(None, None), (7, "7"), ("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:00 GMT")],
)
def test_a_429_can_have_a_retry_after(started: Started, retry_after: Any, header: str | None) -> None:
    """A rate_limited fault is 429, with Retry-After only if that is set, in either of its forms."""
    caller = started()
    caller.sandbox.faults.add("rate_limited", "upload", count=1, retry_after=retry_after)
    response = caller.upload()
    assert (response.status_code, response.headers.get("retry-after")) == (429, header)
    assert caller.sandbox.uploads() == []


@pytest.mark.parametrize(
    ("kind", "answer", "stored"),
    [
        ("accepted_error", {"status": "error", "order_attachment_id": None, "message": "because"}, 0),
        ("accepted_without_id", {"status": "success", "order_attachment_id": None, "message": None}, 1),
        ("accepted_warning", {"status": "warning", "order_attachment_id": 1, "message": "because"}, 1),
    ],
)
def test_a_202_can_be_odd(started: Started, kind: str, answer: dict[str, Any], stored: int) -> None:
    """The three odd 202 answers are as documented, and only the error stores nothing."""
    caller = started()
    caller.sandbox.faults.add(kind, count=1, message="because")
    assert caller.order().status_code == 200
    response = caller.upload()
    assert (response.status_code, response.json()) == (202, answer)
    assert len(caller.sandbox.uploads()) == stored


def test_broken_json_comes_with_the_right_status(started: Started) -> None:
    """A broken_json fault keeps the status and a right length, but its body cannot be parsed."""
    caller = started()
    caller.sandbox.faults.add("broken_json", count=1)
    response = caller.upload()
    assert response.status_code == 202
    with pytest.raises(json.JSONDecodeError):
        response.json()
    assert len(caller.sandbox.uploads()) == 1


@pytest.mark.parametrize("request_kind", ["attachment", "download"])
def test_an_attachment_can_be_gone(started: Started, request_kind: str) -> None:
    """A gone fault answers with 410 to the kind of request that it names, and to no other."""
    caller = started()
    caller.upload()
    url = caller.download_url().json()["url"]
    caller.sandbox.faults.add("gone", request_kind)
    statuses = {
        "attachment": caller.download_url().status_code,
        "download": caller.ask("GET", url, token=None).status_code,
    }
    assert statuses == {"attachment": 200, "download": 200} | {request_kind: 410}


# The script of faults


def test_faults_are_matched_by_request_order_count_and_skip(started: Started) -> None:
    """A fault affects only the orders and requests that it names, after those it skips, `count` times."""
    caller = started()
    caller.sandbox.faults.add("status", "upload", order_id=8, count=2, skip=1)
    statuses = [caller.upload(order).status_code for order in (7, 8, 8, 7, 8, 8)]
    assert statuses == [202, 202, 500, 202, 500, 202]
    assert caller.order(8).status_code == 200
    assert caller.sandbox.faults.current() == []
    assert caller.sandbox.faults.hits == {Kind.STATUS: 2}
    assert [record.fault for record in caller.sandbox.requests].count("status") == 2


def test_the_first_fault_wins_and_latencies_add_up() -> None:
    """Of several matching faults, latencies add up, and of the others only the first is drawn and used up."""
    plan = FaultPlan()
    plan.add("latency", seconds=1)
    plan.add("latency", seconds=2, stored=True)
    plan.add("latency", seconds=4)
    first = plan.add("truncate", count=1)
    second = plan.add("html")
    assert [plan.draw("upload", 1, 2) for _ in range(2)] == [(5, 2, first), (5, 2, second)]
    plan.clear()
    assert plan.draw("upload", 1, 2) == (0, 0, None)


def test_chance_is_seeded() -> None:
    """The same seed draws the same faults, another seed others, about as many as the probability says."""

    def drawn(seed: int) -> list[bool]:
        plan = FaultPlan(seed)
        plan.add("status", "upload", probability=0.3)
        return [plan.draw("upload", 1, 1).fault is not None for _ in range(1000)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert 250 < sum(drawn(1)) < 350


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "nonsense"},
        {"kind": "status", "request": "nonsense"},
        {"kind": "status", "probability": 1.5},
        {"kind": "status", "count": 0},
        {"kind": "status", "status": 99},
        {"kind": "latency", "seconds": -1},
        {"kind": "truncate", "stored": False},
        {"kind": "accepted_error", "request": "order"},
        {"kind": "status", "colour": "red"},
        {"request": "order"},
    ],
)
def test_an_impossible_fault_is_refused(values: dict[str, Any]) -> None:
    """A fault with an unknown name or an impossible value is a ValueError, not a fault that never happens."""
    with pytest.raises(ValueError, match=r"\w"):
        Fault.from_json(values)


# Control over HTTP


def test_faults_are_set_over_http(started: Started) -> None:
    """PUT replaces the script, GET shows what is left of it, DELETE ends it, and an invalid one changes nothing."""
    caller = started()
    url = caller.sandbox.url + "/sandbox/faults"
    put = caller.ask("PUT", url, token=None, json=[{"kind": "status", "request": "upload", "status": 503, "count": 2}])
    assert put.status_code == 200
    assert caller.upload().status_code == 503
    (shown,) = caller.ask("GET", url, token=None).json()
    assert (shown["kind"], shown["count"]) == ("status", 1)
    for invalid in ([{"kind": "nonsense"}], {"kind": "status"}, [{"kind": "status", "count": "3"}], ["status"]):
        refused = caller.ask("PUT", url, token=None, json=invalid)
        assert refused.status_code == 422
        assert refused.json()["message"]
    assert caller.ask("PUT", url, token=None, content=b"{").status_code == 400
    assert len(caller.sandbox.faults.current()) == 1
    assert caller.ask("DELETE", url, token=None).json() == []
    assert caller.upload().status_code == 202


def test_options_are_set_over_http(started: Started) -> None:
    """PUT changes only the options that it names, and none if a value is invalid."""
    caller = started()
    url = caller.sandbox.url + "/sandbox/options"
    before = caller.ask("GET", url, token=None).json()
    invalid: tuple[Any, ...] = (
        {"latency": -1},
        {"tokens": [], "colour": 1},
        {"rate": 4, "burst": 0},
        {"tokens": [1]},
        [],
        {"latency": True},
    )
    for values in invalid:
        assert caller.ask("PUT", url, token=None, json=values).status_code == 422
    assert caller.ask("GET", url, token=None).json() == before
    after = caller.ask("PUT", url, token=None, json={"tokens": ["new"], "rate": 0.001, "burst": 1}).json()
    assert after == before | {"tokens": ["new"], "rate": 0.001, "burst": 1}
    assert [caller.order(token=token).status_code for token in (caller.sandbox.token, "new", "new")] == [401, 200, 429]


def test_the_state_is_read_over_http(started: Started) -> None:
    """state.json lists the uploads with their hashes, and counts requests and answers."""
    caller = started()
    caller.upload(fields={"order_item_ids": [71]})
    caller.order(token="wrong")
    state = caller.ask("GET", caller.sandbox.url + "/sandbox/state.json", token=None).json()
    (upload,) = state["uploads"]
    assert (upload["order_id"], upload["sha256"], upload["item_ids"]) == (7, SHA256, [71])
    assert state["requests"] == {"arrived": {"upload": 1, "order": 1}, "answered": {"202": 1, "401": 1}}
    assert caller.sandbox.token not in json.dumps(state)


@pytest.mark.parametrize("path", ["/", "/sandbox/state.json", "/sandbox/faults", "/sandbox/attachments/1.pdf"])
def test_control_answers_only_loopback_names(started: Started, path: str) -> None:
    """A web page whose host name resolves to this machine can reach neither control nor files."""
    caller = started()
    caller.upload()
    assert caller.ask("GET", caller.sandbox.url + path, headers={"Host": "evil.example"}).status_code == 403
    assert caller.ask("GET", caller.sandbox.url + path, headers={"Host": "localhost:1"}).status_code == 200


@pytest.mark.parametrize(
    "values", [{"host": "0.0.0.0"}, {"host": "example.com"}, {"projects": ()}, {"tokens": ("",)}, {"latency": -1}]
)
def test_impossible_options_are_refused(values: dict[str, Any]) -> None:
    """Listening beyond loopback, and other impossible options, are refused with a sentence."""
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        Options(**values)


# The page and the sample invoices


def test_the_page_lists_attachments_and_escapes_everything(started: Started) -> None:
    """The page shows orders with attachments first, with working links, no external assets and no foreign markup."""
    caller = started(orders=20)
    caller.upload(3)
    caller.sandbox.store.attach(5, PDF, title="<script>alert(1)</script>")
    caller.sandbox.store.add_order(5, channel_name="<b>bol</b>", channel_id='"><img src=x>')
    page = caller.ask("GET", caller.sandbox.url + "/", token=None)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "&lt;script&gt;alert(1)" in page.text
    assert not any(markup in page.text for markup in ("<script", "<img", "<b>bol", "http://", "https://"))
    assert page.text.index("<b>5</b>") < page.text.index("<b>3</b>") < page.text.index("<td>20</td>")
    assert SHA256[:12] in page.text
    assert CUSTOMER_SURNAME not in page.text
    assert caller.ask("GET", caller.sandbox.url + "/sandbox/attachments/1.pdf", token=None).content == PDF


@pytest.mark.parametrize("number", ["8355", "302-1234567-0008355", "a(b)\\c ü €"])
def test_an_invoice_is_a_valid_pdf_with_its_order_number(number: str) -> None:
    """A sample invoice is read by strict pypdf without a warning, and has its order number on every page."""
    pdf = invoice_pdf(number, pages=3)
    assert pdf == invoice_pdf(number, pages=3)
    reader = pypdf.PdfReader(io.BytesIO(pdf), strict=True)
    assert len(reader.pages) == 3
    assert all(f"Order number: {number}" in page.extract_text() for page in reader.pages)
    assert reader.metadata is not None
    assert reader.metadata.title == f"Invoice {number}"


def test_invoices_differ_and_add_up() -> None:
    """Different orders give different bytes, many lines need more pages, and the total is the sum of the lines."""
    assert len({invoice_pdf(str(order)) for order in range(200)}) == 200
    reader = pypdf.PdfReader(io.BytesIO(invoice_pdf("1", lines=[Line("Thing", 2, 1000)] * 45)), strict=True)
    assert len(reader.pages) == 3
    assert "1,089.00" in reader.pages[-1].extract_text()
    assert sum(page.extract_text().count("Thing") for page in reader.pages) == 45
    with pytest.raises(ValueError, match="one page"):
        invoice_pdf("1", pages=0)


# Starting and stopping


def test_stopping_is_quick_with_hanging_requests(started: Started, caplog: pytest.LogCaptureFixture) -> None:
    """A stop breaks requests that hang, drip, wait or are half sent, at once and with nothing logged."""
    caller = started()
    sandbox = caller.sandbox
    sandbox.faults.add("hang_after_store", order_id=1)
    sandbox.faults.add("slow_drip", order_id=2)
    sandbox.faults.add("latency", order_id=3, seconds=60)
    broken: list[Exception] = []

    def upload(order: int) -> None:
        try:
            caller.upload(order)
        except httpx.TransportError as error:
            broken.append(error)

    threads = [threading.Thread(target=upload, args=(order,)) for order in (1, 2, 3)]
    with _connected(sandbox) as half_sent, _connected(sandbox):
        half_sent.sendall(_upload_head(caller, 1000) + b"{")
        for thread in threads:
            thread.start()
        sandbox.wait_until(lambda: sandbox.journal.arrived("upload") == 4 and len(sandbox.uploads()) == 2)
        begin = time.monotonic()
        sandbox.stop()
        assert time.monotonic() - begin < 1
    for thread in threads:
        thread.join(10)
    assert len(broken) == 3
    assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []
    with pytest.raises(httpx.ConnectError):
        caller.order()
    assert len(sandbox.uploads()) == 2


def test_an_outage_keeps_everything(started: Started) -> None:
    """After stop and start the sandbox answers at the same URL and still has its uploads."""
    caller = started()
    caller.upload()
    url = caller.download_url().json()["url"]
    for _ in range(3):
        caller.sandbox.stop()
        caller.sandbox.stop()
        caller.sandbox.start()
        assert caller.ask("GET", url, token=None).content == PDF
    assert caller.upload().json()["order_attachment_id"] == 2


def test_nothing_is_left_behind() -> None:
    """A sandbox that was used and closed leaves no thread, open file or socket."""

    def use() -> None:
        with serve(Options(rate=0)) as sandbox, _connected(sandbox) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(20).startswith(b"HTTP/1.1 200")

    use()
    process = psutil.Process()
    before = (process.num_fds(), threading.active_count())
    for _ in range(3):
        use()
    assert (process.num_fds(), threading.active_count()) == before


def test_a_port_that_is_taken_is_an_error(started: Started) -> None:
    """A second sandbox on the same port fails with OSError, and the first keeps working."""
    caller = started()
    with pytest.raises(OSError, match="in use"), serve(Options(port=int(caller.sandbox.url.rpartition(":")[2]))):
        pass
    assert caller.order().status_code == 200


def test_uploads_in_a_folder_survive(started: Started, tmp_path: Path) -> None:
    """With a folder, a new sandbox has the uploads of the last one, and assigns no id twice."""
    first = started(folder=tmp_path / "kept")
    first.upload(fields={"order_item_ids": [71]})
    first.upload(8)
    assert (tmp_path / "kept" / f"{first.sandbox.project_id}_7_1.pdf").read_bytes() == PDF
    second = started(folder=tmp_path / "kept")
    assert second.sandbox.uploads() == first.sandbox.uploads()
    assert second.ask("GET", second.download_url().json()["url"], token=None).content == PDF
    assert second.upload().json()["order_attachment_id"] == 3
    second.sandbox.store.forget_file(1)
    assert second.download_url().status_code == 410


def test_a_line_that_was_cut_off_by_a_kill_is_dropped(started: Started, tmp_path: Path) -> None:
    """An index whose last line is incomplete loses only that line, and the next one is written whole."""
    started(folder=tmp_path).upload()
    index = tmp_path / "uploads.jsonl"
    index.write_bytes(index.read_bytes() + b'{"id": 2, "ord')
    second = started(folder=tmp_path)
    assert second.upload(8).json()["order_attachment_id"] == 2
    assert [upload.order_id for upload in started(folder=tmp_path).sandbox.uploads()] == [7, 8]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_stops_cleanly_on_a_signal(client: httpx.Client, number: signal.Signals) -> None:
    """In the foreground the callback gets the URL; it serves, prints nothing, and returns on SIGINT or SIGTERM."""
    program = (
        "import logging, signal; from invoicedrop.sandbox import Options, run\n"
        # In dev mode asyncio remarks on each turn of 0.1 s, of which a busy machine has some.
        "logging.getLogger('asyncio').setLevel('ERROR')\n"
        "before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]\n"
        "run(Options(rate=0), lambda url: print(url, flush=True))\n"
        "assert before == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]\n"
        "print('returned')"
    )
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-X", "dev", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert client.get(url + "/sandbox/state.json").status_code == 200
            process.send_signal(number)
            rest = process.stdout.read()
            assert (process.wait(10), rest) == (0, "returned\n")
        finally:
            process.kill()


def test_many_concurrent_faults_are_counted_right(started: Started) -> None:
    """With hundreds of mixed faults and several clients, exactly what was stored is listed, and every request ends."""
    caller = started(any_order=True, seed=3)
    for kind in ("reset_before_store", "reset_after_store", "truncate", "broken_json", "status", "accepted_error"):
        caller.sandbox.faults.add(kind, "upload", probability=0.15)
    answered: list[int] = []

    def upload_many(first: int) -> None:
        for order in range(first, first + 50):
            try:
                response = caller.upload(order, invoice_pdf(str(order)))
                if response.status_code == 202 and response.json()["order_attachment_id"]:
                    answered.append(order)
            except (httpx.TransportError, json.JSONDecodeError):
                pass

    threads = [threading.Thread(target=upload_many, args=(first,)) for first in range(1, 201, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sandbox, hits = caller.sandbox, caller.sandbox.faults.hits
    sandbox.wait_until(lambda: all(record.over for record in sandbox.requests))
    lost = hits[Kind.RESET_BEFORE_STORE] + hits[Kind.STATUS] + hits[Kind.ACCEPTED_ERROR]
    unacknowledged = hits[Kind.RESET_AFTER_STORE] + hits[Kind.TRUNCATE] + hits[Kind.BROKEN_JSON]
    assert lost
    assert unacknowledged
    assert len(sandbox.uploads()) == 200 - lost
    assert len(answered) == 200 - lost - unacknowledged
    for upload in sandbox.uploads():
        assert upload.sha256 == hashlib.sha256(invoice_pdf(str(upload.order_id))).hexdigest()


def _connected(sandbox: Running) -> socket.socket:
    url = httpx.URL(sandbox.url)
    return socket.create_connection((url.host, url.port), timeout=10)


def _upload_head(caller: Caller, length: int) -> bytes:
    return (
        f"POST {httpx.URL(caller.path(1, '/7/attachments')).path} HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {caller.sandbox.token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()
