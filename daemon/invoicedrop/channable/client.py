"""The one boundary to the API's network: every status and transport error becomes one of our errors here.

`judgement` has the table that says which, `response` whose word a response is. What is downloaded goes by a client of
its own (`downloads`).
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from http import HTTPStatus
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

import httpx

from invoicedrop.channable.concurrency_limit import ConcurrencyLimit
from invoicedrop.channable.destinations import Destinations
from invoicedrop.channable.downloads import Downloads
from invoicedrop.channable.http_client import http_client
from invoicedrop.channable.judgement import PROXY_FAILED, Judgement, Meaning, judge
from invoicedrop.channable.rate_limit import RateLimiter
from invoicedrop.channable.response import ApiResponse, Speaker
from invoicedrop.channable.transport import UPLOAD, DeadlineTransport, MaybeSent, NotSent, PoolExhausted, ProxyFailed
from invoicedrop.channable.upload_progress import UploadProgress
from invoicedrop.circuit_breaker import CircuitBreaker
from invoicedrop.errors import ConfigError, Deferred, OutcomeUnknown, PauseCause, Paused, Refused, Unanswered
from invoicedrop.system.addresses import is_public
from invoicedrop.system.network import DIRECT, Network
from invoicedrop.tally import Tally

_MAX_BODY: Final = 32 * 1024 * 1024
"""Bytes; a page of 100 orders is some hundred KB."""
_SLOWEST_LINE: Final = 20_000
"""Bytes a second; by a slower line the largest invoices do not get through."""
_SLOW: Final = 1 / 2
"""An upload whose bytes take longer to leave than this share of the time for a request is slow."""
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


class _Failure(NamedTuple):
    """A request that failed: what that means, in words, and what it was for (see `ApiClient.request`)."""

    judgement: Judgement
    detail: str
    subject: str
    writes: bool
    alone: bool


class ApiClient:
    """One company's access to the API; made by `open`. Thread-safe.

    The token is in the headers of single requests to the API, and in nothing that a download uses. `slowness` is how
    slowly the last upload left, in words, if it did.
    """

    def __init__(
        self,
        api_url: str,
        token: Callable[[], str],
        rate_limiter: RateLimiter,
        transport: DeadlineTransport,
        downloads: Downloads,
        slots: threading.Semaphore,
        uploads: ConcurrencyLimit,
        new_upload: Callable[[], UploadProgress],
        *,
        spare: bool = False,
        answers: Tally | None = None,
    ) -> None:
        self.slowness: str | None = None
        self.api_url = api_url
        self.rate_limiter = rate_limiter
        self._read_token = token
        self._token: str | None = None
        self._last_token: str | None = None
        self._token_is_bad = False
        self._slots = slots
        self._uploads = uploads
        self._new_upload = new_upload
        self._spare = spare
        self._answers = answers or Tally()
        self._transport = transport
        self._downloads = downloads
        self._alone = transport.without_keep_alive()
        self._http_alone = http_client(self._alone)
        self._http = http_client(transport)
        self._http_alone.event_hooks = self._http.event_hooks = {"response": [_refuse_redirect]}

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
        largest_body: int = 0,
        uploads: ConcurrencyLimit | None = None,
        is_public: Callable[[str], bool] = is_public,
        spare: bool = False,
        network: Network = DIRECT,
        answers: Tally | None = None,
    ) -> Self:
        """Return a client for up to `connections` requests at a time.

        `token` is called again after every 401 and 403, and after `forget_token`; it may raise ConfigError.
        `request_timeout` is the total time of one request in seconds; of an upload it is the time without progress, and
        its total is longer by what a body of `largest_body` bytes takes on its share of a line of 20 kB/s. `slots`
        limits the requests under way of all clients that share it, `uploads` the uploads among them; without them a
        client has `connections` of its own. `is_public` judges the addresses that downloads lead to. `spare`: its
        requests leave only when nobody else's would (`RateLimiter.spare`). `network`: by which proxies, trusting whom.
        `answers` counts the requests by the status that came back, "none" where none did.
        """
        transport = DeadlineTransport.to(
            api_url,
            total=request_timeout,
            connections=connections,
            network=network,
            is_wanted=lambda: not rate_limiter.is_closed,
        )
        destinations = Destinations(api_url, is_public)
        downloads = Downloads(transport.restricted(destinations, connections=_DOWNLOAD_HOSTS * connections))
        slots = slots or threading.BoundedSemaphore(connections)
        uploads = uploads or ConcurrencyLimit(connections)
        more = largest_body / _SLOWEST_LINE
        new_upload = partial(UploadProgress, request_timeout + more, _SLOW * request_timeout, more=more)
        return cls(
            api_url, token, rate_limiter, transport, downloads, slots, uploads, new_upload, spare=spare, answers=answers
        )

    def close(self) -> None:
        """Close every connection."""
        self._http.close()
        self._http_alone.close()
        self._downloads.close()

    def abort(self) -> None:
        """Break off every request that is under way."""
        self._transport.abort()
        self._alone.abort()
        self._downloads.abort()

    @property
    def token_in_use(self) -> str | None:
        """The token that the next request has; None where it is read anew then."""
        return self._token

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
        form: frozenset[str],
        writes: bool = False,
        alone: bool = False,
        corroborates: bool = False,
        params: Mapping[str, str | int] | None = None,
        content: Iterable[bytes] | None = None,
        own_connection: bool = False,
        headers: Mapping[str, str] | None = None,
        before_sending: Callable[[], None] | None = None,
        may_leave: Callable[[], None] | None = None,
    ) -> ApiResponse:
        """Send one request when rate limit and circuit breaker allow it, and return the API's own response.

        `subject` names what this is about (an order), so that one order's trouble is not mistaken for an outage; `form`
        are the fields of the endpoint's own success. `alone`: it reads one resource, whose trouble may be its own.
        `corroborates`: it is made only to see whether all is in trouble; its success is no news about what failed.
        `own_connection`: it does not go on one that was used before, which a box in between may have closed.
        `before_sending` is called when the request may leave, immediately before it does; `may_leave` right before the
        first byte of one that writes, and before each further part, and what it raises breaks the request off.

        A 404 does not close the circuit: several may mean that the project is wrong, which the caller decides.

        Raises:
            Paused: nobody can upload now; the request was not taken.
            OutcomeUnknown: a request that `writes` may or may not have been taken.
            Unanswered: one that does not write failed (Refused: that of one resource was refused).
            Deferred: a `spare` client has to wait: the rate limit is for others now.
            Stopping: the service is being stopped.

        """
        upload = self._new_upload() if writes else None
        http, transport = (self._http_alone, self._alone) if own_connection else (self._http, self._transport)
        with self._admission(upload), breaker.guard():
            authorization = {"Authorization": f"Bearer {self._current_token(breaker)}"}
            if before_sending is not None:
                before_sending()
            try:
                request = self._new_request(method, path, params, content, authorization | dict(headers or {}))
                if upload is not None:
                    upload.may_leave = may_leave
                    request.extensions[UPLOAD] = upload
                response = _exchange(http, request)
            except httpx.HTTPError as error:
                if isinstance(error, PoolExhausted):
                    transport.rebuild()
                judgement = judge(None, sent=not isinstance(error, NotSent))
                judgement = PROXY_FAILED if isinstance(error, ProxyFailed) else judgement
                detail = "; ".join(filter(None, (str(error), self._slowness_of(upload))))
                failure = _Failure(judgement, detail, subject, writes=writes, alone=False)
                self._answers.add("none")
                raise self._failed(failure, breaker) from error
            self._answers.add(str(response.status))
            self._slowness_of(upload)
            speaker = response.speaker(form)
            judgement = judge(response.status, speaker, is_html=response.is_html)
            if judgement.meaning is Meaning.ANSWERED:
                self._token_is_bad = False
                if response.status != HTTPStatus.NOT_FOUND and not corroborates:
                    breaker.reset(subject, by_read=not writes)
                return response
            detail = response.summary()
            if speaker is Speaker.OTHER and response.server:
                detail += f" (from a server that calls itself {response.server})"
            failure = _Failure(judgement, detail, subject, writes=writes, alone=alone)
            raise self._failed(failure, breaker, response)

    @contextmanager
    def _admission(self, upload: UploadProgress | None) -> Iterator[None]:
        """Wait for the rate limit, then for a place among the uploads, and for a slot among the requests under way."""
        # In this order: a thread that waits for one company's limit takes no slot from another company.
        if not self._spare:
            self.rate_limiter.acquire()
        elif (wait := self.rate_limiter.spare()) > 0:
            raise Deferred(wait, "the rate limit is for others now")
        with ExitStack() as held:
            if upload is not None:
                held.enter_context(self._uploads.place(upload, self.rate_limiter.require_open))
            held.enter_context(self._slots)
            self.rate_limiter.require_open()
            yield

    def _slowness_of(self, upload: UploadProgress | None) -> str | None:
        """Return how slowly an upload left, in words, if it did; keep it for whoever asks."""
        if upload is not None and (upload.has_left or upload.is_slow):
            self.slowness = upload.slowness
            return self.slowness
        return None

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

    def _failed(
        self, failure: _Failure, breaker: CircuitBreaker, response: ApiResponse | None = None
    ) -> Paused | OutcomeUnknown | Unanswered:
        """Let token, rate limiter and circuit breaker learn from a request that failed; return what to raise."""
        judgement, subject, writes = failure.judgement, failure.subject, failure.writes
        wait, retry_after = None, None
        if response is not None:
            retry_after = response.retry_after
            if response.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
                # Whoever refused it: reading the token again costs nothing.
                self._token_is_bad = True
                self.forget_token()
            elif response.status == HTTPStatus.TOO_MANY_REQUESTS:
                # The form of the API's own 429 is not documented, and another's limit is one, too.
                wait = self.rate_limiter.refused(retry_after)
        cause = judgement.cause
        sentence = judgement.sentence.format(host=urlsplit(self.api_url).netloc, detail=failure.detail)
        everybody = cause is not None
        if cause is None:
            breaker.record_failure(subject, sentence, writes=writes)
        elif failure.alone and cause is not PauseCause.RATE_LIMIT:
            everybody = breaker.record_failure(subject, sentence, cause, retry_after=retry_after)
        elif writes and response is not None and cause is not PauseCause.RATE_LIMIT:
            everybody = breaker.record_refusal(subject, sentence, cause, retry_after=retry_after)
        else:
            wait = wait if cause is PauseCause.RATE_LIMIT else None
            breaker.trip(sentence, cause, wait=wait, retry_after=retry_after)
        if writes and judgement.meaning is Meaning.IN_DOUBT:
            return OutcomeUnknown(failure.detail)
        if cause is None:
            return Unanswered(failure.detail)
        return Paused(failure.detail, cause) if everybody else Refused(failure.detail)

    def download(self, url: str, consume: Callable[[bytes], None], max_bytes: int) -> int:
        """Fetch `url` without any token, handing its bytes to `consume`; return the HTTP status.

        Raises:
            Unanswered: it could not be fetched whole, or leads to where no download may (`Destinations`).

        """
        with self._slots:
            return self._downloads.fetch(url, consume, max_bytes)
