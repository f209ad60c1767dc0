"""The slots of a worker for fetches: no key and no host gets all of them, and hosts that are late are shunned."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.fetching import slots
from workers.fetching.slots import (
    LATE_MAX,
    PER_HOST_MAX,
    PER_KEY_AND_HOST_MAX,
    PER_KEY_MAX,
    RESERVED,
    TOTAL_MAX,
    FetchSlots,
    Lane,
)


def taken(found: FetchSlots, lane: Lane, tries: int = 100) -> int:
    return sum(found.take(lane) for _ in range(tries))


def test_a_key_gets_so_many_slots_for_a_host_and_for_all() -> None:
    found = FetchSlots()
    assert taken(found, Lane("a", ("slow",))) == PER_KEY_AND_HOST_MAX
    assert taken(found, Lane("a", ("quick",))) == PER_KEY_MAX - PER_KEY_AND_HOST_MAX
    assert taken(found, Lane("a", ("other",))) == 0
    found.free(Lane("a", ("slow",)))
    assert taken(found, Lane("a", ("slow", "quick"))) == 1


def test_the_last_slots_are_for_keys_that_have_none() -> None:
    found = FetchSlots()
    for number in range(TOTAL_MAX - RESERVED):
        assert found.take(Lane(f"key {number // 3}", (f"host {number}",)))
    assert not found.take(Lane("key 0", ("new",)))
    assert [taken(found, Lane(f"new {number}", ("x",))) for number in range(RESERVED)] == [1] * RESERVED
    assert not found.take(Lane("late", ("y",)))


def test_a_host_gets_so_many_slots() -> None:
    found = FetchSlots()
    assert sum(found.take(Lane(f"key {number}", ("host",))) for number in range(TOTAL_MAX)) == PER_HOST_MAX


LANES = st.builds(
    Lane, st.sampled_from("abcdefgh"), st.lists(st.sampled_from("pqrst"), min_size=1, unique=True).map(tuple)
)


@given(st.lists(st.tuples(LANES, st.booleans()), max_size=200))
def test_the_limits_hold_whoever_comes(steps: list[tuple[Lane, bool]]) -> None:
    found, held = FetchSlots(), list[Lane]()
    for lane, is_taken in steps:
        if is_taken and found.take(lane):
            held.append(lane)
        elif not is_taken and held:
            found.free(held.pop(0))
        assert len(held) == found.taken <= TOTAL_MAX
        assert all(sum(each.owner == lane.owner for each in held) <= PER_KEY_MAX for lane in held)
    for lane in held:
        found.free(lane)
    assert found.taken == 0 and found.take(Lane("a", ("p", "q", "r", "s", "t")))


def test_a_host_that_is_late_again_and_again_is_shunned_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    found, lane = FetchSlots(), Lane("a", ("slow",))
    for _ in range(LATE_MAX - 1):
        found.note(lane, is_late=True)
    found.note(lane, is_late=False)
    for _ in range(LATE_MAX - 1):
        found.note(lane, is_late=True)
    assert found.shunned_host(lane) is None
    found.note(lane, is_late=True)
    assert found.shunned_host(Lane("a", ("quick", "slow"))) == "slow"
    assert found.shunned_host(Lane("b", ("slow",))) is None, "another key must not suffer"
    monkeypatch.setattr(slots, "SHUNNED_S", 0.0)
    assert found.shunned_host(lane) is None
    found.note(lane, is_late=True)
    monkeypatch.undo()
    assert found.shunned_host(lane) == "slow", "one more timeout is enough"
    found.note(lane, is_late=False)
    assert found.shunned_host(lane) is None


def test_of_several_hosts_none_is_blamed() -> None:
    found, lane = FetchSlots(), Lane("a", ("one", "two"))
    for _ in range(LATE_MAX):
        found.note(lane, is_late=True)
    assert found.shunned_host(lane) is None


def test_what_is_known_of_hosts_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "_LATE_HOSTS_MAX", 10)
    found = FetchSlots()
    for number in range(50):
        for _ in range(LATE_MAX):
            found.note(Lane("a", (f"host {number}",)), is_late=True)
    shunned = [number for number in range(50) if found.shunned_host(Lane("a", (f"host {number}",)))]
    assert shunned == list(range(40, 50))
