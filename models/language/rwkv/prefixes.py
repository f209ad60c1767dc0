"""Memories of what prompts have in common at their start, so that it is read once."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence

from models.language.rwkv.state import State

_SHORTEST = 16
"""Fewer tokens are not worth a memory."""
_RECENT = 16
"""With so many of the latest prompts a new one is compared."""

Tokens = tuple[int, ...]


class PrefixCache:
    """The memories after a few prefixes, the one that was used longest ago being forgotten first.

    A memory can be had only where reading stopped on purpose. So each prompt is compared with those before it: where it
    parts from them, reading stops and the memory is kept. The third prompt that starts alike finds it.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._states: OrderedDict[Tokens, State] = OrderedDict()
        self._recent: deque[Tokens] = deque(maxlen=_RECENT)

    def longest(self, prompt: Tokens) -> tuple[int, State | None]:
        """The length of the longest prefix of ``prompt`` whose memory is kept, and that memory; 0 if there is none.

        At least one token of the prompt is left to be read: a memory has no logits.
        """
        fitting = [tokens for tokens in self._states if len(tokens) < len(prompt) and prompt[: len(tokens)] == tokens]
        if not fitting:
            return 0, None
        found = max(fitting, key=len)
        self._states.move_to_end(found)
        return len(found), self._states[found]

    def worth_keeping(self, prompt: Tokens, known: int) -> int | None:
        """After how many tokens of ``prompt`` the memory should be kept; after ``known`` it is kept already."""
        shared = max((_shared(prompt, other) for other in self._recent), default=0)
        self._recent.append(prompt)
        length = min(shared, len(prompt) - 1)
        return length if self._capacity > 0 and length - known >= _SHORTEST else None

    def keep(self, tokens: Tokens, state: State) -> None:
        """Keep a copy of ``state``, the memory after ``tokens``."""
        self._states[tokens] = state.copy()
        self._states.move_to_end(tokens)
        while len(self._states) > self._capacity:
            self._states.popitem(last=False)


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both start with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (mine, its) in pairs if mine != its), min(len(one), len(other)))
