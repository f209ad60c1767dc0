"""Which addresses are public: none of the special ranges, in no spelling, whatever Python's own tables say."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.jobs.addresses import _IPV4, _IPV6, is_public, literal_address
from models.jobs.urls import FetchPolicy, parse_url

NOT_IN_UNICAST = (
    "::/128", "::1/128", "::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "5f00::/16",
    "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "4000::/3", "e000::/4", "fd00:ec2::254/128", "fd20:ce::254/128",
)  # fmt: skip
CLOUDS = (
    "169.254.169.254", "169.254.169.253", "169.254.0.23", "100.100.100.200", "168.63.129.16", "192.0.0.192",
    "192.88.99.1", "fd00:ec2::254", "fe80::a9fe:a9fe", "161.26.0.10", "166.9.1.1", "199.36.153.4", "199.36.153.11",
)  # fmt: skip
PUBLIC = (
    "1.1.1.1", "8.8.8.8", "93.184.215.14", "140.82.121.4", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
    "169.253.255.255", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "198.17.255.255", "198.20.0.0",
    "223.255.255.255", "168.63.129.15", "168.63.129.17", "2606:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001::1",
    "2620:fe::fe", "2400:cb00::1", "64:ff9b::101:101", "::ffff:1.1.1.1",
)  # fmt: skip
V4 = [ipaddress.IPv4Network(each) for each in _IPV4]
V6 = [ipaddress.IPv6Network(each) for each in (*_IPV6, *NOT_IN_UNICAST)]


def addresses_of(networks: list[ipaddress.IPv4Network] | list[ipaddress.IPv6Network]) -> st.SearchStrategy[int]:
    """Any address of any of ``networks``, their first and last ones often."""
    return st.one_of([
        st.one_of(st.just(first), st.just(last), st.integers(first, last))
        for first, last in ((int(each.network_address), int(each.broadcast_address)) for each in networks)
    ])  # fmt: skip


def spellings_of_4(number: int) -> list[str]:
    """All that resolvers take for the IPv4 address."""
    a, b, c, d = number.to_bytes(4)
    return [
        f"{a}.{b}.{c}.{d}", str(number), hex(number), f"0{number:o}", f"0X{number:X}", f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{number & 0xFFFF}", f"{a:#x}.{b:#x}.{c:#x}.{d:#x}", f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a}.{b}.{c:#x}.0{d:o}",
    ]  # fmt: skip


@given(addresses_of(V4))
def test_no_ipv4_address_of_the_table_is_public_in_any_spelling(number: int) -> None:
    for host in spellings_of_4(number):
        for form in (host, host + "."):
            url = parse_url(f"http://{form}/")
            assert FetchPolicy().problem(url) == f"{url.host} cannot be reached from this server"
        (found, *_) = socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM)
        assert not is_public(str(found[4][0]))


@given(addresses_of(V4))
def test_no_ipv6_address_that_contains_one_of_the_table_is_public(number: int) -> None:
    for prefix in ("::", "::ffff:", "::ffff:0:", "64:ff9b::", "64:ff9b:1::"):
        address = int(ipaddress.IPv6Address(prefix + str(ipaddress.IPv4Address(number))))
        assert_private_6(address)
    assert_private_6(0x2002 << 112 | number << 80 | 1)
    assert_private_6(0x20010000 << 96 | 0x01010101 << 64 | number ^ 0xFFFFFFFF)
    assert_private_6(0x2A00 << 112 | 0x5EFE << 32 | number)
    assert_private_6(0x2A00 << 112 | 0x02005EFE << 32 | number)


@given(addresses_of(V6))
def test_no_ipv6_address_of_the_table_is_public_in_any_spelling(number: int) -> None:
    assert_private_6(number)


def assert_private_6(number: int) -> None:
    address = ipaddress.IPv6Address(number)
    groups = address.exploded.split(":")
    mixed = ":".join((*groups[:6], str(ipaddress.IPv4Address(number & 0xFFFFFFFF))))
    for spelling in (str(address), address.exploded, address.exploded.upper(), mixed):
        assert not is_public(spelling) and not is_public(f"{spelling}%eth0")
        url = parse_url(f"http://[{spelling}]/")
        assert FetchPolicy().problem(url) == f"{url.host} cannot be reached from this server"


@pytest.mark.parametrize("address", CLOUDS)
def test_services_of_clouds_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_typical_addresses_are_public(address: str) -> None:
    assert is_public(address)
    host = f"[{address}]" if ":" in address else address
    assert FetchPolicy().problem(parse_url(f"https://{host}/cat.png")) is None


@pytest.mark.parametrize("host", ["example.org", "1.example.org", "0x", "1.2.3.4.5", "256.256.256.256", "cafe", "a:b"])
def test_names_are_no_addresses(host: str) -> None:
    assert literal_address(host) is None
