"""How many connections there may be, and who has to leave for a newcomer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.backbone.addresses import AddressSet
from service.http.registry import ConnectionRegistry
from tests.service.http.conftest import HEALTH, LIMITS, Served, guarded, read_answer, read_end


class Fake:
    """A connection that only remembers whether it was closed."""

    def __init__(self, address: str) -> None:
        self.address, self.is_closed = address, False

    def close_idle(self) -> None:
        self.is_closed = True

    def check(self, now_s: float) -> None:
        """Nothing to check."""


def of(total: int, per_address: int, trusted: tuple[str, ...] = ()) -> ConnectionRegistry:
    made = ConnectionRegistry(replace(LIMITS, total=total, per_address=per_address, trusted=AddressSet(trusted)))
    made._start_checking = lambda: None  # type: ignore[method-assign]
    return made


def test_the_connection_that_waits_longest_leaves():
    registry = of(3, 3)
    first, second, third, newcomer = (Fake("192.0.2.1") for _ in range(4))
    for each in (first, second, third):
        assert registry.add(each)
    registry.note_busy(first)
    registry.note_busy(second)
    registry.note_waiting(second)
    assert registry.add(newcomer)
    assert [each.is_closed for each in (first, second, third)] == [False, False, True]


def test_a_newcomer_is_refused_where_nobody_waits():
    registry = of(2, 2)
    for each in (Fake("192.0.2.1"), Fake("192.0.2.1")):
        assert registry.add(each)
        registry.note_busy(each)
    assert not registry.add(Fake("192.0.2.2"))
    assert len(registry) == 2


def test_an_address_closes_its_own_connections_only():
    registry = of(10, 2)
    other, first, second, third = Fake("192.0.2.1"), *(Fake("192.0.2.9") for _ in range(3))
    for each in (other, first, second, third):
        assert registry.add(each)
    assert (other.is_closed, first.is_closed, second.is_closed) == (False, True, False)


def test_the_addresses_of_one_ipv6_network_count_together():
    registry = of(10, 2)
    connections = [Fake(f"2001:db8::{number}") for number in range(1, 4)]
    assert all(map(registry.add, [*connections, Fake("2001:db8:0:1::1")]))
    assert [each.is_closed for each in connections] == [True, False, False]


def test_a_trusted_proxy_is_limited_in_total_only():
    registry = of(5, 2, trusted=("10.0.0.1",))
    connections = [Fake("10.0.0.1") for _ in range(6)]
    assert all(map(registry.add, connections))
    assert [each.is_closed for each in connections] == [True] + [False] * 5


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "receiving", "busy", "wait", "remove"]), st.integers(0, 30)), max_size=200
    )
)
def test_limits_hold_and_nothing_is_forgotten(steps):
    registry, known = of(6, 3), {}
    for action, number in steps:
        fake = known.setdefault(number, Fake(f"192.0.2.{number % 4}"))
        if action == "add" and fake not in registry._groups and not fake.is_closed:
            registry.add(fake)
        elif action == "receiving":
            registry.note_receiving(fake)
        elif action == "busy":
            registry.note_busy(fake)
        elif action == "wait":
            registry.note_waiting(fake)
        elif action == "remove":
            registry.remove(fake)
        assert len(registry) <= 6
        addresses = [each.address for each in registry._groups]
        assert all(addresses.count(address) <= 3 for address in addresses)
        assert set(registry._of_site) == set(addresses)
    for fake in known.values():
        registry.remove(fake)
    assert len(registry) == 0 and not registry._of_site
    assert not registry._all.waiting and not registry._all.receiving


@pytest.fixture
def small() -> Iterator[Served]:
    with guarded(total=10) as served:
        yield served


def test_a_newcomer_is_answered_though_all_places_are_taken_by_idle_sockets(small):
    idle = [small.connect() for _ in range(10)]
    idle[3].sendall(b"GET /healthz HTTP/1.1\r\nHos")
    for _ in range(3):
        assert b"200 OK" in small.ask(HEALTH)
    for connection in idle:
        connection.close()


def test_a_newcomer_is_answered_though_all_places_are_taken_by_half_bodies(small):
    half = [small.connect() for _ in range(10)]
    for connection in half:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
    small.wait_for(lambda: len(small.protocol.registry._all.receiving) == 10)
    for _ in range(3):
        assert b"200 OK" in small.ask(HEALTH)
    half[-1].sendall(b"123456789")
    assert read_answer(half[-1]).endswith(b"10")
    for connection in half:
        connection.close()


def test_connections_that_are_answered_keep_their_places(small):
    busy = [small.connect() for _ in range(10)]
    for connection in busy:
        connection.sendall(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
    small.wait_for(lambda: small.connections == 10 and not small.protocol.registry._all.waiting)
    with small.connect() as newcomer:
        assert b"503 Service Unavailable" in read_end(newcomer)
    small.released.set()
    assert all(read_answer(connection).endswith(b"held") for connection in busy)
    for connection in busy:
        connection.close()


def test_closed_connections_are_forgotten(small):
    for _ in range(3):
        held = [small.connect() for _ in range(8)]
        for connection in held:
            connection.sendall(HEALTH)
            read_answer(connection)
        for connection in held:
            connection.close()
        small.wait_for(lambda: small.connections == 0)
