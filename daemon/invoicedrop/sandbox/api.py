"""The endpoints of the Channable API, as its OpenAPI document (copy of 2026-10) specifies them."""

import binascii
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from invoicedrop.sandbox.answers import Detail, accepted, as_json, detail, invalid, problem
from invoicedrop.sandbox.order_query import read_query
from invoicedrop.sandbox.store import Store
from invoicedrop.sandbox.wire import Answer

UPLOAD_PATH: Final = "/v1/companies/{company_id}/projects/{project_id}/orders/{order_id}/attachments"
ATTACHMENT_PATH: Final = UPLOAD_PATH + "/{order_attachment_id}"
ORDERS_PATH: Final = "/v2/companies/{company_id}/projects/{project_id}/orders"
ORDER_PATH: Final = ORDERS_PATH + "/{order_id}"
DOWNLOAD_PATH: Final = "/files/{attachment_id}"

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}")
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_HEADER_WITHIN: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One parsed request: `ids` by their names in the path, `query` with all values of each name."""

    ids: Mapping[str, int]
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    body: bytes
    download_base: str


Handler = Callable[[Store, Call], Answer]


def read_ids(texts: Mapping[str, str]) -> tuple[dict[str, int], list[Detail]]:
    """Parse the integers of a path; anything else becomes a detail of a 422."""
    ids: dict[str, int] = {}
    wrong: list[Detail] = []
    for name, text in texts.items():
        if _INTEGER.fullmatch(text):
            ids[name] = int(text)
        else:
            wrong.append(detail(("path", name), "Input should be a valid integer", "int_parsing"))
    return ids, wrong


def upload(store: Store, call: Call) -> Answer:
    """Accept an invoice: 202 with its attachment id, 400, 404, 415 or 422."""
    fields = _read_object(call)
    if isinstance(fields, Answer):
        return fields
    pdf, wrong = _read_upload(fields)
    if wrong or pdf is None:
        return invalid(*wrong)
    project_id, order_id = call.ids["project_id"], call.ids["order_id"]
    if store.order(order_id, project_id=project_id) is None:
        return problem(404, "Order not found")
    if b"%PDF" not in pdf[:_HEADER_WITHIN]:
        return problem(415, "Unsupported file type: only PDF files are accepted")
    items = tuple(fields.get("order_item_ids") or ())
    attachment = store.attach(order_id, pdf, project_id=project_id, item_ids=items, posted=True)
    return accepted(attachment.id)


def attachment_url(store: Store, call: Call) -> Answer:
    """Return the URL that an attachment can be downloaded from: 200, 404 or 410."""
    order = store.order(call.ids["order_id"], project_id=call.ids["project_id"])
    number = call.ids["order_attachment_id"]
    if order is None or all(attachment.id != number for attachment in store.visible(order)):
        return problem(404, "Attachment not found")
    if store.content(number) is None:
        return problem(410, "The file of this attachment is no longer available")
    return as_json(200, {"url": call.download_base + store.sign(number)})


def one_order(store: Store, call: Call) -> Answer:
    """Return an order with its events: 200 or 404."""
    order = store.order(call.ids["order_id"], project_id=call.ids["project_id"])
    if order is None:
        return problem(404, "Order not found")
    return as_json(
        200,
        {"order": order.to_json(store.visible(order)), "events": [event.to_json() for event in store.events(order)]},
    )


def list_orders(store: Store, call: Call) -> Answer:
    """Return a page of orders, newest first: 200 or 422."""
    query = read_query(call.query)
    if isinstance(query, list):
        return invalid(*query)
    orders = store.orders(call.ids["project_id"], query)
    page = orders[query.offset : query.offset + query.limit]
    return as_json(
        200,
        {
            "orders": [order.to_json(store.visible(order, lag=store.list_lag)) for order in page],
            "total": len(orders if store.counts_all_orders else page),
            "error_count": sum(order.has_error(time.monotonic()) for order in orders),
        },
    )


def download(store: Store, call: Call) -> Answer:
    """Return a file by its signed URL: 200, 403 (expired or forged) or 410. No token is needed."""
    number = call.ids["attachment_id"]
    expires, signature = (call.query.get(name, ("",))[-1] for name in ("expires", "signature"))
    if not expires.isascii() or not expires.isdigit() or not store.signed(number, int(expires), signature):
        return Answer(
            403, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>", "application/xml"
        )
    attachment, content = store.attachment(number), store.content(number)
    if attachment is None or content is None:
        return problem(410, "The file is gone")
    return Answer(200, attachment.downloaded(content), "application/pdf", length_told=attachment.length_told)


def _read_object(call: Call) -> dict[str, Any] | Answer:
    not_an_object = invalid(detail(("body",), "Input should be a valid dictionary", "model_attributes_type"))
    if call.headers.get("content-type", "").partition(";")[0].strip().casefold() != "application/json":
        return not_an_object
    try:
        fields = json.loads(call.body)
    except (ValueError, RecursionError) as error:
        return problem(400, f"The request body is not JSON: {error}")
    return fields if isinstance(fields, dict) else not_an_object


def _read_upload(fields: dict[str, Any]) -> tuple[bytes | None, list[Detail]]:
    wrong: list[Detail] = []
    pdf: bytes | None = None
    text = fields.get("file")
    if "file" not in fields:
        wrong.append(detail(("body", "file"), "Field required", "missing"))
    elif not isinstance(text, str):
        wrong.append(detail(("body", "file"), "Input should be a valid string", "string_type"))
    else:
        pdf = _decoded(text)
        if pdf is None:
            wrong.append(detail(("body", "file"), "Data should be valid base64", "base64_decode"))
    if fields.get("attachment_type", "INVOICE") != "INVOICE":
        wrong.append(detail(("body", "attachment_type"), "Input should be 'INVOICE'", "enum"))
    items = fields.get("order_item_ids")
    if items is not None and not isinstance(items, list):
        wrong.append(detail(("body", "order_item_ids"), "Input should be a valid list", "list_type"))
    elif items:
        wrong.extend(
            detail(("body", "order_item_ids", index), "Input should be a valid integer", "int_type")
            for index, item in enumerate(items)
            if not isinstance(item, int) or isinstance(item, bool)
        )
    return pdf, wrong


def _decoded(text: str) -> bytes | None:
    # The same as base64.b64decode(text, validate=True), in two thirds of its time: this is the hot spot.
    data = text.encode("utf-8", "surrogatepass")
    rest = data.translate(None, _BASE64)
    if len(data) % 4 or rest not in {b"", b"=", b"=="} or not data.endswith(rest):
        return None
    return binascii.a2b_base64(data)
