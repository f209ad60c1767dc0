"""Prompts' encodings that were computed before, the least recently used dropped when they take too much memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from models.diffusion.denoiser import Conditioning


class EmbeddingCache:
    """Conditionings by all that they depend on; threads may share one. Nobody changes the tensors it gives."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._size_bytes = 0
        self._held: OrderedDict[Hashable, Conditioning] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        """What the tensors take that are held now; never more than the budget."""
        return self._size_bytes

    def get(self, key: Hashable, encode: Callable[[], Conditioning]) -> Conditioning:
        """The conditioning of ``key``: the one that is held, else what ``encode`` gives, held from now on if it fits.

        Two threads that miss the same key at once both encode; all callers then share the first's tensors.

        Raises:
            Whatever ``encode`` raises; nothing is held then.
        """
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        conditioning = encode()
        with self._lock:
            return self._held.get(key) or self._hold(key, conditioning)

    def clear(self) -> None:
        """Let go of everything, for instance when the device's memory runs out."""
        with self._lock:
            self._held.clear()
            self._size_bytes = 0

    def _hold(self, key: Hashable, conditioning: Conditioning) -> Conditioning:
        size_bytes = conditioning.size_bytes
        if size_bytes <= self._budget_bytes:
            while self._size_bytes + size_bytes > self._budget_bytes:
                self._size_bytes -= self._held.popitem(last=False)[1].size_bytes
            self._held[key] = conditioning
            self._size_bytes += size_bytes
        return conditioning
