"""The endpoints of the Channable API, as its OpenAPI document (copy of 2026-10) specifies them."""

import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from invoicedrop.sandbox.orders import StoredOrder
from invoicedrop.sandbox.store import OrderQuery, Store
from invoicedrop.sandbox.wire import Answer

UPLOAD_PATH: Final = "/v1/companies/{company_id}/projects/{project_id}/orders/{order_id}/attachments"
ATTACHMENT_PATH: Final = UPLOAD_PATH + "/{order_attachment_id}"
ORDERS_PATH: Final = "/v2/companies/{company_id}/projects/{project_id}/orders"
ORDER_PATH: Final = ORDERS_PATH + "/{order_id}"
DOWNLOAD_PATH: Final = "/files/{attachment_id}"

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}")
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_HEADER_WITHIN: Final = 1024
_MAX_ORDERS: Final = 100

Detail = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One parsed request: `ids` by their names in the path, `query` with the last value of each name."""

    ids: Mapping[str, int]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    download_base: str


Handler = Callable[[Store, Call], Answer]


def as_json(status: int, value: Any, *headers: tuple[str, str]) -> Answer:
    """Return a JSON answer."""
    return Answer(status, json.dumps(value).encode(), headers=headers)


def problem(status: int, message: str, *headers: tuple[str, str]) -> Answer:
    """Return an error in the API's form: 401 has `error`, all others have `message`."""
    if status == 401:  # noqa: PLR2004 - the HTTP status itself
        return as_json(status, {"error": message}, *headers)
    return as_json(status, {"status": "error", "message": message}, *headers)


def invalid(*details: Detail) -> Answer:
    """Return a 422 with the details of each invalid field."""
    return as_json(422, {"detail": details})


def detail(loc: Sequence[str | int], msg: str, kind: str) -> Detail:
    """Return one entry of a 422's `detail`."""
    return {"loc": list(loc), "msg": msg, "type": kind}


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
    attachment = store.attach(order_id, pdf, project_id=project_id, item_ids=tuple(fields.get("order_item_ids") or ()))
    return accepted(attachment.id)


def accepted(attachment_id: int | None, status: str = "success", message: str | None = None) -> Answer:
    """Return the 202 of an upload."""
    return as_json(202, {"status": status, "order_attachment_id": attachment_id, "message": message})


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
    return as_json(200, {"order": _shown(store, order), "events": [event.to_json() for event in order.events]})


def list_orders(store: Store, call: Call) -> Answer:
    """Return a page of orders, newest first: 200 or 422."""
    wrong: list[Detail] = []
    limit = _number(call.query, "limit", wrong, default=_MAX_ORDERS, minimum=1, maximum=_MAX_ORDERS)
    offset = _number(call.query, "offset", wrong, default=0, minimum=0)
    query = OrderQuery(
        search=call.query.get("search", "").strip(),
        status=call.query.get("status", ""),
        start_date=_moment(call.query, "start_date", wrong),
        end_date=_moment(call.query, "end_date", wrong),
        last_modified_after=_moment(call.query, "last_modified_after", wrong),
    )
    if wrong:
        return invalid(*wrong)
    orders = store.orders(call.ids["project_id"], query)
    page = [_shown(store, order) for order in orders[offset : offset + limit]]
    errors = sum(any(event.status == "error" for event in order.events) for order in orders)
    return as_json(200, {"orders": page, "total": len(orders), "error_count": errors})


def download(store: Store, call: Call) -> Answer:
    """Return a file by its signed URL: 200, 403 (expired or forged) or 410. No token is needed."""
    number, expires, signature = (
        call.ids["attachment_id"],
        call.query.get("expires", ""),
        call.query.get("signature", ""),
    )
    if not expires.isascii() or not expires.isdigit() or not store.signed(number, int(expires), signature):
        return Answer(
            403, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>", "application/xml"
        )
    content = store.content(number)
    return problem(410, "The file is gone") if content is None else Answer(200, content, "application/pdf")


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


def _shown(store: Store, order: StoredOrder) -> dict[str, Any]:
    return order.to_json(store.visible(order))


def _number(
    query: Mapping[str, str], name: str, wrong: list[Detail], *, default: int, minimum: int, maximum: int | None = None
) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not _INTEGER.fullmatch(text):
        wrong.append(detail(("query", name), "Input should be a valid integer", "int_parsing"))
        return default
    value = int(text)
    if value < minimum:
        wrong.append(
            detail(("query", name), f"Input should be greater than or equal to {minimum}", "greater_than_equal")
        )
    elif maximum is not None and value > maximum:
        wrong.append(detail(("query", name), f"Input should be less than or equal to {maximum}", "less_than_equal"))
    return value


def _moment(query: Mapping[str, str], name: str, wrong: list[Detail]) -> datetime | None:
    text = query.get(name)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        wrong.append(detail(("query", name), "Input should be a valid datetime or date", "datetime_from_date_parsing"))
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
