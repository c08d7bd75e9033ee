"""The usual environment variables for networks: read once, and judged like settings.

HTTPS_PROXY, HTTP_PROXY, ALL_PROXY (for what has no variable of its own), NO_PROXY, in lower case too, which wins, as
with curl and Python; SSL_CERT_FILE and SSL_CERT_DIR, as with OpenSSL. An empty one is as good as none. Neither Python
nor httpx has all of it: networks in NO_PROXY are known to neither, ports only to Python, and nothing is judged. No
problem quotes a value: it may hold a password.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from invoicedrop.printable import printable
from invoicedrop.settings.certificates import trusted
from invoicedrop.system.network import DEFAULT_PORTS, Exempt, Network, Proxy

_MASK: Final = "[secret]"
_LABEL: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LONGEST_NAME: Final = 253
_LARGEST_PORT: Final = 65535
_QUOTES: Final = "\"'"
_EXAMPLE: Final = "write it like http://proxy.example:3128"
_QUOTED: Final = f"has quotes, which are a part of it where no shell reads it; {_EXAMPLE}, without them"


def read_network(environ: Mapping[str, str], problems: list[str]) -> Network:
    """Return what the variables say; what cannot work is added to `problems`."""
    shown: dict[str, str] = {}
    proxies = {}
    for scheme in ("https", "http"):
        variable, value = _variable(environ, f"{scheme}_proxy") or _variable(environ, "all_proxy") or ("", "")
        proxy = None if not value else _QUOTED if value[0] in _QUOTES else _proxy(value, variable)
        if isinstance(proxy, str):
            problems.append(f"{variable}: {proxy}")
        elif proxy is not None:
            proxies[scheme] = proxy
            shown[variable] = _masked(proxy)
    variable, value = _variable(environ, "no_proxy") or ("", "")
    exempt = []
    for number, entry in enumerate(value.replace(",", " ").split(), 1):
        match _exempt(entry):
            case None:
                problems.append(
                    f"{variable}: entry {number} is not understood; write a name, a .suffix, an address or a network "
                    "like 10.0.0.0/8, with :port where only that is meant"
                )
            case hosts:
                exempt.append(hosts)
    if value:
        shown[variable] = value
    certificates = {name: environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if environ.get(name, "").strip()}
    return Network(
        proxies,
        tuple(exempt),
        trusted(certificates, environ.get("SSLKEYLOGFILE", ""), problems),
        tuple(f"{name} ({printable(path)})" for name, path in certificates.items()),
        tuple((shown | certificates).items()),
    )


def _variable(environ: Mapping[str, str], name: str) -> tuple[str, str] | None:
    """Return the variable in force, in lower or upper case, and its value; None if it is not set, or empty."""
    return next(((key, value) for key in (name, name.upper()) if (value := environ.get(key, "").strip())), None)


def _proxy(value: str, variable: str) -> Proxy | str:
    """Return the proxy that a variable names, or what is wrong with it."""
    address = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(address)
        host, port_is_right = parts.hostname or "", _port_is_right(parts)
    except ValueError:
        return f"is no proxy's address; {_EXAMPLE}"
    if parts.scheme not in DEFAULT_PORTS:
        return f"{printable(parts.scheme) or 'this'}:// is no kind of proxy that is supported; use http:// or https://"
    if parts.path not in {"", "/"} or "?" in address or "#" in address:
        # The address of a file that names proxies (PAC), or a password with special characters.
        return f"is more than a proxy's address; {_EXAMPLE}, and special characters in a login as %XX (%23 for #)"
    if not _is_host(host) or not address.isprintable() or " " in address:
        return f"is no proxy's address; {_EXAMPLE}"
    if not port_is_right:
        return f"its port must be a number from 1 to {_LARGEST_PORT}; {_EXAMPLE}"
    user = unquote(parts.username or "") if parts.username or parts.password else None
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    return Proxy(parts.scheme, host, port, variable, user, unquote(parts.password or ""))


def _masked(proxy: Proxy) -> str:
    """Return a proxy's address without its password, or without the user where that is the whole login."""
    if proxy.user is None:
        return proxy.origin
    return proxy.origin.replace("://", f"://{proxy.user}:{_MASK}@" if proxy.password else f"://{_MASK}@")


def _port_is_right(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def _is_host(host: str) -> bool:
    """Whether something is an IP address or can be a name in DNS; 10.0.0.300 is neither."""
    if _address(host) is not None:
        return True
    labels = host.removesuffix(".").split(".")
    numeric = labels[-1].isdigit()
    return len(host) <= _LONGEST_NAME and not numeric and all(map(_LABEL.fullmatch, labels))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _exempt(entry: str) -> Exempt | None:
    """Return the hosts that an entry of NO_PROXY means: curl's and Python's rules, with networks and ports."""
    if entry == "*":
        return Exempt()
    host, separator, port_text = entry.rpartition(":")
    if not separator or _address(entry) is not None or "/" in entry or entry.endswith("]"):
        host, port_text = entry, ""
    elif not port_text.isascii() or not port_text.isdigit() or not 0 < int(port_text[:6]) <= _LARGEST_PORT:
        return None
    port = int(port_text) if port_text else None
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    try:
        return Exempt(network=ipaddress.ip_network(host, strict=False), port=port)
    except ValueError:
        name = host.removeprefix("*").removeprefix(".").removesuffix(".").lower()
        return Exempt(name=name, port=port) if not bracketed and _is_host(name) else None
