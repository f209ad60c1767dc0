"""One spelling for each address, and what counts as one client."""

from __future__ import annotations

import pytest

from service.backbone.addresses import plain_address, site_of


@pytest.mark.parametrize(
    ("shown", "address"),
    [("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("fe80::1%eth0", "fe80::1"), ("", "")],
)
def test_addresses_are_written_in_one_way(shown, address):
    assert plain_address(shown) == address


@pytest.mark.parametrize(
    ("address", "site"),
    [("192.0.2.1", "192.0.2.1"), ("2001:db8:0:1::7", "2001:db8:0:1::/64"), ("fe80::1", "fe80::/64"), ("", "")],
)
def test_all_addresses_of_an_ipv6_network_are_one_site(address, site):
    assert site_of(address) == site
