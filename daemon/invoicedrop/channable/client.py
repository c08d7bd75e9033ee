"""The one boundary to the API's network: every status and transport error becomes one of our errors here.

`judgement` has the table that says which. What is downloaded goes by a client of its own (`downloads`).
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Self
from urllib.parse import urlsplit

import httpx

from invoicedrop.channable.destinations import Destinations
from invoicedrop.channable.downloads import Downloads
from invoicedrop.channable.http_client import http_client
from invoicedrop.channable.judgement import PROXY_FAILED, Judgement, Meaning, judge
from invoicedrop.channable.rate_limit import RateLimiter
from invoicedrop.channable.response import ApiResponse
from invoicedrop.channable.transport import DeadlineTransport, MaybeSent, NotSent, PoolExhausted, ProxyFailed
from invoicedrop.circuit_breaker import CircuitBreaker
from invoicedrop.errors import ConfigError, Deferred, OutcomeUnknown, PauseCause, Paused, Unanswered
from invoicedrop.system.addresses import is_public
from invoicedrop.system.network import DIRECT, Network

_MAX_BODY: Final = 32 * 1024 * 1024
"""Bytes; a page of 100 orders is some hundred KB."""
_DOWNLOAD_HOSTS: Final = 3
"""Connections are kept to this many hosts at once: the API, the download host, and where that redirects to."""


def _refuse_redirect(response: httpx.Response) -> None:
    """Forget where a response to a request with the token leads: nothing can follow it, or stumble over its address."""
    if "authorization" in response.request.headers:
        response.headers.pop("location", None)


def _exchange(http: httpx.Client, request: httpx.Request) -> ApiResponse:
    """Send a request and return the whole response: the effect "request to the API".

    Raises:
        NotSent, httpx.HTTPError: as the transport does; all but NotSent after sending began.

    """
    response = http.send(request, stream=True)
    try:
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _MAX_BODY:
                raise MaybeSent("the answer is far too large")
        return ApiResponse(response, bytes(body))
    finally:
        response.close()


class ApiClient:
    """One company's access to the API; made by `open`. Thread-safe.

    The token is in the headers of single requests to the API, and in nothing that a download uses.
    """

    def __init__(
        self,
        api_url: str,
        token: Callable[[], str],
        rate_limiter: RateLimiter,
        transport: DeadlineTransport,
        downloads: Downloads,
        slots: threading.Semaphore,
        *,
        spare: bool = False,
    ) -> None:
        self.api_url = api_url
        self.rate_limiter = rate_limiter
        self._read_token = token
        self._token: str | None = None
        self._last_token: str | None = None
        self._token_is_bad = False
        self._slots = slots
        self._spare = spare
        self._transport = transport
        self._downloads = downloads
        self._http = http_client(transport)
        self._http.event_hooks = {"response": [_refuse_redirect]}

    @classmethod
    def open(
        cls,
        api_url: str,
        token: Callable[[], str],
        rate_limiter: RateLimiter,
        *,
        request_timeout: float,
        connections: int,
        slots: threading.Semaphore | None = None,
        is_public: Callable[[str], bool] = is_public,
        spare: bool = False,
        network: Network = DIRECT,
    ) -> Self:
        """Return a client for up to `connections` requests at a time.

        `token` is called again after every 401 and 403, and after `forget_token`; it may raise ConfigError.
        `request_timeout` is the total time of one request in seconds. `slots` limits the requests under way of all
        clients that share it; without it a client has `connections` of its own. `is_public` judges the addresses that
        downloads lead to. `spare`: its requests leave only when nobody else's would (`RateLimiter.spare`).
        `network`: by which proxies, and trusting whom.
        """
        transport = DeadlineTransport.to(api_url, total=request_timeout, connections=connections, network=network)
        destinations = Destinations(api_url, is_public)
        downloads = Downloads(transport.restricted(destinations, connections=_DOWNLOAD_HOSTS * connections))
        slots = slots or threading.BoundedSemaphore(connections)
        return cls(api_url, token, rate_limiter, transport, downloads, slots, spare=spare)

    def close(self) -> None:
        """Close every connection."""
        self._http.close()
        self._downloads.close()

    def abort(self) -> None:
        """Break off every request that is under way."""
        self._transport.abort()
        self._downloads.abort()

    def forget_token(self) -> None:
        """Read the token again before the next request."""
        self._token = None

    def token_changed(self) -> bool:
        """Whether the token was bad and there is another one now."""
        try:
            return self._token_is_bad and self._read_token() != self._last_token
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
        """Send one request when rate limit and circuit breaker allow it, and return the API's own response.

        `subject` names what this is about (an order), so that one order's trouble is not mistaken for an outage.
        `before_sending` is called when the request may leave, immediately before it does.

        Raises:
            Paused: nobody can upload now; the request was not taken.
            OutcomeUnknown: a request that `writes` may or may not have been taken.
            Unanswered: one that does not write failed.
            Deferred: a `spare` client has to wait: the rate limit is for others now.
            Stopping: the service is being stopped.

        """
        with self._admission(), breaker.guard():
            authorization = {"Authorization": f"Bearer {self._current_token(breaker)}"}
            if before_sending is not None:
                before_sending()
            try:
                request = self._new_request(method, path, params, content, authorization | dict(headers or {}))
                response = _exchange(self._http, request)
            except httpx.HTTPError as error:
                if isinstance(error, PoolExhausted):
                    self._transport.rebuild()
                judgement = judge(None, sent=not isinstance(error, NotSent))
                judgement = PROXY_FAILED if isinstance(error, ProxyFailed) else judgement
                self._report(judgement, str(error), None, breaker, subject)
                raise _error_of(judgement, str(error), writes=writes) from error
            judgement = judge(response.status, is_html=response.is_html)
            if judgement.meaning is Meaning.ANSWERED:
                self._token_is_bad = False
                breaker.reset()
                return response
            self._report(judgement, response.summary(), response.retry_after, breaker, subject)
            raise _error_of(judgement, response.summary(), writes=writes)

    @contextmanager
    def _admission(self) -> Iterator[None]:
        """Wait for the rate limit, then for a slot among the requests under way."""
        # In this order: a thread that waits for one company's limit takes no slot from another company.
        if not self._spare:
            self.rate_limiter.acquire()
        elif (wait := self.rate_limiter.spare()) > 0:
            raise Deferred(wait, "the rate limit is for others now")
        with self._slots:
            self.rate_limiter.require_open()
            yield

    def _current_token(self, breaker: CircuitBreaker) -> str:
        if self._token is None:
            try:
                self._token = self._last_token = self._read_token()
            except ConfigError as error:
                self._token_is_bad = True
                breaker.trip(str(error), PauseCause.TOKEN)
                raise Paused(str(error), PauseCause.TOKEN) from error
        return self._token

    def _new_request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None,
        content: Iterable[bytes] | None,
        headers: Mapping[str, str],
    ) -> httpx.Request:
        try:
            return self._http.build_request(
                method,
                self.api_url + path,
                params=dict(params) if params else None,
                content=content,
                headers={"Accept": "application/json", **headers},
            )
        except (httpx.InvalidURL, UnicodeError) as error:
            raise NotSent(str(error)) from error

    def _report(
        self, judgement: Judgement, detail: str, retry_after: float | None, breaker: CircuitBreaker, subject: str
    ) -> None:
        """Let token, rate limiter and circuit breaker learn from a request that failed."""
        wait = None
        if judgement.cause is PauseCause.TOKEN:
            self._token_is_bad = True
            self.forget_token()
        elif judgement.cause is PauseCause.RATE_LIMIT:
            wait = self.rate_limiter.refused(retry_after)
        sentence = judgement.sentence.format(host=urlsplit(self.api_url).netloc, detail=detail)
        if judgement.cause is None:
            breaker.record_failure(subject, sentence)
        else:
            breaker.trip(sentence, judgement.cause, wait=wait, retry_after=retry_after)

    def download(self, url: str, consume: Callable[[bytes], None], max_bytes: int) -> int:
        """Fetch `url` without any token, handing its bytes to `consume`; return the HTTP status.

        Raises:
            Unanswered: it could not be fetched whole, or leads to where no download may (`Destinations`).

        """
        with self._slots:
            return self._downloads.fetch(url, consume, max_bytes)


def _error_of(judgement: Judgement, detail: str, *, writes: bool) -> Paused | OutcomeUnknown | Unanswered:
    if judgement.meaning is Meaning.NOT_TAKEN:
        assert judgement.cause is not None
        return Paused(detail, judgement.cause)
    return OutcomeUnknown(detail) if writes else Unanswered(detail)
