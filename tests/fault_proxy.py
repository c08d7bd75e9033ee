"""A proxy on loopback between the daemon and the sandbox, for what boxes in between do: see `FaultProxy`."""

import http.client
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit

from scripted_api import Reply, served

_OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
"""Headers that are the proxy's own on each side."""


@dataclass(slots=True, eq=False)
class Rule:
    """What the proxy does with some requests.

    Which: those with this `method` ("" is any) whose path, with its query, has a match of the regular expression
    `path`; after the first `skip` of them, and for `count` of them (None: for ever).

    What: it waits `delay` seconds, passes the request on (unless it is not `passed_on`), waits `delay_after` seconds,
    and then sends `reply` in the API's place, or drops the connection without a word (`drop`), or breaks it off after
    `cut` bytes of the body; otherwise it sends the API's own response. If it `keeps` answers, the API's first 200 for
    each address (`without_query`: for each path) is given again, with these headers more (`kept_headers`).
    """

    method: str = ""
    path: str = ""
    count: int | None = None
    skip: int = 0
    passed_on: bool = True
    delay: float = 0.0
    delay_after: float = 0.0
    reply: Reply | None = None
    drop: bool = False
    cut: int | None = None
    keeps: bool = False
    without_query: bool = False
    kept_headers: tuple[tuple[str, str], ...] = ()
    kept: dict[str, Reply] = field(default_factory=dict)

    def takes(self, method: str, path: str) -> bool:
        """Whether this rule is for the request; a rule is used up by what it is for."""
        if self.count == 0 or self.method not in ("", method) or re.search(self.path, path) is None:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.count is not None:
            self.count -= 1
        return True

    def key(self, path: str) -> str:
        """Return by what an answer is kept."""
        return path.partition("?")[0] if self.without_query else path


class Passage(NamedTuple):
    """A request that came to the proxy: when (monotonic), what, by which rule, and the API's own status, if any.

    `port` is the client's, and tells its connections apart.
    """

    time: float
    method: str
    path: str
    rule: Rule | None
    status: int | None
    port: int


class FaultProxy:
    """Passes HTTP requests on to `upstream`, but for what a rule says: the first that takes a request decides.

    Rules may be added and cleared at any time. `passages` are the requests whose fate is decided, in the order in which
    that was; each is there before its response leaves.
    """

    def __init__(self, upstream: str) -> None:
        self.passages: list[Passage] = []
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._upstream = urlsplit(upstream)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            server_version, sys_version = "fault-proxy", ""

            def handle_any(self) -> None:
                proxy._handle(self)

            do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = handle_any  # noqa: N815 - http.server's names

            def log_message(self, *_arguments: object) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def add(self, rule: Rule) -> Rule:
        """Append a rule; return it, to be given to `remove`."""
        with self._lock:
            self._rules.append(rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """Take a rule away."""
        with self._lock:
            self._rules.remove(rule)

    def clear(self) -> None:
        """Take every rule away: from now on all is passed on."""
        with self._lock:
            self._rules.clear()

    def count(self, method: str = "", path: str = "", *, faulty: bool | None = None) -> int:
        """Count the requests so far, all or those that a rule was (not) for."""
        return sum(
            method in ("", passage.method)
            and re.search(path, passage.path) is not None
            and faulty in (None, passage.rule is not None)
            for passage in list(self.passages)
        )

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        with self._lock:
            rule = next((rule for rule in self._rules if rule.takes(handler.command, handler.path)), None)
        time.sleep(0.0 if rule is None else rule.delay)
        reply = self._kept(rule, handler.path)
        if reply is None and (rule is None or rule.passed_on):
            reply = self._ask(handler, body)
            self._keep(rule, handler.path, reply)
        time.sleep(0.0 if rule is None else rule.delay_after)
        status = None if reply is None else reply.status
        port = handler.client_address[1]
        self.passages.append(Passage(time.monotonic(), handler.command, handler.path, rule, status, port))
        if rule is not None and rule.reply is not None:
            reply = rule.reply
        if reply is None or (rule is not None and rule.drop):
            handler.close_connection = True
            return
        _send(handler, reply, None if rule is None else rule.cut)

    def _kept(self, rule: Rule | None, path: str) -> Reply | None:
        """Return what a cache has kept for this address, if the rule makes it one and it has."""
        reply = None if rule is None else rule.kept.get(rule.key(path))
        return None if reply is None or rule is None else reply._replace(headers=(*reply.headers, *rule.kept_headers))

    def _keep(self, rule: Rule | None, path: str, reply: Reply | None) -> None:
        if rule is not None and rule.keeps and reply is not None and reply.status == HTTPStatus.OK:
            rule.kept.setdefault(rule.key(path), reply)

    def _ask(self, handler: BaseHTTPRequestHandler, body: bytes) -> Reply | None:
        """Ask the API; return what it answers, None if it does not."""
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in _OF_THE_CONNECTION}
        headers["Host"] = self._upstream.netloc
        connection = http.client.HTTPConnection(self._upstream.hostname or "", self._upstream.port, timeout=60)
        try:
            connection.request(handler.command, handler.path, body or None, headers)
            response = connection.getresponse()
            kept = [(name, value) for name, value in response.getheaders() if name.lower() not in _OF_THE_CONNECTION]
            return Reply(response.read(), response.status, tuple(kept))
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


def _send(handler: BaseHTTPRequestHandler, reply: Reply, cut: int | None) -> None:
    try:
        handler.send_response(reply.status)
        for name, value in (*reply.headers, ("Content-Length", str(len(reply.body)))):
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(reply.body if cut is None else reply.body[:cut])
    except OSError:
        handler.close_connection = True
    if cut is not None:
        handler.close_connection = True


@contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    """Let a fault proxy serve while the block runs."""
    proxy = FaultProxy(upstream)
    with served(proxy.server):
        yield proxy
