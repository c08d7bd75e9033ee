"""Where a download may lead. The API names its address, and a redirect another one: both are words of strangers.

Without this, whoever can put words into an answer has the daemon ask machines that only it reaches: a router, the
metadata of a cloud, a service on loopback (https://owasp.org/www-community/attacks/Server_Side_Request_Forgery).
"""

from collections.abc import Callable
from urllib.parse import urlsplit

from invoicedrop.system.addresses import is_public, literal
from invoicedrop.system.loopback import is_loopback


class Destinations:
    """Public addresses and the API's own host; loopback where the API is on loopback, http where it is on http.

    A host is judged by the addresses that are connected to, after its name was resolved (`allows`). Where a
    proxy connects, and resolves the name, only a literal address can be judged here (`refusal`); what a name
    may lead to is then up to the proxy.
    """

    def __init__(self, api_url: str, is_public: Callable[[str], bool] = is_public) -> None:
        parts = urlsplit(api_url)
        self._api_host = parts.hostname or ""
        self._loopback = is_loopback(self._api_host)
        self._schemes = {"https", parts.scheme}
        self._is_public = is_public

    def refusal(self, scheme: str, host: str) -> str | None:
        """Return why nothing may be fetched from this address, as far as it can be seen; None if it may."""
        if scheme not in self._schemes:
            return "the download address is not https"
        address = "127.0.0.1" if f".{host.removesuffix('.')}".endswith(".localhost") else literal(host)
        return None if address is None or self.allows(host, address) else refusal_of(host)

    def allows(self, host: str, address: str) -> bool:
        """Whether a download from `host` may connect to this IP address."""
        if host == self._api_host or self._is_public(address):
            return True
        return self._loopback and is_loopback(address)


def refusal_of(host: str) -> str:
    """Return the sentence for a host that no address of may be connected to."""
    return f"the download address leads to {host}, which is not on the public Internet"
