"""Puts real boxes between the daemon and the sandbox, lets each do what it does to others, and counts attachments.

    apt-get install -y --no-install-recommends nginx haproxy varnish squid openssl
    sudo .venv/bin/python tests/deploy/network.py

What is missing of these is installed first; a box that cannot be had is named as skipped. Needs root for that, and for
a network of its own: loopback only, so that nothing listens on this machine or leaves it. No system service is started.
`--only nginx` tries one box.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import boxes
from behind import Scene
from boxes import (
    Box,
    haproxy_configuration,
    nginx_configuration,
    squid_configuration,
    varnish_configuration,
)
from findings import Findings, must

from invoicedrop.sandbox import Options, Running, serve

_INSIDE = "INVOICEDROP_IN_NETWORK"
_PLAIN = 20
_DROPPED_CONNECTIONS = 4
_HAPROXY_LOSES = "HTTP 502|disconnected"
"""Where it has answered on a connection before, HAProxy may close it without a word."""


class Stage:
    """What all scenes share: a folder, the API, the checks, and orders that have no invoice yet."""

    def __init__(self, home: Path, sandbox: Running, findings: Findings) -> None:
        self.home = home
        self.sandbox = sandbox
        self.findings = findings
        self.api_port = int(sandbox.url.rpartition(":")[2])
        self._orders = itertools.count(1)

    @contextmanager
    def scene(
        self, title: str, api_url: str, environment: dict[str, str] | None = None, **settings: str
    ) -> Iterator[Scene]:
        """Let a merchant with this API address drop invoices until the end of the block."""
        scenes = self.home / "scenes"
        scenes.mkdir(exist_ok=True)
        scene = Scene(scenes, self.sandbox, self.findings, title, self._orders, api_url)
        self.sandbox.faults.clear()
        self.sandbox.store.latency = 0.0
        with scene.running(environment, **settings):
            yield scene


def plain(stage: Stage, name: str, url: str, environment: dict[str, str] | None = None, **settings: str) -> None:
    """A box that does what it should."""
    with stage.scene(f"{name}, well", url, environment, **settings) as scene:
        scene.drop(_PLAIN)
        scene.ends_well()


def loses_answers(
    stage: Stage, name: str, url: str, words: str, environment: dict[str, str] | None = None, **settings: str
) -> None:
    """The connection behind the box breaks when the API has stored: the box answers in its own words."""
    with stage.scene(f"{name}, the API drops after storing", url, environment, **settings) as scene:
        stage.sandbox.faults.add("reset_after_store", "upload", count=_DROPPED_CONNECTIONS)
        scene.drop(8)
        scene.ends_well()
        scene.doubts(_DROPPED_CONNECTIONS)
        scene.names(words)


def api_down(
    stage: Stage, name: str, url: str, words: str, environment: dict[str, str] | None = None, **settings: str
) -> None:
    """Nothing is behind the box for a while."""
    with stage.scene(f"{name}, the API is down", url, environment, **settings) as scene:
        stage.sandbox.stop()
        try:
            numbers = scene.drop(8)
            scene.waits_with(words)
            scene.stays(numbers)
        finally:
            stage.sandbox.start()
        scene.ends_well()


def caches_orders(stage: Stage, name: str, url: str) -> None:
    """The box keeps each order as it was before the upload: an older one is not believed, and the box is named."""
    title = f"{name}, told to cache orders"
    with stage.scene(title, url) as scene:
        stage.sandbox.faults.add("reset_after_store", "upload", count=_DROPPED_CONNECTIONS)
        scene.drop(8)
        scene.ends_well()
        scene.doubts(_DROPPED_CONNECTIONS)
        told = [
            line for line in scene.events("upload.reconciled") if "a cache before the API" in str(line.get("detail"))
        ]
        stage.findings.check(
            f"{title}: the log names it, {len(told)} times", len(told) == _DROPPED_CONNECTIONS, scene.log()
        )
    with stage.scene(f"{title}, and what was lost is not stored", url) as scene:
        stage.sandbox.faults.add("reset_before_store", "upload", count=_DROPPED_CONNECTIONS)
        scene.drop(8)
        scene.ends_well()
        scene.doubts(_DROPPED_CONNECTIONS)


def nginx(stage: Stage) -> None:
    """nginx, as a reverse proxy or an ingress."""
    port = stage.api_port
    with boxes.nginx(stage.home, nginx_configuration(port)).running() as box:
        plain(stage, "nginx", box.url)
        loses_answers(stage, "nginx", box.url, "HTTP 502")
        api_down(stage, "nginx", box.url, "HTTP 502")

        title = "nginx, the API hangs longer than proxy_read_timeout"
        _set(box, nginx_configuration(port, location="proxy_read_timeout 1s;"))
        with stage.scene(title, box.url) as scene:
            stage.sandbox.faults.add("hang_before_store", "upload", count=3)
            stage.sandbox.faults.add("hang_after_store", "upload", count=3)
            scene.drop(10)
            scene.ends_well()
            scene.doubts(6)
            scene.names("HTTP 504")

        _set(box, nginx_configuration(port))
        with stage.scene("nginx is restarted in a backlog", box.url) as scene:
            stage.sandbox.store.latency = 0.2
            scene.drop(30)
            stage.findings.wait(f"{scene.title}: some have passed", lambda: scene.processed() >= 5, detail=scene.log)
            box.stop()
            scene.waits_with("refused")
            box.start()
            scene.ends_well()

        _set(box, nginx_configuration(port, location="client_max_body_size 64k;"))
        with stage.scene("nginx, client_max_body_size is too small for one", box.url) as scene:
            large = scene.drop(1, pages=200)
            scene.drop(8)
            stage.findings.wait(f"{scene.title}: the others pass", lambda: scene.processed() == 8, detail=scene.log)
            scene.waits_with("HTTP 413")
            scene.stays(large)
            _set(box, nginx_configuration(port))
            scene.ends_well()

        zone = "limit_req_zone $binary_remote_addr zone=api:1m rate=5r/s;"
        for status in (503, 429):
            _set(
                box,
                nginx_configuration(
                    port, http=zone, location=f"limit_req zone=api burst=10 nodelay; limit_req_status {status};"
                ),
            )
            with stage.scene(f"nginx, limit_req with {status}", box.url, requests_per_second="4") as scene:
                scene.drop(10)
                scene.ends_well(seconds=240)
                scene.names(f"HTTP {status}")

        _set(box, nginx_configuration(port))
        with stage.scene("an ingress's 404 for 5 s in a backlog", box.url) as scene:
            stage.sandbox.store.latency = 0.2
            scene.drop(50)
            stage.findings.wait(f"{scene.title}: some have passed", lambda: scene.processed() >= 5, detail=scene.log)
            _set(box, nginx_configuration(port, instead='default_type text/plain; return 404 "default backend - 404";'))
            before = scene.processed()
            time.sleep(5)
            _set(box, nginx_configuration(port))
            stage.findings.check(f"{scene.title}: it began in their middle, after {before}", before < 45)
            scene.ends_well()
            scene.names("default backend - 404")

        # nginx keeps what it is told to, whether it was asked for with Authorization or not.
        _set(
            box,
            nginx_configuration(
                port,
                http="proxy_cache_path HOME/cache keys_zone=orders:1m;",
                location="proxy_cache orders; proxy_cache_valid 200 2m;",
            ),
        )
        caches_orders(stage, "nginx", box.url)


def _set(box: Box, configuration: str) -> None:
    """Let a running nginx take another configuration."""
    box.configure(configuration)
    box.reload()
    # Its old worker still takes what comes until the new one listens.
    time.sleep(0.5)


def haproxy(stage: Stage) -> None:
    """HAProxy, as a load balancer."""
    port = stage.api_port

    def box(**words: str) -> Box:
        return boxes.haproxy(stage.home, haproxy_configuration(port, **words))

    with box().running() as running:
        plain(stage, "haproxy", running.url)
        loses_answers(stage, "haproxy", running.url, _HAPROXY_LOSES)
        api_down(stage, "haproxy", running.url, "HTTP 503")
        with stage.scene("haproxy, the backend is drained", running.url) as scene:
            stage.sandbox.store.latency = 0.2
            scene.drop(20)
            stage.findings.wait(f"{scene.title}: some have passed", lambda: scene.processed() >= 3, detail=scene.log)
            running.tell("set server api/one state drain")
            scene.waits_with("HTTP 503")
            running.tell("set server api/one state ready")
            scene.ends_well()

    ways = {
        "option http-server-close": "option http-server-close",
        "option httpclose: one request a connection": "option httpclose",
        "a connection ends 1 ms after its answer": "timeout http-keep-alive 1",
    }
    for title, line in ways.items():
        with box(defaults=line).running() as running:
            loses_answers(stage, f"haproxy, {title}", running.url, _HAPROXY_LOSES)

    with (
        box(defaults="timeout queue 500ms", server="maxconn 1").running() as running,
        stage.scene("haproxy, the queue's time is over", running.url) as scene,
    ):
        stage.sandbox.store.latency = 0.4
        scene.drop(12)
        scene.ends_well(seconds=180)
        scene.names("HTTP 503")

    table = "stick-table type ip size 10 expire 10s store http_req_rate(5s)\n    http-request track-sc0 src"
    limit = f"{table}\n    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt 12 }}"
    with (
        box(frontend=limit).running() as running,
        stage.scene("haproxy, 429 by its stick table", running.url, requests_per_second="4") as scene,
    ):
        scene.drop(10)
        scene.ends_well(seconds=240)
        scene.names("HTTP 429")


def varnish(stage: Stage) -> None:
    """Varnish, as it comes, and one that caches what it should not."""
    port = stage.api_port
    with boxes.varnish(stage.home, varnish_configuration(port)).running() as box:
        before = stage.sandbox.journal.arrived("order")
        plain(stage, "varnish", box.url)
        reads = stage.sandbox.journal.arrived("order") - before
        stage.findings.check(
            f"varnish, well: each order was read at the API, {reads} reads of {_PLAIN} orders", reads >= _PLAIN
        )
        loses_answers(stage, "varnish", box.url, "HTTP 503")
        api_down(stage, "varnish", box.url, "HTTP 503")

    backend = ".first_byte_timeout = 1s;"
    with (
        boxes.varnish(stage.home, varnish_configuration(port, backend=backend)).running() as box,
        stage.scene("varnish, first_byte_timeout after the API has stored, or before", box.url) as scene,
    ):
        stage.sandbox.faults.add("latency", "upload", stored=True, seconds=2, count=4)
        stage.sandbox.faults.add("latency", "upload", stored=False, seconds=2, skip=4, count=4)
        scene.drop(8)
        scene.ends_well()
        scene.doubts(8)
        scene.names("HTTP 503")

    # RFC 9111, section 3.5, forbids to keep what was asked for with Authorization. Who writes this does so all the same.
    code = 'sub vcl_recv { if (req.method == "GET") { return (hash); } }'
    with boxes.varnish(stage.home, varnish_configuration(port, code=code)).running() as box:
        caches_orders(stage, "varnish", box.url)


def squid(stage: Stage) -> None:
    """squid, as a company's way out: plain http, and tunnels for https."""
    hosts, login = stage.home / "hosts", stage.home / "login"
    # Only squid knows the name, so that nothing passes it by; downloads are at the same host, as no other is public.
    url = f"http://{boxes.NAME}:{stage.api_port}"
    with _named(stage, url), boxes.squid(stage.home, squid_configuration(hosts)).running() as box:
        environment = {"HTTP_PROXY": box.url, "HTTPS_PROXY": box.url}
        plain(stage, "squid", url, environment, allow_http="true")
        loses_answers(stage, "squid", url, "HTTP 50[23]", environment, allow_http="true")
        api_down(stage, "squid", url, "HTTP 503", environment, allow_http="true")
        with stage.scene("squid is down", url, environment, allow_http="true") as scene:
            box.stop()
            numbers = scene.drop(4)
            scene.waits_with(f"the proxy {box.url} .HTTP_PROXY. cannot be reached: Connection refused")
            scene.stays(numbers)
            box.start()
            scene.ends_well()

    with _named(stage, url), boxes.squid(stage.home, squid_configuration(hosts, login=login)).running() as box:
        for words, user in (("no login", ""), ("a wrong login", "shop:wrong@")):
            proxy = box.url.replace("://", f"://{user}")
            with stage.scene(f"squid, {words}", url, {"HTTP_PROXY": proxy}, allow_http="true") as scene:
                numbers = scene.drop(4)
                scene.waits_with("proxy wants a login")
                scene.stays(numbers)
        plain(
            stage,
            "squid, the right login",
            url,
            {"HTTP_PROXY": box.url.replace("://", "://shop:right@")},
            allow_http="true",
        )

    if "nginx" not in boxes.available():
        stage.findings.note("skipped: squid's tunnels, as nginx, who speaks TLS behind them, cannot be had here")
        return
    certificate = _certificate(stage.home)
    configuration = nginx_configuration(stage.api_port, tls=str(certificate))
    with boxes.nginx(stage.home, configuration).running() as tls:
        url = f"https://{boxes.NAME}:{tls.port}"
        with (
            _named(stage, url),
            boxes.squid(stage.home, squid_configuration(hosts, login=login)).running() as box,
        ):
            trusted = {"SSL_CERT_FILE": str(certificate)}
            environment = trusted | {"HTTPS_PROXY": box.url.replace("://", "://shop:right@")}
            plain(stage, "squid, a tunnel", url, environment)
            loses_answers(stage, "squid, a tunnel", url, "HTTP 502", environment)
            with stage.scene("squid, a tunnel to nowhere", url, environment) as scene:
                tls.stop()
                numbers = scene.drop(4)
                scene.waits_with(f"the proxy {box.url} .HTTPS_PROXY. makes no connection to {boxes.NAME}: 503")
                scene.stays(numbers)
                tls.start()
                scene.ends_well()
            environment = trusted | {"HTTPS_PROXY": box.url.replace("://", "://shop:wrong@")}
            with stage.scene("squid, a tunnel with a wrong login", url, environment) as scene:
                numbers = scene.drop(4)
                scene.waits_with(f"the proxy {box.url} .HTTPS_PROXY. does not take our login")
                scene.stays(numbers)


@contextmanager
def _named(stage: Stage, url: str) -> Iterator[None]:
    """Let the API give download addresses below `url` while the block runs."""
    before = stage.sandbox.download_url
    stage.sandbox.stop()
    stage.sandbox.download_url = url
    stage.sandbox.start()
    try:
        yield
    finally:
        stage.sandbox.stop()
        stage.sandbox.download_url = before
        stage.sandbox.start()


def _certificate(home: Path) -> Path:
    """Return a file with a key and the certificate that it has signed itself, for the API's name."""
    file = home / "tls.pem"
    must([
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={boxes.NAME}",
        "-addext", f"subjectAltName=DNS:{boxes.NAME}", "-addext", "keyUsage=digitalSignature,keyCertSign",
        "-keyout", home / "key.pem", "-out", home / "certificate.pem",
    ])  # fmt: skip
    file.write_text((home / "certificate.pem").read_text() + (home / "key.pem").read_text())
    return file


_BOXES: dict[str, Callable[[Stage], None]] = {"nginx": nginx, "haproxy": haproxy, "varnish": varnish, "squid": squid}


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=_BOXES, help="try one box")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("this needs root")
    if _INSIDE not in os.environ:
        boxes.install()
        # What this machine has set for its own way out would lead the daemon there.
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        inside = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, *sys.argv]
        sys.exit(subprocess.run(inside, env=environment | {_INSIDE: "1"}, check=False).returncode)
    findings = Findings()
    # The API's port serves downloads too: behind squid they go the same way.
    with (
        tempfile.TemporaryDirectory(prefix="invoicedrop-network-", dir="/var/tmp") as folder,
        serve(Options(rate=0, orders=2000, separate_download_host=False)) as sandbox,
    ):
        # squid gives root's rights up.
        Path(folder).chmod(0o755)
        stage = Stage(Path(folder), sandbox, findings)
        for name, scenes in _BOXES.items():
            if options.only not in (None, name):
                continue
            if name not in boxes.available():
                findings.note(f"skipped: {name}, which cannot be installed here")
                continue
            findings.section(name)
            scenes(stage)
    findings.end()


if __name__ == "__main__":
    main()
