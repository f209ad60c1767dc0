"""Sets of network addresses, as settings name them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AddressSet:
    """The addresses in some networks.

    Args:
        texts: addresses and networks such as ``10.0.0.0/8``; ``*`` is every address.
    """

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self._has_all = "*" in texts
        self._networks: list[_Network] = [ipaddress.ip_network(each, strict=False) for each in texts if each != "*"]

    def __contains__(self, address: str) -> bool:
        if self._has_all:
            return True
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)
