"""The TLS handshake of a connection: why it failed, in words, and what a person can do.

From Python 3.13 on, `ssl.create_default_context` asks for all that RFC 5280 does (VERIFY_X509_STRICT), which the
certificates of many companies' own proxies do not have.
"""

import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final

import httpcore
from httpcore._backends.sync import SyncStream  # httpcore's own backend returns it, but takes no socket for it

# OpenSSL's codes (openssl/x509_vfy.h), which Python's ssl does not name.
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_OTHER_HOST: Final = frozenset({62, 64})
_STRICT: Final = {
    24: "what signed it is no CA by its basicConstraints and keyUsage",
    79: "what signed it is no CA by its basicConstraints and keyUsage",
    85: "the extension authorityKeyIdentifier is missing",
    86: "the extension subjectKeyIdentifier is missing",
    89: "the CA's extension basicConstraints is not marked critical",
    92: "the CA's extension keyUsage is missing",
}
_STRICT_CODES: Final = frozenset({24, *range(79, 94)})


class HandshakeFailed(httpcore.ConnectError):
    """There is a connection, but no TLS on it: `problem` says why, `remedy` what a person can do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


class ProxyHandshakeFailed(HandshakeFailed):
    """Likewise on the connection to a proxy."""


class TcpStream(SyncStream):
    """A connection whose failed handshake is explained, and reported to `failed`.

    `certificates` are the variables that name what is trusted, like "SSL_CERT_FILE (/etc/ssl/company.pem)".
    """

    def __init__(self, connection: socket.socket, failed: Callable[[], None], certificates: Sequence[str]) -> None:
        super().__init__(connection)
        self._failed = failed
        self._certificates = certificates

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Begin TLS, by httpcore's own code."""
        try:
            return super().start_tls(ssl_context, server_hostname, timeout)
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            self._failed()
            raise HandshakeFailed(*_explained(error.__cause__, server_hostname or "", self._certificates)) from error


def tls_to_proxy(
    connection: socket.socket, ssl_context: ssl.SSLContext, host: str, seconds: float, certificates: Sequence[str]
) -> ssl.SSLSocket:
    """Begin TLS with a proxy, before it is asked for anything.

    Raises:
        ProxyHandshakeFailed: it failed; the connection is closed.

    """
    connection.settimeout(seconds)
    try:
        return ssl_context.wrap_socket(connection, server_hostname=host)
    except OSError as error:
        connection.close()
        raise ProxyHandshakeFailed(*_explained(error, host, certificates)) from error


def _explained(error: BaseException | None, host: str, certificates: Sequence[str]) -> tuple[str, str]:
    """Return why the handshake with a host failed, and what to do."""
    match error:
        case ssl.SSLCertVerificationError() as cause:
            return _distrusted(cause, host, certificates)
        case ssl.SSLError() as cause:
            return (
                f"{host} does not speak TLS as it should ({cause.reason or cause})",
                "check api_url, address and port, and the proxy, if there is one",
            )
    reason = "no answer in time" if isinstance(error, TimeoutError) else str(error)
    return f"{host} does not speak TLS ({reason})", "check the network, firewall and proxy, if there is one"


def _distrusted(cause: ssl.SSLCertVerificationError, host: str, certificates: Sequence[str]) -> tuple[str, str]:
    code, message = cause.verify_code, cause.verify_message
    problem = f"the certificate of {host} is not trusted: {message}"
    if code in _STRICT_CODES:
        lack = f" ({_STRICT[code]})" if code in _STRICT else ""
        return problem + lack, (
            "it, or the CA that signed it, is not made as RFC 5280 asks, which this version of Python insists on: ask "
            "whoever runs that CA, like that of a company's proxy which looks into TLS, to issue it anew, in that form"
        )
    if code in {_NOT_YET_VALID, _EXPIRED}:
        return problem, (
            "tell whoever runs the server (or the proxy that looks into TLS) to renew it, and see that this machine's "
            "clock is right"
        )
    if code in _OTHER_HOST:
        return problem, "check api_url: the server that answers there is another one, or its certificate is wrong"
    if certificates:
        return problem, (
            f"only what {' and '.join(certificates)} holds is trusted: add the CA certificate of the proxy that looks "
            "into TLS, or of the server; if there is no such proxy, somebody else is answering: do not go on"
        )
    return problem, (
        "if a proxy of yours looks into TLS, name a file with its CA certificate in SSL_CERT_FILE; "
        "if not, somebody else is answering: do not go on"
    )
