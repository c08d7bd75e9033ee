"""Orders, attachments and events over HTTP, without a token: what somebody else, or the marketplace, does to them.

    PUT     /sandbox/orders/5               {"status_shipped": "cancelled"}: adds or changes an order (`OrderChanges`)
    POST    /sandbox/orders/5/attachments   {"file": base64, "attachment_type": "INVOICE", ...}: as `Store.attach`
    POST    /sandbox/orders/5/events        {"status": "error", "message": "...", "after": 3}: as `Store.add_event`
    GET, PUT, DELETE /sandbox/events        the list of `EventRule`: what uploads are followed by
    DELETE  /sandbox/attachments/1.pdf      the file is gone from now on
    GET     /sandbox/samples/5.pdf          a sample invoice; 5_e-invoice.pdf, 5_credit-note.pdf

`?project_id=` names another project than the first.
"""

import base64
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import NoneType
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from invoicedrop.sandbox.control import guarded
from invoicedrop.sandbox.einvoice import CREDIT_NOTE, INVOICE, e_invoice_pdf
from invoicedrop.sandbox.events import EventRule
from invoicedrop.sandbox.exchange import Context
from invoicedrop.sandbox.paper import invoice_pdf
from invoicedrop.sandbox.store import Store

_ORDER_FIELDS: Final[Mapping[str, tuple[type, ...]]] = {
    "channel_name": (str,),
    "channel_id": (str,),
    "channel_order_number": (str,),
    "created": (datetime,),
    "modified": (datetime,),
    "status_shipped": (str,),
    "platform_name": (str, NoneType),
    "supports_order_attachments": (bool, NoneType),
    "is_test_order": (bool,),
    "is_demo_order": (bool,),
    "business_order": (bool,),
    "price_total": (int, float),
    "price_currency": (str,),
    "memo": (str,),
    "shown": (dict,),
    "hidden": (tuple,),
}
_ATTACHMENT_FIELDS: Final[Mapping[str, tuple[type, ...]]] = {
    "attachment_type": (str,),
    "title": (str,),
    "visible_after": (int, float),
    "created": (datetime,),
    "length_told": (bool,),
    "shown": (dict,),
    "hidden": (tuple,),
}
_SAMPLES: Final[Mapping[str, Callable[[str], bytes]]] = {
    "": invoice_pdf,
    "_e-invoice": lambda order: e_invoice_pdf(order, type_code=INVOICE),
    "_credit-note": lambda order: e_invoice_pdf(order, type_code=CREDIT_NOTE),
}
_SAMPLE_NAME: Final = re.compile(r"([0-9]{1,19})(_e-invoice|_credit-note|)\.pdf")


def routes(context: Context) -> list[Route]:
    """Return the routes below the control prefix."""
    control = _OrderControl(context.store)
    return [
        Route("/orders/{order_id:int}", guarded(control.change_order), methods=["PUT"]),
        Route("/orders/{order_id:int}/attachments", guarded(control.attach), methods=["POST"]),
        Route("/orders/{order_id:int}/events", guarded(control.add_event), methods=["POST"]),
        Route("/events", guarded(control.plan_events), methods=["GET", "PUT", "DELETE"]),
        Route("/attachments/{attachment_id:int}.pdf", guarded(control.forget_file), methods=["DELETE"]),
        Route("/samples/{name}", guarded(_sample)),
    ]


class _OrderControl:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def change_order(self, request: Request) -> Response:
        changes: Any = _fields(await request.json(), _ORDER_FIELDS)
        order_id, project_id = self._ids(request)
        order = self._store.add_order(order_id, project_id=project_id, **changes)
        return JSONResponse(order.to_json(self._store.visible(order)))

    async def attach(self, request: Request) -> Response:
        values = _object(await request.json())
        if not isinstance(values.get("file"), str):
            raise TypeError("an attachment needs `file`, in base64")
        pdf = base64.b64decode(values.pop("file"), validate=True)
        fields = _fields(values, _ATTACHMENT_FIELDS)
        order_id, project_id = self._ids(request)
        attachment = self._store.attach(order_id, pdf, project_id=project_id, **fields)
        return JSONResponse(attachment.to_json(), status_code=201)

    async def add_event(self, request: Request) -> Response:
        values = _object(await request.json())
        if set(values) - {"status", "message", "after"}:
            raise ValueError("an event has `status`, `message` and `after`")
        event = EventRule.from_json(values)
        order_id, project_id = self._ids(request)
        self._store.add_event(order_id, event.status, event.message, project_id=project_id, after=event.after)
        return JSONResponse(values, status_code=201)

    async def plan_events(self, request: Request) -> Response:
        plan = self._store.event_plan
        if request.method == "DELETE":
            plan.replace(())
        elif request.method == "PUT":
            values = await request.json()
            if not isinstance(values, list):
                raise TypeError("events are a JSON list")
            plan.replace([EventRule.from_json(_object(value)) for value in values])
        return JSONResponse([rule.to_json() for rule in plan.current()])

    async def forget_file(self, request: Request) -> Response:
        attachment_id = request.path_params["attachment_id"]
        if self._store.attachment(attachment_id) is None:
            return JSONResponse({"message": "there is no such attachment"}, status_code=404)
        self._store.forget_file(attachment_id)
        return JSONResponse({})

    def _ids(self, request: Request) -> tuple[int, int]:
        projects = self._store.options.projects
        project_id = int(request.query_params.get("project_id", projects[0]))
        if project_id not in projects:
            raise ValueError(f"there is no project {project_id}")
        return request.path_params["order_id"], project_id


async def _sample(request: Request) -> Response:
    match = _SAMPLE_NAME.fullmatch(request.path_params["name"])
    if match is None:
        return JSONResponse({"message": "there are 5.pdf, 5_e-invoice.pdf, 5_credit-note.pdf"}, status_code=404)
    return Response(_SAMPLES[match[2]](match[1]), media_type="application/pdf")


def _object(values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise TypeError("this is a JSON object")
    return values


def _fields(values: Any, kinds: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in _object(values).items():
        if name not in kinds:
            raise ValueError(f"nothing is called {name}; there are {', '.join(kinds)}")
        fields[name] = _moment(name, value) if datetime in kinds[name] else value
        if tuple in kinds[name] and isinstance(value, list):
            fields[name] = tuple(str(item) for item in value)
        # A bool is an int to Python, and no number to anybody else.
        if (isinstance(value, bool) and bool not in kinds[name]) or not isinstance(fields[name], kinds[name]):
            raise TypeError(f"{name} cannot be {value!r}")
    return fields


def _moment(name: str, value: Any) -> datetime:
    if not isinstance(value, str):
        raise TypeError(f"{name} is a time in ISO 8601")
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
