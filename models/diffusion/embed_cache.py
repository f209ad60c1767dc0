"""An LRU cache of encoded prompts within a memory budget."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from models.diffusion.denoiser import Conditioning


class EmbeddingCache:
    """An LRU cache of conditionings, safe for threads. Callers must not change the tensors."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._size_bytes = 0
        self._entries: OrderedDict[Hashable, Conditioning] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        """The memory of all cached tensors; never more than the budget."""
        return self._size_bytes

    def get(self, key: Hashable, encode: Callable[[], Conditioning]) -> Conditioning:
        """The cached conditioning of ``key``; a missing one is encoded, and cached if it fits the budget.

        If two threads miss the same key at once, both encode, and all callers share the tensors of the first.

        Raises:
            Exception: whatever ``encode`` raises; nothing is cached then.
        """
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        conditioning = encode()
        with self._lock:
            return self._entries.get(key) or self._add(key, conditioning)

    def clear(self) -> bool:
        """Drop everything, for instance when the device is out of memory; false if there was nothing."""
        with self._lock:
            had_entries = bool(self._entries)
            self._entries.clear()
            self._size_bytes = 0
            return had_entries

    def _add(self, key: Hashable, conditioning: Conditioning) -> Conditioning:
        size_bytes = conditioning.size_bytes
        if size_bytes <= self._budget_bytes:
            while self._size_bytes + size_bytes > self._budget_bytes:
                self._size_bytes -= self._entries.popitem(last=False)[1].size_bytes
            self._entries[key] = conditioning
            self._size_bytes += size_bytes
        return conditioning
