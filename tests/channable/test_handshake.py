"""Why a TLS handshake failed: real TLS servers whose certificates are in many ways not what they should be."""

import re
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from certificates import Authority
from invoicedrop.channable.transport import DeadlineTransport, NotSent
from invoicedrop.system.network import Network
from networks import network_of
from tls_server import tls_server


def failure(port: int, network: Network, host: str = "localhost") -> str:
    """Return why a request to the server does not leave."""
    url = f"https://{host}:{port}"
    transport = DeadlineTransport.to(url, total=5, connections=1, network=network)
    with httpx.Client(transport=transport, trust_env=False) as client, pytest.raises(NotSent) as caught:
        client.post(url, content=b"x")
    return str(caught.value)


def strictly(network: Network) -> Network:
    """Return the network with the strictness that Python 3.13 has by itself."""
    assert network.ssl_context is not None
    network.ssl_context.verify_flags |= ssl.VERIFY_X509_STRICT
    return network


@pytest.mark.parametrize(
    ("authority", "server", "words"),
    [
        ({}, {"identified": False}, "the extension authorityKeyIdentifier is missing"),
        ({"critical": False}, {}, "the CA's extension basicConstraints is not marked critical"),
        ({"key_usage": False}, {}, "the CA's extension keyUsage is missing"),
    ],
)
def test_what_a_strict_python_misses_is_named(
    tmp_path: Path, authority: dict[str, bool], server: dict[str, bool], words: str
) -> None:
    """Which extension is wrong, and that the CA has to be issued anew; never that verification can be turned off."""
    ca = Authority(tmp_path, **authority)
    with tls_server(ca.server_context("localhost", **server)) as port:
        sentence = failure(port, strictly(network_of(SSL_CERT_FILE=str(ca.ca_file))))
    assert "the certificate of localhost is not trusted: " in sentence
    assert words in sentence
    assert "to issue it anew" in sentence
    assert not re.search("verif|insecure|turn", sentence)


def test_a_good_certificate_is_trusted_strictly(tmp_path: Path) -> None:
    """The certificates of these tests are otherwise right: the strictest Python takes them."""
    ca = Authority(tmp_path)
    with tls_server(ca.server_context("localhost")) as port:
        url = f"https://localhost:{port}"
        network = strictly(network_of(SSL_CERT_FILE=str(ca.ca_file)))
        transport = DeadlineTransport.to(url, total=5, connections=1, network=network)
        with httpx.Client(transport=transport, trust_env=False) as client:
            assert client.get(url).text == "ok"


@pytest.mark.parametrize(
    ("options", "variables", "words"),
    [
        ({}, {}, "unable to get local issuer certificate; if a proxy of yours looks into TLS, name a file"),
        ({}, {"SSL_CERT_FILE": "other/ca.pem"}, r"only what SSL_CERT_FILE \(.*other/ca.pem\) holds is trusted"),
        ({"days": -3}, {"SSL_CERT_FILE": "ca.pem"}, "expired; tell whoever runs the server .* clock is right"),
        ({"hosts": ("other.example",)}, {"SSL_CERT_FILE": "ca.pem"}, "mismatch.*; check api_url"),
    ],
)
def test_the_host_the_cause_and_the_remedy_are_named(
    tmp_path: Path, options: dict[str, Any], variables: dict[str, str], words: str
) -> None:
    """Each kind of distrust has its own remedy, and SSL_CERT_FILE is one only for an unknown CA."""
    (tmp_path / "other").mkdir()
    Authority(tmp_path / "other")
    ca = Authority(tmp_path)
    hosts = options.pop("hosts", ("localhost",))
    with tls_server(ca.server_context(*hosts, **options)) as port:
        network = network_of(**{name: str(tmp_path / file) for name, file in variables.items()})
        assert re.search(f"^the certificate of localhost is not trusted: .*{words}", failure(port, network))


def test_a_server_without_tls_is_told_as_that() -> None:
    """Where something else than TLS answers, that is said."""

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        sentence = failure(listener.getsockname()[1], Network())
        thread.join()
    assert re.search(r"^localhost does not speak TLS as it should \(\w+\); check api_url", sentence)
