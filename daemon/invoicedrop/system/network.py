"""How servers are reached from this machine: by which proxy, and whose certificates are trusted.

The values come from the usual environment variables; `settings.environment` reads and judges them.
"""

import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from invoicedrop.system.addresses import literal
from invoicedrop.system.loopback import is_loopback

DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy; as text its address without the login."""

    scheme: str
    host: str
    port: int
    variable: str
    """The environment variable that names it."""
    user: str | None = None
    password: str = field(default="", repr=False)

    @property
    def origin(self) -> str:
        """Its address, without the login."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def __str__(self) -> str:
        """Return its address, without the login, and the variable."""
        return f"{self.origin} ({self.variable})"


class Exempt(NamedTuple):
    """Hosts that are reached without a proxy: a network, or a name with all below it; `port` None: every port."""

    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    name: str = ""
    port: int | None = None

    def covers(self, host: str, address: str | None, port: int) -> bool:
        """Whether it is meant; `address` is the one that the host is written as, None if it is a name."""
        if self.port not in {None, port}:
            return False
        if self.network is not None:
            return address is not None and ipaddress.ip_address(address) in self.network
        return not self.name or (address is None and f".{host}".endswith(f".{self.name}"))


@dataclass(frozen=True, slots=True)
class Network:
    """Proxies by scheme, hosts without one, and trusted certificates (None: those that come with certifi)."""

    proxies: Mapping[str, Proxy] = field(default_factory=dict)
    exempt: tuple[Exempt, ...] = ()
    ssl_context: ssl.SSLContext | None = None
    certificates: tuple[str, ...] = ()
    """What names the trusted certificates, like "SSL_CERT_FILE (/etc/ssl/company.pem)"."""
    variables: tuple[tuple[str, str], ...] = ()
    """The environment variables in force, with their values; passwords masked."""

    def proxy_for(self, url: str) -> Proxy | None:
        """Return the proxy that requests to this URL go by; None if they go directly, as to this machine itself."""
        parts = urlsplit(url)
        proxy = self.proxies.get(parts.scheme)
        host = (parts.hostname or "").removesuffix(".")
        if proxy is None or f".{host}".endswith(".localhost"):
            return None
        address = literal(host)
        if address is not None and is_loopback(address):
            return None
        port = parts.port or DEFAULT_PORTS[parts.scheme]
        return None if any(exempt.covers(host, address, port) for exempt in self.exempt) else proxy


DIRECT: Final = Network()
"""No proxy, and the certificates that come with certifi."""
