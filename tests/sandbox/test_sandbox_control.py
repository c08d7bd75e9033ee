"""Orders, attachments and events over HTTP, for sandboxes that run as a process of their own."""

import base64
from typing import Any

import pytest

from invoicedrop.sandbox.einvoice import CREDIT_NOTE, e_invoice_pdf
from invoicedrop.sandbox.paper import invoice_pdf
from sandbox_caller import Started


def test_orders_are_set_over_http(started: Started) -> None:
    """PUT adds an order or changes what it names, in the project that is named."""
    caller = started(projects=(1, 2))
    changes = {"status_shipped": "cancelled", "created": "2026-10-01", "hidden": ["id"]}
    changed = caller.control("PUT", "orders/7", changes)
    assert (changed.status_code, changed.json()["status_shipped"]) == (200, "cancelled")
    assert caller.order().json()["order"] == changed.json()
    assert "id" not in changed.json()
    assert changed.json()["modified"] == "2026-10-01T00:00:00.000000Z"
    assert caller.control("PUT", "orders/500?project_id=2", {"supports_order_attachments": None}).status_code == 200
    assert caller.order(500).status_code == 404
    assert caller.ask("GET", caller.path(2, "/500", project=2)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "value"),
    [
        ("PUT", "orders/7", {"colour": "red"}),
        ("PUT", "orders/7", {"status_shipped": 1}),
        ("PUT", "orders/7", {"is_test_order": "yes"}),
        ("PUT", "orders/7", {"price_total": True}),
        ("PUT", "orders/7", {"created": "yesterday"}),
        ("PUT", "orders/7", {"created": 1}),
        ("PUT", "orders/7", []),
        ("PUT", "orders/7?project_id=3", {}),
        ("POST", "orders/7/attachments", {"attachment_type": "INVOICE"}),
        ("POST", "orders/7/attachments", {"file": "no base64!"}),
        ("POST", "orders/7/attachments", {"file": "JVBERi0=", "posted": True}),
        ("POST", "orders/7/events", {"status": "debug"}),
        ("POST", "orders/7/events", {"status": "info", "count": 1}),
        ("PUT", "events", {"status": "info"}),
        ("PUT", "events", ["info"]),
        ("PUT", "events", [{"status": "info", "after": "soon"}]),
        ("PUT", "options", {"reencodes": 1}),
        ("PUT", "options", {"list_lag": -1}),
        ("PUT", "faults", [{"kind": "lie"}]),
        ("PUT", "faults", [{"kind": "lie", "request": "upload", "shown": {"id": 1}}]),
        ("PUT", "faults", [{"kind": "lie", "shown": "id"}]),
    ],
)
def test_what_is_impossible_is_refused(started: Started, method: str, path: str, value: Any) -> None:
    """An unknown name, a value of another type or an unknown project is a 422 with a sentence, and changes nothing."""
    caller = started()
    before = caller.order().json()
    refused = caller.control(method, path, value)
    assert refused.status_code == 422
    assert refused.json()["message"]
    assert caller.order().json() == before


def test_others_attach_over_http(started: Started) -> None:
    """POST attaches what somebody else would, DELETE lets its file be gone, and state.json counts uploads only."""
    caller = started()
    pdf = invoice_pdf("theirs")
    attached = caller.control(
        "POST",
        "orders/7/attachments",
        {"file": base64.b64encode(pdf).decode(), "title": "theirs.pdf", "hidden": ["created"], "length_told": False},
    )
    assert attached.status_code == 201
    assert caller.attachments() == [attached.json()]
    assert caller.ask("GET", caller.download_url().json()["url"], token=None).content == pdf
    assert caller.control("DELETE", "attachments/1.pdf").status_code == 200
    assert caller.download_url().status_code == 410
    assert caller.control("DELETE", "attachments/2.pdf").status_code == 404
    assert caller.control("GET", "state.json").json()["uploads"] == []


def test_events_are_set_over_http(started: Started) -> None:
    """An event can be added to an order, and rules can be set, read and removed."""
    caller = started()
    assert caller.control("POST", "orders/7/events", {"status": "error", "message": "refused"}).status_code == 201
    assert caller.events() == [("error", "refused")]
    (rule,) = caller.control("PUT", "events", [{"status": "warning", "message": "odd", "order_id": 8}]).json()
    assert (rule["status"], rule["order_id"], rule["count"]) == ("warning", 8, None)
    caller.upload(8)
    assert ("warning", "odd") in caller.events(8)
    assert caller.control("DELETE", "events").json() == caller.control("GET", "events").json() == []


def test_options_of_lists_and_bytes_are_set_over_http(started: Started) -> None:
    """The lag of lists, the vendor's total and other bytes are switched while the sandbox runs."""
    caller = started()
    changed = {"list_lag": 3600, "counts_all_orders": False, "reencodes": True}
    assert changed.items() <= caller.control("PUT", "options", changed).json().items()
    caller.upload()
    assert caller.listed(7)["attachments"] == []
    assert caller.orders(limit=3).json()["total"] == 3
    assert caller.ask("GET", caller.download_url().json()["url"], token=None).content != invoice_pdf("7")


def test_sample_invoices_are_served(started: Started) -> None:
    """There are an invoice, an e-invoice and a credit note for every order; another name is 404."""
    caller = started()
    assert caller.control("GET", "samples/5.pdf").content == invoice_pdf("5")
    assert caller.control("GET", "samples/5_e-invoice.pdf").content == e_invoice_pdf("5")
    assert caller.control("GET", "samples/5_credit-note.pdf").content == e_invoice_pdf("5", type_code=CREDIT_NOTE)
    assert caller.control("GET", "samples/x.pdf").status_code == 404
    url = caller.sandbox.url + "/sandbox/samples/5.pdf"
    assert caller.ask("GET", url, headers={"Host": "evil.example"}).status_code == 403
