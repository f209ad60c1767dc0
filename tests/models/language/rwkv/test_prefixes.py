"""The cache of states after common prefixes."""

from __future__ import annotations

from models.language.rwkv.model import Model
from models.language.rwkv.prefixes import PrefixCache


def test_the_least_recently_used_state_is_evicted(tiny: Model) -> None:
    cache, state = PrefixCache(2), tiny.new_state(1)
    one, two, three = (tuple(range(start, start + 20)) for start in (0, 100, 200))
    cache.put(one, state)
    cache.put(two, state)
    assert cache.longest((*one, 9))[0] == 20
    cache.put(three, state)
    assert [cache.longest((*each, 9))[0] for each in (one, two, three)] == [20, 0, 20]
    assert cache.longest(one)[0] == 0


def test_short_common_prefixes_are_not_cached(tiny: Model) -> None:
    cache = PrefixCache(2)
    shared = tuple(range(15))
    assert [cache.pause_at((*shared, end), 0) for end in (50, 51)] == [None, None]
    longer = tuple(range(100, 140))
    assert [cache.pause_at((*longer, end), 0) for end in (50, 51)] == [None, 40]
    assert cache.pause_at((*longer, 52), 30) is None
    off = PrefixCache(0)
    assert [off.pause_at((*longer, end), 0) for end in (50, 51)] == [None, None]
