"""A response of the API's address: what its body and headers say, and who speaks in it.

Boxes in between (proxies, gateways, firewalls, sign-in portals) answer in the API's place, also after it has stored
what was sent. So the API's word is only what has its own JSON form:

| status      | the API's own form                                                                                  |
| ----------- | --------------------------------------------------------------------------------------------------- |
| 2xx         | an object with the endpoint's own fields                                                            |
| 422         | an object with `detail`: a list of problems, or words                                               |
| 401         | an object with `error`                                                                              |
| any         | an object with `message`, and `status` "error"                                                      |

For 403, 405, 406, 413, 429 and 503 no form is documented. They count only in the last one: an answer that is believed
wrongly doubles an invoice or moves it to failed/; one that is not believed costs a pause and a look at the order. JSON
of others is near: `{"message": "no Route matched"}` of a gateway, or `status` with the HTTP status as a number, as
Spring's errors and RFC 9457 have it.
"""

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from functools import cached_property
from http import HTTPStatus
from typing import Any, Final

import httpx

from invoicedrop.channable.caches import kept_by
from invoicedrop.printable import printable

_MAX_MESSAGE: Final = 500
"""Characters kept of the API's own message."""
_MAX_SERVER: Final = 60
"""Characters kept of the name that a server gives itself."""
_FIRST_YEAR, _LAST_YEAR = 1971, 9000
"""A date outside of these is no time of a server: with some time added to it, it would be none at all."""


class Speaker(Enum):
    """Who speaks in a response."""

    API = auto()
    """The API itself: it has the API's own form."""
    CUT = auto()
    """A success whose JSON ends too soon, or is broken: as good as lost on its way."""
    OTHER = auto()
    """Something else that answers in the API's place."""


class ApiResponse:
    """A whole response of the API, read within the deadline."""

    def __init__(self, response: httpx.Response, body: bytes) -> None:
        self.status = response.status_code
        self.body = body
        self._headers = response.headers

    @cached_property
    def _content(self) -> Any:
        """The body's JSON value; None if it is no JSON, or too deep or too large to be the API's."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def speaker(self, form: frozenset[str] = frozenset()) -> Speaker:
        """Return who speaks; `form` are the fields of the endpoint's own success."""
        content = None if self.is_html else self._content
        success = self._is_success
        if isinstance(content, dict):
            own = self._is_own_error(content) or (success and form <= content.keys())
            return Speaker.API if own else Speaker.OTHER
        is_cut = success and content is None and not self.is_html and self.body.lstrip().startswith(b"{")
        return Speaker.CUT if is_cut else Speaker.OTHER

    @property
    def _is_success(self) -> bool:
        return self.status // 100 == 2  # noqa: PLR2004 - HTTP's own meaning of 2xx

    def _is_own_error(self, content: dict[str, Any]) -> bool:
        if self.status == HTTPStatus.UNPROCESSABLE_ENTITY and isinstance(content.get("detail"), list | str):
            return True
        if self.status == HTTPStatus.UNAUTHORIZED and "error" in content:
            return "status" not in content or content["status"] == "error"
        return "message" in content and content.get("status") == "error"

    @property
    def is_html(self) -> bool:
        """Whether this is a web page, as proxies and sign-in portals send: not the API's word."""
        return "html" in self._headers.get("content-type", "").lower() or self.body.lstrip()[:1] == b"<"

    @property
    def retry_after(self) -> float | None:
        """The seconds to wait that a Retry-After header asks for (RFC 9110, 10.2.3), if there is one that can be read.

        It gives seconds, or a moment: by the server's own clock, where the response tells that, else by ours.
        """
        value = self._headers.get("retry-after", "").strip()
        if value.isdecimal():
            return float(value)
        moment = _moment(value)
        if moment is None:
            return None
        now = self.date or datetime.now(UTC)
        return max(0.0, (_aware(moment) - _aware(now)).total_seconds())

    @property
    def date(self) -> datetime | None:
        """The time of the server's own clock, if there is a Date header."""
        return _moment(self._headers.get("date", ""))

    @property
    def kept_by(self) -> str | None:
        """What a cache calls itself that this response comes from; None if nothing says that it comes from one."""
        return kept_by(self._headers)

    @property
    def server(self) -> str:
        """What the sender calls itself in its Server header; "" if it does not."""
        return printable(self._headers.get("server", ""))[:_MAX_SERVER]

    def message(self) -> str:
        """Return the response's own message about an error, made readable; "" if there is none."""
        if self.is_html:
            return "a web page instead of an answer"
        if self._is_success:
            # It may be an order, with customers' data, that lacks its end: not a word of it is quoted.
            return "not in the API's own form"
        if self._content is None:
            words = self.body[:_MAX_MESSAGE].decode("utf-8", "replace").strip()
        else:
            words = _message_in(self._content)
        return printable(words)[:_MAX_MESSAGE]

    def summary(self) -> str:
        """Return status and message as one phrase for logs and reasons."""
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = ""
        message = self.message()
        return f"HTTP {self.status} {phrase}".rstrip() + (f": {message}" if message else "")


def _moment(text: str) -> datetime | None:
    """Return the moment that a header gives in one of HTTP's three forms (RFC 9110, 5.6.7)."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if _FIRST_YEAR <= moment.year <= _LAST_YEAR else None


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _message_in(content: Any) -> str:
    if not isinstance(content, dict):
        return ""
    detail = content.get("detail")
    try:
        if isinstance(detail, list):
            problems = [item for item in detail if isinstance(item, dict)]
            return "; ".join(f"{_field(problem.get('loc'))}: {problem.get('msg', '')}" for problem in problems)
        return str(content.get("message") or content.get("error") or detail or "")
    except RecursionError:
        return ""


def _field(loc: object) -> str:
    return ".".join(map(str, loc)) if isinstance(loc, list) else "request"
