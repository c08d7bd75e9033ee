"""The one boundary to the API's network: every status and transport error becomes one of our errors here.

| what came back                                        | becomes                                        |
| ----------------------------------------------------- | ---------------------------------------------- |
| 2xx, 400, 404, 405, 406, 409, 410, 413, 415, 422      | an `Answer`: the endpoint's caller reads it    |
| 401, 403                                              | `Paused`; the token is read again              |
| 429                                                   | `Paused`; the throttle learns                  |
| 3xx, 407, 503, HTML where JSON belongs, no connection | `Paused`: the request was not taken            |
| a lost answer, 500, 502, 504, anything else           | `OutcomeUnknown` of a write, `Unanswered` of a read |

The table of statuses is that of the public OpenAPI 3.1 document of Channable's order connection API (2026-10).
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import httpx

from invoicedrop import __version__
from invoicedrop.channable.rate_limit import RateLimiter
from invoicedrop.channable.transport import DeadlineTransport, MaybeSent, NotSent, PoolExhausted
from invoicedrop.circuit_breaker import CircuitBreaker
from invoicedrop.errors import ConfigError, OutcomeUnknown, Paused, Unanswered

_MAX_ANSWER: Final = 32 * 1024 * 1024
"""Bytes; a page of 100 orders is some hundred KB."""
_WORDS: Final = 500
"""Characters kept of the API's own words."""
_SPOKEN: Final = frozenset({400, 404, 405, 406, 409, 410, 413, 415, 422})
"""Statuses with which the API itself speaks about this one request."""
_TROUBLES: Final = {
    HTTPStatus.UNAUTHORIZED: "the API token is wrong, revoked or expired: put a new one into the token file",
    HTTPStatus.FORBIDDEN: "the API token may not use this company or project: check company_id, project_id, the token",
    HTTPStatus.TOO_MANY_REQUESTS: "the company's rate limit is used up",
    HTTPStatus.SERVICE_UNAVAILABLE: "the API is out of service",
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: "the proxy wants a login",
}
"""Statuses that say that nobody can upload now."""


class ApiResponse:
    """A whole answer of the API, read within the deadline."""

    def __init__(self, response: httpx.Response, body: bytes) -> None:
        self.status = response.status_code
        self.body = body
        self._headers = response.headers

    @property
    def is_html(self) -> bool:
        """Say whether this is a web page, as proxies and sign-in portals send: not the API's word."""
        return "html" in self._headers.get("content-type", "").lower() or self.body.lstrip()[:1] == b"<"

    @property
    def retry_after(self) -> float | None:
        """The seconds to wait that a Retry-After header asks for, if there is one in seconds."""
        value = self._headers.get("retry-after", "")
        return float(value) if value.isdecimal() else None

    @property
    def date(self) -> datetime | None:
        """The server's own clock, if it tells."""
        try:
            return parsedate_to_datetime(self._headers.get("date", ""))
        except ValueError:
            return None

    def words(self) -> str:
        """Return the API's own words about an error, made readable."""
        if self.is_html:
            return "a web page instead of an answer"
        try:
            content = json.loads(self.body)
        except ValueError:
            return self.body[:_WORDS].decode("utf-8", "replace").strip()
        if not isinstance(content, dict):
            return ""
        detail = content.get("detail")
        if isinstance(detail, list):
            problems = [item for item in detail if isinstance(item, dict)]
            said = "; ".join(f"{_place(one.get('loc'))}: {one.get('msg', '')}" for one in problems)
        else:
            said = str(content.get("message") or content.get("error") or detail or "")
        return said[:_WORDS]

    def described(self) -> str:
        """Return status and words as one phrase for logs and reasons."""
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = ""
        said = self.words()
        return f"HTTP {self.status} {phrase}".rstrip() + (f": {said}" if said else "")


class ApiClient:
    """One company's way to the API, for up to `connections` threads at once.

    `token` is called again after every 401 and 403, and after `forget_token`; it may raise ConfigError.
    `request_timeout` is the total time of one request in seconds; `places` are shared with others who send (without
    it, as many as there are `connections`).
    """

    def __init__(
        self,
        api_url: str,
        token: Callable[[], str],
        rate_limiter: RateLimiter,
        *,
        request_timeout: float,
        connections: int,
        places: threading.Semaphore | None = None,
    ) -> None:
        self.api_url = api_url
        self.rate_limiter = rate_limiter
        self._host = urlsplit(api_url).netloc
        self._read_token = token
        self._token: str | None = None
        self._used: str | None = None
        self._token_is_bad = False
        self._places = places or threading.BoundedSemaphore(connections)
        agent = {"User-Agent": f"invoicedrop/{__version__}"}
        self._transport = DeadlineTransport(api_url, total=request_timeout, connections=connections)
        self._api = httpx.Client(
            transport=self._transport, headers=agent | {"Accept": "application/json"}, trust_env=False
        )
        # Download URLs may lie on another host: this client has no token and never will.
        self._download_transport = DeadlineTransport(api_url, total=request_timeout, connections=connections)
        self._elsewhere = httpx.Client(
            transport=self._download_transport,
            # Bytes are compared: they have to come as they are.
            headers=agent | {"Accept-Encoding": "identity"},
            trust_env=False,
            follow_redirects=True,
        )

    def close(self) -> None:
        """Close every connection."""
        self._api.close()
        self._elsewhere.close()

    def abort(self) -> None:
        """Break off every request that is under way."""
        self._transport.abort()
        self._download_transport.abort()

    def forget_token(self) -> None:
        """Read the token again before the next request."""
        self._token = None

    def token_changed(self) -> bool:
        """Say whether the token was bad and there is another one now."""
        try:
            return self._token_is_bad and self._read_token() != self._used
        except ConfigError:
            return False

    def request(
        self,
        method: str,
        path: str,
        *,
        breaker: CircuitBreaker,
        subject: str,
        writes: bool = False,
        params: Mapping[str, str | int] | None = None,
        content: Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        before_sending: Callable[[], None] | None = None,
    ) -> ApiResponse:
        """Send one request through throttle and pause and return what the API itself says to it.

        `subject` names what this is about (an order), so that one order's trouble is not taken for everybody's.
        `before_sending` is called when the request may leave, immediately before it does.

        Raises:
            Paused: nobody can upload now; the request was not taken.
            OutcomeUnknown: a request that `writes` may or may not have been taken.
            Unanswered: one that does not write failed.
            Stopping: the service is being stopped.

        """
        with self._turn(), breaker.guard():
            authorisation = {"Authorization": f"Bearer {self._current_token(breaker)}"}
            if before_sending is not None:
                before_sending()
            doubt = OutcomeUnknown if writes else Unanswered
            try:
                request = self._api.build_request(
                    method,
                    self.api_url + path,
                    params=dict(params) if params else None,
                    content=content,
                    headers=authorisation | dict(headers or {}),
                )
                answer = _exchange(self._transport, request)
            except (NotSent, httpx.InvalidURL, UnicodeError) as error:
                if isinstance(error, PoolExhausted):
                    self._transport.rebuild()
                breaker.trip(f"{self._host} cannot be reached: {error}")
                raise Paused(str(error)) from error
            except (MaybeSent, httpx.HTTPError) as error:
                breaker.record_failure(subject, f"{self._host} does not answer: {error}")
                raise doubt(str(error)) from error
            self._judge(answer, breaker, subject, doubt)
            return answer

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for the rate limit, then for a place among the requests under way."""
        # In this order: who waits for one company's limit takes no place from another company.
        self.rate_limiter.acquire()
        with self._places:
            self.rate_limiter.require_open()
            yield

    def _current_token(self, breaker: CircuitBreaker) -> str:
        if self._token is None:
            try:
                self._token = self._used = self._read_token()
            except ConfigError as error:
                self._token_is_bad = True
                breaker.trip(str(error))
                raise Paused(str(error)) from error
        return self._token

    def _judge(
        self, answer: ApiResponse, breaker: CircuitBreaker, subject: str, doubt: type[OutcomeUnknown] | type[Unanswered]
    ) -> None:
        """Let an answer pass that is the API's own word about this request; raise what any other one means."""
        success = answer.status // 100 == 2  # noqa: PLR2004 - HTTP's own meaning of 2xx
        # 413 may come from a proxy's own limit, as a web page: it is about this request all the same.
        web_page = answer.is_html and answer.status != HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        if (success or answer.status in _SPOKEN) and not web_page:
            self._token_is_bad = False
            breaker.reset()
            return
        said = answer.described()
        trouble = self._trouble(answer)
        if trouble is None:
            breaker.record_failure(subject, f"{self._host} is in trouble: {said}")
            raise doubt(said)
        wait = self.rate_limiter.refused(answer.retry_after) if answer.status == HTTPStatus.TOO_MANY_REQUESTS else None
        breaker.trip(f"{trouble} ({said})", wait=wait, retry_after=answer.retry_after)
        if success:
            raise doubt(said)
        raise Paused(said)

    def _trouble(self, answer: ApiResponse) -> str | None:
        """Say in words what keeps everybody from uploading; None if it may be this request's own trouble."""
        status = answer.status
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            self._token_is_bad = True
            self.forget_token()
        if status in _TROUBLES:
            return _TROUBLES[HTTPStatus(status)]
        if status // 100 == 3:  # noqa: PLR2004 - HTTP's own meaning of 3xx
            return "the API address sends us elsewhere: is api_url right?"
        if answer.is_html and status // 100 in {2, 4}:
            return "something answers with a web page: is api_url right, or is a proxy in the way?"
        return None

    def download(self, url: str, consume: Callable[[bytes], None], max_bytes: int) -> int:
        """Fetch `url` without any token, handing its bytes to `consume`; return the HTTP status.

        Raises:
            Unanswered: it could not be fetched whole.

        """
        if not url.startswith(("https://", "http://" if self.api_url.startswith("http:") else "https://")):
            raise Unanswered("the download address is not https")
        try:
            with self._elsewhere.stream("GET", url) as response:
                received = 0
                for chunk in response.iter_bytes():
                    received += len(chunk)
                    if response.is_success:
                        consume(chunk)
                    if received > max_bytes:
                        break
                return response.status_code
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise Unanswered(f"download: {error}") from error


def _place(loc: object) -> str:
    return ".".join(map(str, loc)) if isinstance(loc, list) else "request"


def _exchange(transport: DeadlineTransport, request: httpx.Request) -> ApiResponse:
    # Without the client's own layers, for redirects, cookies and logins, of which there are none here.
    response = transport.handle_request(request)
    try:
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _MAX_ANSWER:
                raise MaybeSent("the answer is far too large")
        return ApiResponse(response, bytes(body))
    finally:
        response.close()
