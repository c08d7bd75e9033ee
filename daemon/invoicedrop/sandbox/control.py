"""The sandbox's own endpoints: its state, faults and options, over HTTP and without a token.

Only requests that name a loopback host are answered, so that a web page elsewhere cannot get in through a name of its
own that resolves to this machine (DNS rebinding).
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from invoicedrop.sandbox.attachments import utc_text
from invoicedrop.sandbox.exchange import Context
from invoicedrop.sandbox.faults import Fault
from invoicedrop.sandbox.page import page

_LOOPBACK_NAMES: Final = {"127.0.0.1", "localhost", "::1"}
_NUMBERS: Final = ("latency", "visible_after", "url_lifetime", "rate", "burst")

Answerer = Callable[[Request], Awaitable[Response]]


def routes(context: Context) -> list[Route]:
    """Return the routes below the control prefix."""

    async def state(_request: Request) -> Response:
        return JSONResponse(state_of(context))

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            context.faults.clear()
        elif request.method == "PUT":
            values = await request.json()
            if not isinstance(values, list):
                raise TypeError("faults are a JSON list")
            context.faults.replace([Fault.from_json(value) for value in values])
        return JSONResponse([fault.to_json() for fault in context.faults.current()])

    async def options(request: Request) -> Response:
        if request.method == "PUT":
            change_options(context, await request.json())
        return JSONResponse(options_of(context))

    async def attachment(request: Request) -> Response:
        content = context.store.content(request.path_params["attachment_id"])
        if content is None:
            return JSONResponse({"message": "the file is gone"}, status_code=410)
        return Response(content, media_type="application/pdf", headers={"x-content-type-options": "nosniff"})

    return [
        Route("/state.json", _guarded(state)),
        Route("/faults", _guarded(faults), methods=["GET", "PUT", "DELETE"]),
        Route("/options", _guarded(options), methods=["GET", "PUT"]),
        Route("/attachments/{attachment_id:int}.pdf", _guarded(attachment)),
    ]


def page_route(context: Context) -> Route:
    """Return the route of the HTML page."""

    async def show(_request: Request) -> Response:
        policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
        return HTMLResponse(page(context), headers={"content-security-policy": policy, "cache-control": "no-store"})

    return Route("/", _guarded(show))


def state_of(context: Context) -> dict[str, Any]:
    """Return the requests and uploads so far, as JSON values."""
    bucket = context.store.bucket
    return {
        "company_id": context.store.company_id,
        "projects": list(context.store.options.projects),
        "uploads": [
            {**upload._asdict(), "created": utc_text(upload.created), "item_ids": list(upload.item_ids)}
            for upload in context.store.uploads()
        ],
        "requests": context.journal.counters(),
        "bucket": {"accepted": bucket.accepted, "refused": bucket.refused, "level": bucket.level},
        "faults": {str(kind): hits for kind, hits in context.faults.hits.items()},
    }


def options_of(context: Context) -> dict[str, Any]:
    """Return the options that can be changed while the sandbox runs, tokens included."""
    store = context.store
    return {
        "latency": store.latency,
        "visible_after": store.visible_after,
        "url_lifetime": store.url_lifetime,
        "rate": store.bucket.rate,
        "burst": store.bucket.burst,
        "tokens": sorted(store.tokens),
    }


def change_options(context: Context, values: Any) -> None:
    """Change some of the options.

    Raises:
        ValueError, TypeError: a value is invalid; the message says why, and nothing is changed.

    """
    current = options_of(context)
    if not isinstance(values, dict) or set(values) - set(current):
        raise ValueError(f"options are a JSON object with some of {', '.join(current)}")
    for name in _NUMBERS:
        value = values.get(name, 0)
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{name} is a number, 0 or more")
    tokens = values.get("tokens", current["tokens"])
    if not isinstance(tokens, list) or not all(isinstance(token, str) and token for token in tokens):
        raise ValueError("tokens is a list of texts that are not empty")
    store = context.store
    store.bucket.configure(values.get("rate", store.bucket.rate), int(values.get("burst", store.bucket.burst)))
    store.latency = values.get("latency", store.latency)
    store.visible_after = values.get("visible_after", store.visible_after)
    store.url_lifetime = values.get("url_lifetime", store.url_lifetime)
    store.tokens = set(tokens)


def _guarded(answerer: Answerer) -> Answerer:
    async def guarded(request: Request) -> Response:
        if urlsplit(f"//{request.headers.get('host', '')}").hostname not in _LOOPBACK_NAMES:
            return JSONResponse({"message": "only loopback names are answered here"}, status_code=403)
        try:
            return await answerer(request)
        except ClientDisconnect:
            return Response()
        except json.JSONDecodeError as error:
            return JSONResponse({"message": f"not JSON: {error}"}, status_code=400)
        except (ValueError, TypeError) as error:
            return JSONResponse({"message": str(error)}, status_code=422)

    return guarded
