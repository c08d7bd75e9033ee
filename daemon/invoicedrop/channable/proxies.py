"""The proxy that requests go by: for httpcore, and in words when it makes no connection."""

from typing import Final

import httpcore

from invoicedrop.channable.handshake import ProxyHandshakeFailed
from invoicedrop.system.network import Proxy

_LOGIN: Final = "407"


def for_httpcore(proxy: Proxy) -> httpcore.Proxy:
    """Return the proxy as httpcore takes it: always by http://, since `transport` itself begins TLS with a proxy."""
    auth = None if proxy.user is None else (proxy.user.encode(), proxy.password.encode())
    host = f"[{proxy.host}]" if ":" in proxy.host else proxy.host
    return httpcore.Proxy(f"http://{host}:{proxy.port}", auth=auth)


def explained(proxy: Proxy, host: str, error: BaseException, description: str) -> tuple[str, str]:
    """Return why a proxy made no connection to `host`, and what to do; without the login."""
    if isinstance(error, httpcore.ProxyError):
        if str(error).startswith(_LOGIN):
            login = f"as http://user:password@{proxy.host}:{proxy.port}, special characters as %XX"
            if proxy.user is None:
                return f"the proxy {proxy} wants a login", f"write it into {proxy.variable}, {login}"
            return f"the proxy {proxy} does not take our login", f"correct it in {proxy.variable}, {login}"
        return (
            f"the proxy {proxy} makes no connection to {host}: {error}",
            f"ask whoever runs the proxy to let us through, or name {host} in NO_PROXY if it can be reached without",
        )
    if isinstance(error, ProxyHandshakeFailed):
        return f"the proxy {proxy} cannot be used: {error.problem}", error.remedy
    if isinstance(error, httpcore.ConnectError | httpcore.ConnectTimeout):
        problem = f"the proxy {proxy} cannot be reached: {description}"
    else:
        problem = f"the proxy {proxy} makes no connection to {host}: {description}"
    return problem, f"check {proxy.variable}, and that the proxy runs"
