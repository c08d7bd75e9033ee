"""The forms of the API's answers."""

import json
from collections.abc import Sequence
from typing import Any

from invoicedrop.sandbox.wire import Answer

Detail = dict[str, Any]


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


def accepted(attachment_id: int | None, status: str = "success", message: str | None = None) -> Answer:
    """Return the 202 of an upload."""
    return as_json(202, {"status": status, "order_attachment_id": attachment_id, "message": message})
