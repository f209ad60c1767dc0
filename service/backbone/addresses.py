"""Network addresses: one spelling for each, the site that it belongs to, and sets of them as settings name them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_SITE_BITS = 64
"""An IPv6 client usually has all addresses of one network of this prefix length."""


_parsed = lru_cache(1024)(ipaddress.ip_address)
"""Parsing takes longer than all else that is done for a new connection, and many come from one address."""


def plain_address(address: str) -> str:
    """``address`` without a zone, and an IPv4 address that a socket for both versions shows as IPv6 as IPv4."""
    try:
        parsed = _parsed(address.partition("%")[0])
    except ValueError:  # a Unix socket has none
        return address
    return str(parsed.ipv4_mapped or parsed) if isinstance(parsed, ipaddress.IPv6Address) else str(parsed)


def site_of(address: str) -> str:
    """What counts as one client, for an address as :func:`plain_address` writes it.

    An IPv4 address is a site of its own; of an IPv6 address, it is the network.
    """
    return str(ipaddress.ip_network((address, _SITE_BITS), strict=False)) if ":" in address else address


class AddressSet:
    """The addresses in some networks.

    Args:
        texts: addresses and networks such as ``10.0.0.0/8``; ``*`` is every address.
    """

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self.has_all = "*" in texts
        self._networks: list[_Network] = [ipaddress.ip_network(each, strict=False) for each in texts if each != "*"]

    def __contains__(self, address: str) -> bool:
        if self.has_all:
            return True
        try:
            parsed = _parsed(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)
