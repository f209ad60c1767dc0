"""A cache of the states after common prefixes of prompts, so that a prefix is prefilled once."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence

from models.language.rwkv.state import State

_SHORTEST = 16
"""Shorter prefixes are not cached."""
_RECENT = 16
"""How many of the latest prompts a new one is compared with."""

Tokens = tuple[int, ...]


class PrefixCache:
    """An LRU cache of recurrent states by prefix.

    A recurrent state exists only at the token where prefill pauses, so the useful prefix must be known beforehand. Each
    prompt is compared with the latest ones, and prefill pauses at the end of the longest common prefix to cache the
    state. The third prompt with the same prefix is the first that uses it.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._states: OrderedDict[Tokens, State] = OrderedDict()
        self._recent: deque[Tokens] = deque(maxlen=_RECENT)

    def longest(self, prompt: Tokens) -> tuple[int, State | None]:
        """The length and the state of the longest cached prefix of ``prompt``; 0 and None if there is none.

        The prefix is shorter than the prompt, because the last token must be processed to get logits.
        """
        candidates = [
            tokens for tokens in self._states if len(tokens) < len(prompt) and prompt[: len(tokens)] == tokens
        ]
        if not candidates:
            return 0, None
        found = max(candidates, key=len)
        self._states.move_to_end(found)
        return len(found), self._states[found]

    def pause_at(self, prompt: Tokens, known: int) -> int | None:
        """After how many tokens of ``prompt`` to pause for caching; the first ``known`` tokens are cached already."""
        shared = max((_shared(prompt, other) for other in self._recent), default=0)
        self._recent.append(prompt)
        length = min(shared, len(prompt) - 1)
        return length if self._capacity > 0 and length - known >= _SHORTEST else None

    def put(self, tokens: Tokens, state: State) -> None:
        """Cache a copy of ``state``, which is the state after ``tokens``; evicts the least recently used."""
        self._states[tokens] = state.copy()
        self._states.move_to_end(tokens)
        while len(self._states) > self._capacity:
            self._states.popitem(last=False)


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """The length of the common prefix."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (mine, its) in pairs if mine != its), min(len(one), len(other)))
