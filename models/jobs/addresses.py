"""Which IP addresses are on the public internet: a table of its own, so that it is the same in every version of Python.

Sources: the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890 and its updates) and for multicast, and the
addresses at which clouds serve metadata and internal services although they look public.
"""

from __future__ import annotations

import ipaddress
import socket

_IPV4 = (
    "0.0.0.0/8",  # this network
    "10.0.0.0/8",  # private
    "100.64.0.0/10",  # carrier-grade NAT; 100.100.100.200 is Alibaba's metadata
    "127.0.0.0/8",  # loopback
    "169.254.0.0/16",  # link-local; 169.254.169.254 is the metadata of most clouds
    "172.16.0.0/12",  # private
    "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is Oracle's metadata
    "192.0.2.0/24",  # documentation
    "192.31.196.0/24",  # AS112
    "192.52.193.0/24",  # automatic multicast tunneling
    "192.88.99.0/24",  # 6to4 relays
    "192.168.0.0/16",  # private
    "192.175.48.0/24",  # AS112
    "198.18.0.0/15",  # benchmarks
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and broadcast
    "168.63.129.16/32",  # Azure: DNS, DHCP and the host's services
    "161.26.0.0/16",  # IBM Cloud: services of the platform
    "166.8.0.0/14",  # IBM Cloud: endpoints of its services
    "199.36.153.4/30",  # Google Cloud: restricted.googleapis.com
    "199.36.153.8/30",  # Google Cloud: private.googleapis.com
)
_IPV6_UNICAST = "2000::/3"
"""Everything outside of it is refused: loopback, unique local, link-local, site-local, multicast, NAT64 with a local
prefix, discard-only, segment routing, IPv4-compatible and IPv4-translated addresses."""
_IPV6 = (
    "2001::/23",  # protocol assignments, among them Teredo, benchmarks and ORCHID
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4
    "2620:4f:8000::/48",  # AS112
    "3ffe::/16",  # 6bone, returned
    "3fff::/20",  # documentation
)
_IPV4_INSIDE = ("::ffff:0:0/96", "64:ff9b::/96")
"""IPv4-mapped addresses, and NAT64 with the well-known prefix, by which hosts without IPv4 reach public IPv4 hosts."""
_ISATAP = (0x00005EFE, 0x02005EFE)
"""The upper half of an interface identifier that ends in an IPv4 address."""

_NETWORKS_4 = tuple(map(ipaddress.IPv4Network, _IPV4))
_UNICAST_6 = ipaddress.IPv6Network(_IPV6_UNICAST)
_NETWORKS_6 = tuple(map(ipaddress.IPv6Network, _IPV6))
_INSIDE = tuple(map(ipaddress.IPv6Network, _IPV4_INSIDE))


def is_public(address: str) -> bool:
    """Whether ``address`` is on the public internet.

    An IPv4-mapped address and one of NAT64 is judged by its IPv4 address. All other addresses that contain an IPv4
    address are refused, because what is at their other end cannot be known.
    """
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv4Address):
        return not any(parsed in network for network in _NETWORKS_4)
    if any(parsed in network for network in _INSIDE):
        return is_public(str(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)))
    is_tunnel = (int(parsed) >> 32) & 0xFFFFFFFF in _ISATAP
    return parsed in _UNICAST_6 and not is_tunnel and not any(parsed in network for network in _NETWORKS_6)


def literal_address(host: str) -> str | None:
    """The address that ``host`` spells, as resolvers read it (``127.1``, ``0x7f000001``, ``017700000001``), if any."""
    try:
        if ":" in host:
            return str(ipaddress.IPv6Address(host))
        return socket.inet_ntoa(socket.inet_aton(host)) if host[-1:].isalnum() else None
    except (OSError, ValueError):
        return None
