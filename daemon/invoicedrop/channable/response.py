"""A response of the API, and what its body and headers say."""

import json
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import httpx

_MAX_MESSAGE: Final = 500
"""Characters kept of the API's own message."""


class ApiResponse:
    """A whole response of the API, read within the deadline."""

    def __init__(self, response: httpx.Response, body: bytes) -> None:
        self.status = response.status_code
        self.body = body
        self._headers = response.headers

    @property
    def is_html(self) -> bool:
        """Whether this is a web page, as proxies and sign-in portals send: not the API's word."""
        return "html" in self._headers.get("content-type", "").lower() or self.body.lstrip()[:1] == b"<"

    @property
    def retry_after(self) -> float | None:
        """The seconds to wait that a Retry-After header asks for, if there is one in seconds."""
        value = self._headers.get("retry-after", "")
        return float(value) if value.isdecimal() else None

    @property
    def date(self) -> datetime | None:
        """The time of the server's own clock, if there is a Date header."""
        try:
            return parsedate_to_datetime(self._headers.get("date", ""))
        except ValueError:
            return None

    def message(self) -> str:
        """Return the API's own message about an error, made readable; "" if there is none."""
        if self.is_html:
            return "a web page instead of an answer"
        try:
            content = json.loads(self.body)
        except ValueError:
            return self.body[:_MAX_MESSAGE].decode("utf-8", "replace").strip()
        if not isinstance(content, dict):
            return ""
        detail = content.get("detail")
        if isinstance(detail, list):
            problems = [item for item in detail if isinstance(item, dict)]
            message = "; ".join(f"{_field(problem.get('loc'))}: {problem.get('msg', '')}" for problem in problems)
        else:
            message = str(content.get("message") or content.get("error") or detail or "")
        return message[:_MAX_MESSAGE]

    def summary(self) -> str:
        """Return status and message as one phrase for logs and reasons."""
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = ""
        message = self.message()
        return f"HTTP {self.status} {phrase}".rstrip() + (f": {message}" if message else "")


def _field(loc: object) -> str:
    return ".".join(map(str, loc)) if isinstance(loc, list) else "request"
