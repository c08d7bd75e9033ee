"""One request from its headers to its answer, through the layers of a real API in their order.

reset while sending -> body read (413) -> 405, 406 -> token (401), rate limit (429), reach (403), ids (422)
-> latency -> moment before -> fault before storing -> handler -> moment after -> fault after storing -> answer.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from invoicedrop.sandbox.answers import accepted, as_json, invalid, problem
from invoicedrop.sandbox.api import Call, Handler, read_ids
from invoicedrop.sandbox.faults import Drawn, Fault, FaultPlan, Kind
from invoicedrop.sandbox.journal import Journal, RequestRecord
from invoicedrop.sandbox.moments import Moments
from invoicedrop.sandbox.overrides import overridden
from invoicedrop.sandbox.store import Store
from invoicedrop.sandbox.wire import Answer, ClientLeftError, TooLargeError, Wire

_OK: Final = 200
_ACCEPTED: Final = 202
_HTML: Final = b"<!doctype html><html><head><title>%d</title></head><body><h1>%d</h1><hr>nginx</body></html>\n"


@dataclass(slots=True, kw_only=True)
class Context:
    """What all requests share. `download_base` is the origin of download URLs."""

    store: Store
    faults: FaultPlan
    journal: Journal
    moments: Moments
    download_base: str = ""


class Endpoint:
    """An ASGI application for one kind of request; `handler` None answers 404 (an unknown path).

    `public` requests (downloads) need no token and do not count against the rate limit.
    """

    def __init__(
        self, context: Context, kind: str, handler: Handler | None, *, method: str = "GET", public: bool = False
    ) -> None:
        self._context = context
        self._kind = kind
        self._handler = handler
        self._method = method
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request and record it."""
        wire = Wire(scope, receive, send)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        ids, wrong = read_ids(scope.get("path_params", {}))
        project_id, order_id = ids.get("project_id"), ids.get("order_id")
        attachment_id = ids.get("order_attachment_id", ids.get("attachment_id"))
        drawn = self._context.faults.draw(self._kind, project_id, order_id, attachment_id)
        record = self._context.journal.open(
            RequestRecord(
                time=time.monotonic(),
                method=scope["method"],
                path=scope["path"],
                query=scope["query_string"].decode("latin-1"),
                kind=self._kind,
                order_id=order_id,
                had_authorization="authorization" in headers,
                user_agent=headers.get("user-agent", ""),
                fault=None if drawn.fault is None else str(drawn.fault.kind),
            )
        )
        try:
            if drawn.fault is not None and drawn.fault.kind is Kind.RESET_BEFORE_READ:
                await wire.reset()
                return
            refusal: Answer | None = None
            body = b""
            try:
                body = await wire.read(self._context.store.options.max_body_bytes)
            except TooLargeError:
                refusal = problem(413, "The request is too large")
            refusal = refusal or self._refusal(scope["method"], headers, ids)
            if refusal is None and wrong:
                refusal = invalid(*wrong)
            if refusal is not None:
                await wire.wait(self._context.store.latency)
                await self._answer(wire, record, refusal)
                return
            call = Call(
                ids=ids,
                query=parse_qs(record.query, keep_blank_values=True),
                headers=headers,
                body=body,
                download_base=self._context.download_base,
            )
            await self._handle(wire, record, call, drawn)
        except ClientLeftError:
            pass
        finally:
            self._context.journal.close(record)

    def _refusal(self, method: str, headers: Mapping[str, str], ids: Mapping[str, int]) -> Answer | None:
        store = self._context.store
        company_id, project_id = ids.get("company_id"), ids.get("project_id")
        answer: Answer | None = None
        if self._handler is None:
            answer = problem(404, "Not found")
        elif method != self._method:
            answer = problem(405, "Method not allowed", ("allow", self._method))
        elif self._public:
            pass
        elif not _takes_json(headers.get("accept", "*/*")):
            answer = problem(406, "Only application/json can be answered")
        elif not store.authorised(headers.get("authorization")):
            answer = problem(401, "The access token is invalid, revoked or expired")
        elif not store.bucket.take():
            answer = problem(429, "Too many requests")
        elif company_id is not None and project_id is not None and not store.reaches(company_id, project_id):
            answer = problem(403, "The access token may not reach this company or project")
        return answer

    async def _handle(self, wire: Wire, record: RequestRecord, call: Call, drawn: Drawn) -> None:
        await wire.wait(self._context.store.latency + drawn.delay_before)
        fault = drawn.fault
        self._context.moments.run(self._kind, record.order_id, after=False)
        if fault is not None and not fault.stored:
            await self._apply_fault(wire, record, fault, None)
            return
        assert self._handler is not None
        answer = self._handler(self._context.store, call)
        self._context.moments.run(self._kind, record.order_id, after=True)
        await wire.wait(drawn.delay_after)
        if fault is None:
            await self._answer(wire, record, answer)
        else:
            await self._apply_fault(wire, record, fault, answer)

    async def _apply_fault(self, wire: Wire, record: RequestRecord, fault: Fault, real: Answer | None) -> None:
        match fault.kind:
            case Kind.RESET_BEFORE_STORE | Kind.RESET_AFTER_STORE:
                await wire.reset()
            case Kind.HANG_BEFORE_STORE | Kind.HANG_AFTER_STORE:
                await wire.hang()
            case Kind.TRUNCATE if real is not None:
                record.status = real.status
                await wire.cut(real)
            case Kind.SLOW_DRIP if real is not None:
                record.status = real.status
                await wire.drip(real, fault.seconds or 0.0)
            case _:
                await self._answer(wire, record, self._faulty_answer(fault, real))

    def _faulty_answer(self, fault: Fault, real: Answer | None) -> Answer:
        status = fault.status or 500
        answer = problem(status, fault.message)
        match fault.kind:
            case Kind.HTML:
                answer = Answer(status, _HTML % (status, status), "text/html; charset=utf-8")
            case Kind.REDIRECT:
                location = fault.location or f"{self._context.download_base}/moved"
                answer = Answer(status, b"", "text/html; charset=utf-8", (("location", location),))
            case Kind.RATE_LIMITED:
                retry_after = () if fault.retry_after is None else (("retry-after", fault.retry_after),)
                answer = problem(status, "Too many requests", *retry_after)
            case Kind.ACCEPTED_ERROR:
                answer = accepted(None, "error", fault.message)
            case Kind.BROKEN_JSON if real is not None:
                answer = Answer(real.status, real.body[: len(real.body) // 2])
            case Kind.ACCEPTED_WITHOUT_ID if real is not None:
                answer = accepted(None) if real.status == _ACCEPTED else real
            case Kind.ACCEPTED_WARNING if real is not None:
                answer = _with_warning(real, fault.message) if real.status == _ACCEPTED else real
            case Kind.LIE if real is not None:
                answer = _with_lie(real, fault) if real.status == _OK else real
            case _:
                pass
        return answer

    async def _answer(self, wire: Wire, record: RequestRecord, answer: Answer) -> None:
        # Before the bytes leave: whoever has seen the answer must find it recorded.
        record.status = answer.status
        await wire.answer(answer)


def _with_warning(real: Answer, message: str) -> Answer:
    return accepted(json.loads(real.body)["order_attachment_id"], "warning", message)


def _with_lie(real: Answer, fault: Fault) -> Answer:
    def told(order: dict[str, Any]) -> dict[str, Any]:
        meant = fault.order_id in (None, order.get("id"))
        return overridden(order, fault.shown, fault.hidden) if meant else order

    body = json.loads(real.body)
    if "order" in body:
        body["order"] = told(body["order"])
    else:
        body["orders"] = [told(order) for order in body["orders"]]
    return as_json(real.status, body)


def _takes_json(accept: str) -> bool:
    kinds = {kind.partition(";")[0].strip().casefold() for kind in accept.split(",")}
    return bool(kinds & {"application/json", "application/*", "*/*", ""})
