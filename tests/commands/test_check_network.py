import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fault_proxy import Rule, fault_proxy
from invoicedrop.channable.models import OrdersPage
from invoicedrop.commands.check import command, connections, network
from invoicedrop.commands.check.finding import Finding, Level
from invoicedrop.ledger.buckets import BucketLevel
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.sandbox import Options, serve
from invoicedrop.settings.inbox import Inbox
from invoicedrop.settings.settings import Settings
from merchant import Merchant
from networks import network_of
from scripted_api import Reply, as_json, scripted, served
from tls_server import tls_server


def _findings(settings: Settings) -> dict[str, Finding]:
    return {finding.subject: finding for finding in command.collect(settings)}


def _inbox(drop: Path, **more: Any) -> Inbox:
    return Inbox(company_id=1, project_id=2, drop_dir=drop, **more)


def test_a_wrong_token_and_a_wrong_project_are_distinguished(merchant: Merchant) -> None:
    """401 blames the token; 403 blames the number of the company or project."""
    wrong_token = _findings(merchant.settings(api_token="another"))["token"]
    assert (wrong_token.level, "wrong, revoked or expired" in wrong_token.text) == (Level.PROBLEM, True)
    wrong_project = _findings(merchant.settings(project_id="77"))["token"]
    assert wrong_project.level is Level.PROBLEM
    assert "may not use company 1001, project 77" in wrong_project.text


@pytest.mark.parametrize(
    ("fault", "subject", "level", "words"),
    [
        ({"kind": "status", "status": 404}, "token", Level.PROBLEM, "does not know company"),
        ({"kind": "status", "status": 503}, "API", Level.PROBLEM, "cannot be used now (HTTP 503"),
        ({"kind": "rate_limited"}, "token", Level.WARNING, "rate limit is used up"),
        ({"kind": "html", "status": 200}, "API", Level.PROBLEM, "not the API answers"),
        ({"kind": "redirect"}, "API", Level.PROBLEM, "not the API answers"),
        ({"kind": "broken_json"}, "API", Level.PROBLEM, "no list of orders"),
        ({"kind": "reset_after_store"}, "API", Level.PROBLEM, "gives no answer"),
    ],
)
def test_other_responses_of_the_api(
    merchant: Merchant, fault: dict[str, Any], subject: str, level: Level, words: str
) -> None:
    """Every other response is judged by what it means for the set-up."""
    merchant.sandbox.faults.add(request="orders", **fault)
    finding = _findings(merchant.settings())[subject]
    assert (finding.level, words in finding.text) == (level, True), finding


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_box_is_not_taken_for_the_api(merchant: Merchant, status: int) -> None:
    """A refusal in another form than the API's own blames neither the token nor the numbers."""
    with fault_proxy(merchant.sandbox.url) as proxy:
        proxy.add(Rule(passed_on=False, reply=as_json({"message": "no Route matched"}, status)))
        finding = _findings(merchant.settings(api_url=proxy.url))["API"]
    assert (finding.level, "not the API answers" in finding.text) == (Level.PROBLEM, True), finding


def _orders(*platforms: str | None) -> OrdersPage:
    """A page of orders that came through these platforms; "?" is one that cannot be read."""
    return OrdersPage.model_validate(
        {
            "orders": [
                {"id": None if platform == "?" else number, "platform_name": platform}
                for number, platform in enumerate(platforms, 1)
            ]
        }
    )


@pytest.mark.parametrize(
    ("platforms", "level", "words"),
    [
        ((), Level.NOTE, "there are none yet"),
        (("channable", "Channable"), Level.OK, "2 of 2 came through"),
        (("channable", None, "?"), Level.OK, "1 of 3 came through"),
        ((None, "", "?"), Level.NOTE, "cannot be seen"),
        (("channable", "example_shop"), Level.NOTE, "1 of 2 did not come through"),
        (("example_shop", "other"), Level.PROBLEM, "none of the newest 2 came through"),
        (("example_shop",), Level.PROBLEM, "none of the newest 1 came through"),
        (("example_shop", None), Level.WARNING, "1 of 2 did not come through"),
        (("example_shop", "?"), Level.WARNING, "1 of 2 did not come through"),
    ],
)
def test_how_orders_come_is_judged_by_the_newest(
    tmp_path: Path, platforms: tuple[str | None, ...], level: Level, words: str
) -> None:
    """A problem only where every order says that it came in another way; what does not say so proves nothing."""
    finding = connections.of_orders(_inbox(tmp_path), _orders(*platforms))
    assert (finding.level, words in finding.text) == (level, True), finding
    assert ("Channable API" in finding.remedy) is (level in {Level.PROBLEM, Level.WARNING})


def test_orders_that_come_in_another_way_are_a_problem(merchant: Merchant) -> None:
    """The real command, with the one request that it makes anyway: exit 1, and what to do in Channable."""
    done = merchant.run("check")
    assert (done.returncode, "100 of 100 came through a Channable API" in done.stdout) == (0, True)
    assert merchant.sandbox.journal.arrived() == 1
    for number in range(1, 101):
        merchant.sandbox.store.add_order(number, platform_name="example_shop")
    done = merchant.run("check")
    assert done.returncode == 1
    assert "none of the newest 100 came through a Channable API connection (example_shop)" in done.stdout
    assert 'set up an order connection between "Channable API" and each marketplace' in done.stdout
    merchant.sandbox.store.add_order(101, created=datetime.now(UTC))
    done = merchant.run("check")
    assert (done.returncode, "99 of 100 did not come through" in done.stdout) == (0, True)


def test_an_api_that_cannot_be_reached_is_a_problem(merchant: Merchant) -> None:
    """A refused connection is reported with what to look at."""
    merchant.sandbox.stop()
    finding = _findings(merchant.settings())["API"]
    assert finding.level is Level.PROBLEM
    assert "Connection refused" in finding.text


def test_a_name_that_cannot_be_resolved_is_a_problem_of_its_own(tmp_path: Path) -> None:
    """A resolver's error as the cause of the failure names the host and how to try it by hand."""
    inbox = _inbox(tmp_path, api_url="https://api.channable.example")
    with pytest.raises(socket.gaierror) as resolution:
        socket.getaddrinfo("api.channable.example", 443, flags=socket.AI_NUMERICHOST)
    error = OSError("cannot connect")
    error.__cause__ = resolution.value
    (finding,) = network.judge_connection(inbox, network.Reply(sent=0.0, error=error))
    assert finding.text.startswith("the name api.channable.example cannot be found")
    assert "getent hosts api.channable.example" in finding.remedy


def test_an_address_with_an_impossible_name_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    """An api_url that no resolver accepts ends in a sentence."""
    inbox = _inbox(tmp_path, api_url="https://a..b")
    (finding,) = network.judge_connection(inbox, network.ask(inbox, "token"))
    assert finding.level is Level.PROBLEM


def test_inboxes_of_one_company_are_asked_for_each_project(merchant: Merchant, tmp_path: Path) -> None:
    """Of two inboxes, folders and token are reported for each, the connection to the API and the rate once."""
    with serve(Options(projects=(2001, 2002), rate=0)) as api:
        second = tmp_path / "second"
        second.mkdir()
        first = merchant.settings(api_url=api.url).inboxes[0]
        other = first.model_copy(update={"name": "kaufland", "project_id": 2003, "drop_dir": second})
        other = other.model_copy(update={"processed_dir": second / "p", "failed_dir": second / "f"})
        settings = merchant.settings().model_copy(update={"inboxes": (first, other)})
        findings = command.collect(settings)
        tokens = {finding.inbox: finding.level for finding in findings if finding.subject == "token"}
        assert tokens == {"default": Level.OK, "kaufland": Level.PROBLEM}
        subjects = [finding.subject for finding in findings]
        assert subjects.count("API") == 1
        assert subjects.count("rate") == 1
        assert api.journal.arrived() == 2


@pytest.mark.parametrize(
    ("rate", "burst", "level"),
    [("4", "200", Level.OK), ("2", "100", Level.OK), ("5", "200", Level.WARNING), ("4", "201", Level.WARNING)],
)
def test_rates_above_the_documented_ones_are_a_warning(merchant: Merchant, rate: str, burst: str, level: Level) -> None:
    """Channable documents 4 a second and 200 at once: less is right, more is a warning."""
    assert _findings(merchant.settings(requests_per_second=rate, burst=burst))["rate"].level is level


class _Api(BaseHTTPRequestHandler):
    """Answers as an API whose clock is `ahead` of ours."""

    ahead = timedelta()

    def do_GET(self) -> None:
        body = b'{"orders": [], "total": 0}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002 - inherited
        return format_datetime(datetime.now(UTC) + self.ahead, usegmt=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited
        pass


@contextmanager
def _server(ahead: timedelta = timedelta(), context: ssl.SSLContext | None = None) -> Iterator[int]:
    handler = type("Handler", (_Api,), {"ahead": ahead})
    if context is not None:
        with tls_server(context, handler) as port:
            yield port
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with served(server):
        yield server.server_address[1]


def _connection(drop: Path, url: str, **variables: str) -> dict[str, Finding]:
    inbox = _inbox(drop, api_url=url, request_timeout=5).in_network(network_of(**variables))
    return {finding.subject: finding for finding in network.judge_connection(inbox, network.ask(inbox, "token"))}


@pytest.mark.parametrize(
    ("seconds", "level", "words"),
    [(0, Level.OK, "agrees"), (300, Level.WARNING, "s behind"), (-300, Level.WARNING, "s ahead of")],
)
def test_a_wrong_clock_is_a_warning(tmp_path: Path, seconds: int, level: Level, words: str) -> None:
    """The machine's clock is compared with the API's Date header; more than a minute off is a warning."""
    with _server(timedelta(seconds=seconds)) as port:
        clock = _connection(tmp_path, f"http://127.0.0.1:{port}")["clock"]
    assert (clock.level, words in clock.text) == (level, True), clock


def _certificate(folder: Path, days: int) -> ssl.SSLContext:
    """Return a server's context with a certificate of its own, in `folder`/cert.pem."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the command openssl, which makes the certificate, is not installed")
    subprocess.run(
        [
            openssl,
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", str(days), "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@pytest.mark.parametrize(("days", "level"), [(90, Level.OK), (5, Level.WARNING)])
def test_a_trusted_certificate_is_shown_with_its_days(tmp_path: Path, days: int, level: Level) -> None:
    """Over https the check shows how long the certificate lasts; less than two weeks is a warning."""
    with _server(context=_certificate(tmp_path, days)) as port:
        findings = _connection(tmp_path, f"https://localhost:{port}", SSL_CERT_FILE=str(tmp_path / "cert.pem"))
    tls = findings["TLS"]
    assert findings["API"].level is Level.OK
    assert (tls.level, f"for {days - 1} days" in tls.text) == (level, True), tls


def test_a_certificate_that_is_not_trusted_is_a_problem(tmp_path: Path) -> None:
    """An untrusted certificate (of a proxy that looks into TLS, or worse) is a problem of its own."""
    with _server(context=_certificate(tmp_path, 90)) as port:
        finding = _connection(tmp_path, f"https://localhost:{port}")["API"]
    assert finding.level is Level.PROBLEM
    assert "the certificate of localhost is not trusted" in finding.text
    assert "SSL_CERT_FILE" in finding.remedy


def test_the_check_waits_for_its_turn_in_the_bucket(merchant: Merchant) -> None:
    """The one request goes through the rate limiter, which starts at the level that the ledger remembers."""
    merchant.state.mkdir()
    settings = merchant.settings(requests_per_second="4", burst="1")
    with Ledger.open(merchant.state) as ledger:
        ledger.buckets.remember(settings.inboxes[0].account, BucketLevel(1.0, time.time()))
        began = time.monotonic()
        network.of_inboxes(settings.inboxes, ledger)
    assert merchant.sandbox.journal.arrived("orders") == 1
    assert time.monotonic() - began >= 0.15


def test_a_proxy_that_answers_in_the_apis_place_is_named(tmp_path: Path) -> None:
    """Where an API by http:// is asked by a proxy that wants a login, `check` says so, and where to write it."""
    with scripted(lambda _request: Reply(status=407)) as proxy:
        inbox = _inbox(tmp_path, api_url="http://api.example", allow_http=True, request_timeout=5)
        inbox = inbox.in_network(network_of(HTTP_PROXY=proxy.url))
        reply = network.ask(inbox, "token")
        assert reply.response is not None
        (finding,) = network._judge_response(inbox, reply.response)
    assert (finding.level, finding.subject) == (Level.PROBLEM, "proxy")
    assert f"the proxy {proxy.url} (HTTP_PROXY) wants a login" in finding.text
    assert "write user and password into HTTP_PROXY" in finding.remedy
