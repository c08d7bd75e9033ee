"""Whether a host is this machine."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself: what is sent there never leaves it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
