"""Requests by a proxy that makes tunnels, and by one that does not, to a real TLS server."""

import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from api_caller import caller_of
from certificates import Authority
from connect_proxy import ConnectProxy, running
from invoicedrop.channable.transport import DeadlineTransport, MaybeSent, NotSent, ProxyFailed
from invoicedrop.errors import PauseCause, Paused
from invoicedrop.system.network import Network
from networks import network_of
from tls_server import tls_server

API = "https://api.example"


def client_by(network: Network, total: float = 5) -> httpx.Client:
    """Return a client with the transport under test."""
    return httpx.Client(
        transport=DeadlineTransport.to(API, total=total, connections=2, network=network), trust_env=False
    )


@pytest.mark.parametrize("login", ["", "us%40er:p%3A%C3%BCw@"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_request_goes_through_the_tunnel(tmp_path: Path, scheme: str, login: str) -> None:
    """By a proxy, with and without a login, that is itself spoken to with or without TLS; its name is not resolved."""
    authority = Authority(tmp_path)
    proxy_context = authority.server_context("localhost") if scheme == "https" else None
    with tls_server(authority.server_context("api.example")) as port:
        proxy = ConnectProxy(port, login="us@er:p:üw" if login else None)
        with running(proxy, proxy_context) as proxy_port:
            network = network_of(
                HTTPS_PROXY=f"{scheme}://{login}localhost:{proxy_port}", SSL_CERT_FILE=str(authority.ca_file)
            )
            with client_by(network) as client:
                assert client.get(f"{API}/").text == "ok"
                assert client.get(f"{API}/").text == "ok"
    assert proxy.asked == ["CONNECT api.example:443 HTTP/1.1"]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_was_sent_through_the_tunnel_is_in_doubt(tmp_path: Path, scheme: str) -> None:
    """A lost answer is in doubt by a proxy, too; asking for the tunnel is no part of the request."""
    authority = Authority(tmp_path)
    proxy_context = authority.server_context("localhost") if scheme == "https" else None
    with tls_server(authority.server_context("api.example")) as port:
        for proxy, error in (
            (ConnectProxy(port), MaybeSent),
            (ConnectProxy(port, answer=b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"), ProxyFailed),
        ):
            with running(proxy, proxy_context) as proxy_port:
                network = network_of(
                    HTTPS_PROXY=f"{scheme}://localhost:{proxy_port}", SSL_CERT_FILE=str(authority.ca_file)
                )
                with client_by(network) as client, pytest.raises(error):
                    client.post(f"{API}/", content=b"x")


BAD_GATEWAY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("behaviour", "login", "words"),
    [
        ({"login": "anna:secret"}, "", "wants a login; write it into HTTPS_PROXY"),
        ({"login": "anna:secret"}, "anna:wrong@", "does not take our login; correct it in HTTPS_PROXY"),
        ({"answer": BAD_GATEWAY}, "anna:wrong@", "makes no connection to api.example: 503 Service Unavailable"),
        ({"answer": b""}, "anna:wrong@", "makes no connection to api.example"),
        ({"answer": b"SSH-2.0-OpenSSH_9.2\r\n"}, "anna:wrong@", "makes no connection to api.example"),
        ({"delay": 30}, "anna:wrong@", "makes no connection to api.example: no answer in time"),
    ],
)
def test_the_proxys_trouble_is_told_as_the_proxys(behaviour: dict[str, Any], login: str, words: str) -> None:
    """Nothing was sent, the project pauses, and the sentence names the proxy and its variable, not the password."""
    with running(ConnectProxy(1, **behaviour)) as port:
        network = network_of(HTTPS_PROXY=f"http://{login}127.0.0.1:{port}")
        with client_by(network, total=1) as client, pytest.raises(ProxyFailed):
            client.post(f"{API}/", content=b"x")
        with caller_of(API, network=network, timeout=1) as caller, pytest.raises(Paused) as caught:
            caller.project.order(8)
    (detail,) = caller.details
    assert detail is not None
    assert detail.startswith(f"the proxy http://127.0.0.1:{port} (HTTPS_PROXY) {words}")
    assert "wrong" not in detail
    assert caught.value.cause is PauseCause.OUTAGE


def test_a_proxy_that_is_down_or_unknown_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses, or whose name there is not, is named as what cannot be reached."""

    def fail(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        down = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with client_by(network_of(all_proxy=down)) as client, pytest.raises(ProxyFailed) as caught:
            client.get(API)
    assert str(caught.value) == (
        f"the proxy {down} (all_proxy) cannot be reached: Connection refused; check all_proxy, and that the proxy runs"
    )
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with client_by(network_of(HTTPS_PROXY="proxy.test:3128")) as client, pytest.raises(ProxyFailed) as caught:
        client.get(API)
    assert "the proxy http://proxy.test:3128 (HTTPS_PROXY) cannot be reached: its name cannot be" in str(caught.value)


def test_a_proxy_with_a_strange_certificate_is_named(tmp_path: Path) -> None:
    """A proxy by https:// whose certificate is not trusted gets nothing, not even the login."""
    with running(ConnectProxy(1), Authority(tmp_path).server_context("localhost")) as port:
        network = network_of(HTTPS_PROXY=f"https://anna:secret@localhost:{port}")
        with client_by(network) as client, pytest.raises(ProxyFailed, match="cannot be used: the certificate of local"):
            client.get(API)


def test_trouble_beyond_the_tunnel_is_not_the_proxys(tmp_path: Path) -> None:
    """Behind a proxy that looks into TLS, the certificate is what the sentence is about, and SSL_CERT_FILE helps."""
    with (
        tls_server(Authority(tmp_path).server_context("api.example")) as port,
        running(ConnectProxy(port)) as proxy_port,
        client_by(network_of(HTTPS_PROXY=f"127.0.0.1:{proxy_port}")) as client,
        pytest.raises(NotSent, match=r"the certificate of api\.example is not trusted: .*SSL_CERT_FILE") as caught,
    ):
        client.get(API)
    assert not isinstance(caught.value, ProxyFailed)
