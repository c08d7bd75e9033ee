"""Which addresses are public, and which hosts are written as addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoicedrop.system.addresses import is_public, literal

PUBLIC = ["8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.32.0.1", "192.0.1.1", "2a00:1450::1"]
NOT_PUBLIC = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.1.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2a00::1%1",
    "fec0::1",
    "ff0e::1",
    "",
    "example.com",
]


@pytest.mark.parametrize("address", [*PUBLIC, *(f"64:ff9b::{address}" for address in PUBLIC if "." in address)])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    """What is given out for the Internet is public, also as a network without IPv4 reaches it."""
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_inner_address_is_not_public(address: str) -> None:
    """Private, local, shared, multicast, reserved and embedded addresses are not public; what is none is not, too."""
    assert not is_public(address)


@given(st.ip_addresses())
def test_what_python_calls_private_is_not_public(address: object) -> None:
    """Nothing is public that Python's own table calls private, but for what it embeds an IPv4 address in."""
    if getattr(address, "is_private", False) and not str(address).startswith("64:ff9b::"):
        assert not is_public(str(address))


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1.", "10.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("files.example", None),
        ("127.0.0.1.example", None),
        ("127.0.0.1 example", None),
        ("", None),
        ("caf\u00e9", None),
        ("a\0b", None),
    ],
)
def test_a_host_that_is_an_address_is_known_as_one(host: str, address: str | None) -> None:
    """An address is known in each form that a resolver takes for one; a name is none."""
    assert literal(host) == address
