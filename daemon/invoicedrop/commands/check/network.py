"""What `invoicedrop check` learns from one request to the API: address, certificate, clock, token, newest orders.

The request takes the same route as the daemon's (transport, trust, proxy), but its response is judged here: the check
distinguishes what makes no difference to the daemon, which waits in any case.
"""

import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError

from invoicedrop import __version__
from invoicedrop.channable.handshake import HandshakeFailed
from invoicedrop.channable.models import OrdersPage
from invoicedrop.channable.project_reads import PAGE_SIZE
from invoicedrop.channable.response import ApiResponse, Speaker
from invoicedrop.channable.transport import DeadlineTransport, ProxyFailed
from invoicedrop.commands.check import connections
from invoicedrop.commands.check.finding import Finding, Level
from invoicedrop.errors import ConfigError, NotSeen
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.logs import hide
from invoicedrop.service.rate_limiters import remembered_limiter
from invoicedrop.settings.inbox import Inbox
from invoicedrop.settings.load import token_reader

_MAX_CLOCK_OFFSET: Final = 60.0
"""Seconds; the Date header has whole ones and is some time on its way."""
_EXPIRES_SOON: Final = timedelta(days=14)
_DOCUMENTED_RATE: Final = 4.0
"""Requests a second, and the burst below: the API's OpenAPI 3.1 document (2026-10)."""
_DOCUMENTED_BURST: Final = 200


@dataclass(slots=True)
class Reply:
    """What became of the request: a response, or else an error; `sent` (since the epoch) and `took` in seconds."""

    sent: float
    took: float = 0.0
    response: ApiResponse | None = None
    error: Exception | None = None
    server: str = ""
    certificate_expires: datetime | None = None


def of_inboxes(inboxes: tuple[Inbox, ...], ledger: Ledger | None) -> list[Finding]:
    """Ask the API once for each inbox's project; what several inboxes share is reported once."""
    findings: list[Finding] = []
    reported: set[object] = set()
    for inbox in inboxes:
        findings += _rate(inbox) if inbox.account not in reported else []
        try:
            token = token_reader(inbox, hide)()
        except NotSeen as error:
            findings.append(Finding("token", inbox.name, Level.UNSEEN, str(error)))
            continue
        except ConfigError as error:
            findings.append(Finding("token", inbox.name, Level.PROBLEM, str(error), "mend the token's file"))
            continue
        remembered_limiter(inbox, ledger).acquire()
        reply = ask(inbox, token)
        if inbox.api_url not in reported:
            findings += judge_connection(inbox, reply)
        if reply.response is not None:
            findings += _judge_response(inbox, reply.response)
        reported |= {inbox.account, inbox.api_url}
    return findings


def ask(inbox: Inbox, token: str) -> Reply:
    """Ask for the newest orders of the inbox's project, a page of them; nothing of a customer is even parsed."""
    path = f"/v2/companies/{inbox.company_id}/projects/{inbox.project_id}/orders"
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/json",
        "User-Agent": f"invoicedrop/{__version__}",
    }
    reply = Reply(sent=time.time())
    began = time.monotonic()
    transport = DeadlineTransport.to(inbox.api_url, total=inbox.request_timeout, connections=1, network=inbox.network)
    with httpx.Client(transport=transport, trust_env=False) as client:
        try:
            with client.stream("GET", inbox.api_url + path, params={"limit": PAGE_SIZE}, headers=headers) as response:
                stream = response.extensions.get("network_stream")
                if stream is not None:
                    reply.server = _host(stream.get_extra_info("server_addr"))
                    reply.certificate_expires = _expiry(stream.get_extra_info("ssl_object"))
                reply.response = ApiResponse(response, response.read())
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            reply.error = error
    reply.took = time.monotonic() - began
    return reply


def judge_connection(inbox: Inbox, reply: Reply) -> Iterator[Finding]:
    """Judge what lies between us and the API: name, connection, certificate, clock."""

    def finding(subject: str, level: Level, text: str, remedy: str = "") -> Finding:
        return Finding(subject, "", level, text, remedy)

    if reply.response is None:
        subject = "proxy" if isinstance(reply.error, ProxyFailed) else "API"
        yield finding(subject, Level.PROBLEM, *_explain(inbox, reply.error))
        return
    proxy = inbox.network.proxy_for(inbox.api_url)
    server = f" by the proxy {proxy}" if proxy is not None else f" at {reply.server}" if reply.server else ""
    yield finding("API", Level.OK, f"{inbox.api_url} answers{server}, in {reply.took * 1000:.0f} ms")
    if reply.certificate_expires is not None:
        left = reply.certificate_expires - datetime.now(UTC)
        text = f"the certificate is trusted, for {left.days} days more"
        if left < _EXPIRES_SOON:
            yield finding("TLS", Level.WARNING, text, "tell whoever runs the server (or proxy) to renew it")
        else:
            yield finding("TLS", Level.OK, text)
    elif inbox.api_url.startswith("http:"):
        yield finding("TLS", Level.NOTE, "none: the address is http://, so the token travels unencrypted")
    if (cache := reply.response.kept_by) is not None:
        yield finding(
            "cache",
            Level.WARNING,
            f"a cache before the API ({cache}) keeps answers: orders may look as they did before",
            "tell whoever runs it to let requests with an Authorization header pass (RFC 9111, 3.5)",
        )
    date = reply.response.date
    if date is None or date.tzinfo is None:
        yield finding("clock", Level.NOTE, "cannot be compared: the API does not tell its time")
        return
    offset = reply.sent + reply.took / 2 - date.timestamp()
    if abs(offset) > _MAX_CLOCK_OFFSET:
        text = f"this machine's clock is {abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} the API's"
        yield finding("clock", Level.WARNING, text, "timedatectl set-ntp true")
    else:
        yield finding("clock", Level.OK, "agrees with the API's, as far as whole seconds tell")


def _explain(inbox: Inbox, error: Exception | None) -> tuple[str, str]:
    """Return why no response came, by the error that caused it, and what to do."""
    host = urlsplit(inbox.api_url).hostname
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case ProxyFailed() | HandshakeFailed():
                return cause.problem, cause.remedy
            case socket.gaierror() | UnicodeError():
                return (
                    f"the name {host} cannot be found ({cause.args[-1]})",
                    f"check api_url, the network, and /etc/resolv.conf (try: getent hosts {host})",
                )
        cause = cause.__cause__ or cause.__context__
    return (
        f"{inbox.api_url} gives no answer: {error}",
        "check api_url, the network, firewall and proxy (HTTPS_PROXY)",
    )


def _judge_response(inbox: Inbox, response: ApiResponse) -> list[Finding]:
    """Judge token, company, project and orders by the response."""

    def finding(level: Level, text: str, remedy: str = "", subject: str = "token") -> Finding:
        return Finding(subject, inbox.name, level, text, remedy)

    status, proxy = response.status, inbox.network.proxy_for(inbox.api_url)
    numbers = f"company {inbox.company_id}, project {inbox.project_id}"
    about_us = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
    is_box = status in about_us and response.speaker() is not Speaker.API
    if response.is_html or is_box or status // 100 == 3:  # noqa: PLR2004 - HTTP's own meaning of 3xx
        remedy = "check api_url, and whether a proxy or a sign-in page is in the way"
        return [
            finding(Level.PROBLEM, f"not the API answers, but something else ({response.summary()})", remedy, "API")
        ]
    if status == HTTPStatus.OK:
        try:
            page = OrdersPage.model_validate_json(response.body)
        except ValidationError:
            return [finding(Level.PROBLEM, "the answer is no list of orders", "check api_url", "API")]
        return [finding(Level.OK, f"may read the orders of {numbers}"), connections.of_orders(inbox, page)]
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and proxy is not None:
        remedy = f"write user and password into {proxy.variable}, as http://user:password@{proxy.host}:{proxy.port}"
        return [finding(Level.PROBLEM, f"the proxy {proxy} wants a login", remedy, "proxy")]
    judgements: dict[int, Finding] = {
        HTTPStatus.UNAUTHORIZED: finding(
            Level.PROBLEM,
            "the API token is wrong, revoked or expired (they last a year)",
            "make a new token in Channable's company settings and put it into "
            f"{inbox.api_token_file or 'the setting api_token'}",
        ),
        HTTPStatus.FORBIDDEN: finding(
            Level.PROBLEM,
            f"the token is valid, but may not use {numbers}: it is another company's, or a number is wrong",
            "compare company_id and project_id with Channable, or take a token of this company",
        ),
        HTTPStatus.NOT_FOUND: finding(
            Level.PROBLEM, f"Channable does not know {numbers}", "compare company_id and project_id with Channable"
        ),
        HTTPStatus.TOO_MANY_REQUESTS: finding(
            Level.WARNING,
            "could not be tried: the company's rate limit is used up right now, by us or another program",
            "try again in a minute; if it stays so, see which other programs use the API for this company",
        ),
    }
    unusable = finding(
        Level.PROBLEM,
        f"the API cannot be used now ({response.summary()})",
        "try again later: this need not be the set-up's fault",
        "API",
    )
    return [judgements.get(status, unusable)]


def _rate(inbox: Inbox) -> list[Finding]:
    rate, burst = inbox.requests_per_second, inbox.burst
    documented = f"Channable documents {_DOCUMENTED_RATE:g} a second and {_DOCUMENTED_BURST} at once"
    if rate <= 0 or rate > _DOCUMENTED_RATE or burst > _DOCUMENTED_BURST:
        shown = "no limit" if rate <= 0 else f"{rate:g} requests a second and {burst} at once"
        return [
            Finding(
                "rate",
                "",
                Level.WARNING,
                f"{shown}: {documented}; more is refused and then costs time",
                f"set requests_per_second = {_DOCUMENTED_RATE:g} and burst = {_DOCUMENTED_BURST}",
            )
        ]
    return [Finding("rate", "", Level.OK, f"{rate:g} requests a second and {burst} at once; {documented}")]


def _host(address: object) -> str:
    return str(address[0]) if isinstance(address, tuple) and address else ""


def _expiry(ssl_object: object) -> datetime | None:
    """Return when the server's certificate expires, from a TLS connection that is in use."""
    read = getattr(ssl_object, "getpeercert", None)
    certificate = read() if read is not None else None
    if not isinstance(certificate, dict) or "notAfter" not in certificate:
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
