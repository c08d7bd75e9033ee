"""What `invoicedrop check` learns from one cheap request to the API: address, certificate, clock, token.

The request goes the way of the daemon's own (same transport, trust, proxy), but its answer is read plainly here: the
check wants to tell apart what is all the same to the daemon, which waits in any case.
"""

import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError

from invoicedrop import __version__
from invoicedrop.channable.models import OrdersPage
from invoicedrop.channable.response import ApiResponse
from invoicedrop.channable.transport import DeadlineTransport
from invoicedrop.commands import access
from invoicedrop.commands.check.finding import Finding, Level
from invoicedrop.errors import ConfigError
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.settings.models import Inbox

_CLOCK_OFF: Final = 60.0
"""Seconds; the Date header has whole ones, and travels."""
_CERTIFICATE_SOON: Final = timedelta(days=14)
_DOCUMENTED_RATE: Final = 4.0
"""Requests a second, and the burst below: the API's OpenAPI 3.1 document (2026-10)."""
_DOCUMENTED_BURST: Final = 200


@dataclass(slots=True)
class Reply:
    """What came back of the request: an answer, or the error instead; `sent` and `took` in seconds."""

    sent: float
    took: float = 0.0
    answer: ApiResponse | None = None
    error: Exception | None = None
    server: str = ""
    certificate_ends: datetime | None = field(default=None)


def of_inboxes(inboxes: tuple[Inbox, ...], ledger: Ledger | None) -> list[Finding]:
    """Ask the API once for each inbox's project; what is the same for several inboxes is said once."""
    findings: list[Finding] = []
    told: set[object] = set()
    for inbox in inboxes:
        findings += _rate(inbox) if inbox.account not in told else []
        try:
            token = access.token_reader(inbox)()
        except ConfigError as error:
            findings.append(Finding("token", inbox.name, Level.PROBLEM, str(error), "mend the token's file"))
            continue
        access.new_rate_limiter(inbox, ledger).acquire()
        reply = ask(inbox, token)
        if inbox.api_url not in told:
            findings += judge_way(inbox, reply)
        if reply.answer is not None:
            findings.append(_judge_answer(inbox, reply.answer))
        told |= {inbox.account, inbox.api_url}
    return findings


def ask(inbox: Inbox, token: str) -> Reply:
    """Ask for the newest order of the inbox's project. Of the answer, nothing is kept or shown."""
    path = f"/v2/companies/{inbox.company_id}/projects/{inbox.project_id}/orders"
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/json",
        "User-Agent": f"invoicedrop/{__version__}",
    }
    reply = Reply(sent=time.time())
    began = time.monotonic()
    transport = DeadlineTransport.to(inbox.api_url, total=inbox.request_timeout, connections=1)
    with httpx.Client(transport=transport, trust_env=False) as client:
        try:
            with client.stream("GET", inbox.api_url + path, params={"limit": 1}, headers=headers) as response:
                stream = response.extensions.get("network_stream")
                if stream is not None:
                    reply.server = _address(stream.get_extra_info("server_addr"))
                    reply.certificate_ends = _end_of(stream.get_extra_info("ssl_object"))
                reply.answer = ApiResponse(response, response.read())
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            reply.error = error
    reply.took = time.monotonic() - began
    return reply


def judge_way(inbox: Inbox, reply: Reply) -> Iterator[Finding]:
    """Say how the way to the API is: name, connection, certificate, clock."""

    def found(subject: str, level: Level, text: str, remedy: str = "") -> Finding:
        return Finding(subject, "", level, text, remedy)

    if reply.answer is None:
        text, remedy = _why_not(inbox, reply.error)
        yield found("API", Level.PROBLEM, text, remedy)
        return
    server = f" at {reply.server}" if reply.server else ""
    yield found("API", Level.OK, f"{inbox.api_url} answers{server}, in {reply.took * 1000:.0f} ms")
    if reply.certificate_ends is not None:
        left = reply.certificate_ends - datetime.now(UTC)
        text = f"the certificate is trusted, for {left.days} days more"
        if left < _CERTIFICATE_SOON:
            yield found("TLS", Level.WARNING, text, "tell whoever runs the server (or proxy) to renew it")
        else:
            yield found("TLS", Level.OK, text)
    elif inbox.api_url.startswith("http:"):
        yield found("TLS", Level.NOTE, "none: the address is http://, so the token travels unencrypted")
    date = reply.answer.date
    if date is None or date.tzinfo is None:
        yield found("clock", Level.NOTE, "cannot be compared: the API does not tell its time")
        return
    off = reply.sent + reply.took / 2 - date.timestamp()
    if abs(off) > _CLOCK_OFF:
        text = f"this machine's clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the API's"
        yield found("clock", Level.WARNING, text, "timedatectl set-ntp true")
    else:
        yield found("clock", Level.OK, "agrees with the API's, as far as whole seconds tell")


def _why_not(inbox: Inbox, error: Exception | None) -> tuple[str, str]:
    """Say why no answer came, from the error at the root of it."""
    host = urlsplit(inbox.api_url).hostname
    root: BaseException | None = error
    while root is not None:
        match root:
            case socket.gaierror() | UnicodeError():
                return (
                    f"the name {host} cannot be found ({root.args[-1]})",
                    f"check api_url, the network, and /etc/resolv.conf (try: getent hosts {host})",
                )
            case ssl.SSLCertVerificationError():
                remedy = (
                    "if a proxy of yours looks into TLS, name its certificate in SSL_CERT_FILE; "
                    "if not, somebody else is answering: do not go on"
                )
                return f"the certificate of {host} is not trusted: {root.verify_message}", remedy
            case ssl.SSLError():
                return f"{host} does not speak TLS as it should ({root.reason})", "check api_url: address and port"
        root = root.__cause__ or root.__context__
    return (
        f"{inbox.api_url} gives no answer: {error}",
        "check api_url, the network, firewall and proxy (HTTPS_PROXY)",
    )


def _judge_answer(inbox: Inbox, answer: ApiResponse) -> Finding:
    """Say what the answer means for token, company and project."""

    def found(level: Level, text: str, remedy: str = "", subject: str = "token") -> Finding:
        return Finding(subject, inbox.name, level, text, remedy)

    status = answer.status
    numbers = f"company {inbox.company_id}, project {inbox.project_id}"
    if answer.is_html or status // 100 == 3:  # noqa: PLR2004 - HTTP's own meaning of 3xx
        return found(
            Level.PROBLEM,
            f"not the API answers, but something else ({answer.summary()})",
            "check api_url, and whether a proxy or a sign-in page is in the way",
            "API",
        )
    place = inbox.api_token_file or "the setting api_token"
    finding = found(
        Level.PROBLEM,
        f"the API cannot be used now ({answer.summary()})",
        "try again later: this need not be the set-up's fault",
        "API",
    )
    match status:
        case HTTPStatus.OK:
            finding = found(Level.OK, f"may read the orders of {numbers}")
            try:
                OrdersPage.model_validate_json(answer.body)
            except ValidationError:
                finding = found(Level.PROBLEM, "the answer is no list of orders", "check api_url", "API")
        case HTTPStatus.UNAUTHORIZED:
            finding = found(
                Level.PROBLEM,
                "the API token is wrong, revoked or expired (they last a year)",
                f"make a new token in Channable's company settings and put it into {place}",
            )
        case HTTPStatus.FORBIDDEN:
            finding = found(
                Level.PROBLEM,
                f"the token is valid, but may not use {numbers}: it is another company's, or a number is wrong",
                "compare company_id and project_id with Channable, or take a token of this company",
            )
        case HTTPStatus.NOT_FOUND:
            finding = found(
                Level.PROBLEM, f"Channable does not know {numbers}", "compare company_id and project_id with Channable"
            )
        case HTTPStatus.TOO_MANY_REQUESTS:
            finding = found(
                Level.WARNING,
                "could not be tried: the company's rate limit is used up right now, by us or another program",
                "try again in a minute; if it stays so, see which other programs use the API for this company",
            )
        case _:
            pass
    return finding


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


def _address(found: object) -> str:
    return str(found[0]) if isinstance(found, tuple) and found else ""


def _end_of(ssl_object: object) -> datetime | None:
    """Return when the server's certificate ends, from a TLS connection that is in use."""
    read = getattr(ssl_object, "getpeercert", None)
    known = read() if read is not None else None
    if not isinstance(known, dict) or "notAfter" not in known:
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(known["notAfter"]), UTC)
