"""Whether an address is one of the public Internet: for what strangers name and we connect to.

The networks that are not are those of IANA's special-purpose registries
(https://www.iana.org/assignments/iana-ipv4-special-registry, .../iana-ipv6-special-registry), as a list of our own:
`ipaddress.is_global` changes with Python's version, and calls multicast (224.0.1.1) and site-local addresses global.
"""

import ipaddress
import socket
from contextlib import suppress
from typing import Final

_NOT_PUBLIC: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # the host of a virtual machine at Azure
        "169.254.0.0/16",  # link-local; the metadata of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All that is given out for the public Internet; private, link-local, multicast and mapped addresses are outside."""
_NOT_PUBLIC_UNICAST: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address in disguise
        "3fff::/20",  # documentation
    )
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""How a network without IPv4 reaches the IPv4 address in the last four bytes (RFC 6052)."""


def is_public(address: str) -> bool:
    """Whether an IP address, as the resolver returns it, is one of the public Internet."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id is not None:
            return False
        if ip not in _NAT64:
            return ip in _UNICAST and not any(ip in network for network in _NOT_PUBLIC_UNICAST)
        ip = ipaddress.IPv4Address(ip.packed[-4:])
    return not any(ip in network for network in _NOT_PUBLIC)


def literal(host: str) -> str | None:
    """Return the IP address that a host is written as; None for a name.

    Also in the forms that only old programs read: 127.1, 2130706433, 0x7f000001 (inet_aton(3)).
    """
    host = host.strip("[]").removesuffix(".")
    with suppress(ValueError):
        return str(ipaddress.ip_address(host))
    # It takes "10.0.0.1 and more", too: no host has a space.
    with suppress(OSError, ValueError):
        return None if " " in host else socket.inet_ntoa(socket.inet_aton(host))
    return None
