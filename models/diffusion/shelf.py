"""What is loaded: checkpoints and their helpers, each once however many rows use it, the least used dropped first."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import RLock
from typing import Any

import torch
from torch import nn

from models.diffusion.failures import attempt, release_memory
from models.diffusion.work import Load
from models.errors import JobFailure, OutOfMemory


@dataclass
class _Item:
    """Something loaded, or on its way."""

    future: Future[Any]
    size_bytes: int = 0


class Shelf:
    """Loads in a thread of its own, so that rows with other checkpoints go on meanwhile; for one engine's thread.

    Args:
        device: where the weights go.
        budget_bytes: how much may stay loaded; what rows use stays even beyond it. ``None`` is no bound but memory's.
    """

    def __init__(self, device: torch.device, budget_bytes: int | None = None) -> None:
        self._device, self._budget_bytes = device, budget_bytes
        self._items: dict[Hashable, _Item] = {}
        self._used: Callable[[], Collection[Hashable]] = tuple
        self._lock = RLock()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader")

    def keep(self, used: Callable[[], Collection[Hashable]]) -> None:
        """Never drop the keys that ``used`` gives."""
        self._used = used

    def request(self, wish: Load) -> Future[Any]:
        """What ``wish`` asks for, or the :class:`JobFailure` that came of it, as soon as it is there."""
        with self._lock:
            item = self._items.pop(wish.key, None)
            if item is None or (item.future.done() and isinstance(item.future.result(), JobFailure)):
                item = _Item(self._loader.submit(self._load, wish))
            self._items[wish.key] = item  # the most recently used are last
            return item.future

    @property
    def loaded(self) -> tuple[Hashable, ...]:
        """The keys of what is there now, the least recently used first."""
        with self._lock:
            return tuple(key for key, item in self._items.items() if _is_there(item))

    def _load(self, wish: Load) -> Any:
        loaded = attempt(wish.load)
        if isinstance(loaded, OutOfMemory) and self._drop(lambda: False, but=wish.key):
            loaded = attempt(wish.load)
        if not isinstance(loaded, JobFailure):
            with self._lock:
                self._items[wish.key].size_bytes = size_bytes(loaded)
            self._drop(self._fits, but=wish.key)
        return loaded

    def drop_unused(self) -> bool:
        """Make room by dropping all that no row uses; whether there was anything."""
        return self._drop(lambda: False)

    def _fits(self) -> bool:
        return self._budget_bytes is None or sum(each.size_bytes for each in self._items.values()) <= self._budget_bytes

    def _drop(self, is_enough: Callable[[], bool], but: Hashable = None) -> bool:
        dropped = False
        used = self._used()
        with self._lock:
            for key in self.loaded:
                if is_enough():
                    break
                if key != but and key not in used:
                    del self._items[key]
                    dropped = True
        if dropped:
            gc.collect()  # modules refer to one another in circles
            release_memory(self._device)
        return dropped

    def close(self) -> None:
        """Load nothing any more."""
        self._loader.shutdown(cancel_futures=True)


def _is_there(item: _Item) -> bool:
    return item.future.done() and not isinstance(item.future.result(), JobFailure)


def size_bytes(loaded: Any) -> int:
    """The memory that the parameters and buffers of ``loaded`` take: a module, or what has some in ``modules``."""
    modules = [loaded] if isinstance(loaded, nn.Module) else getattr(loaded, "modules", [])
    tensors = {each.data_ptr(): each.nbytes for module in modules for each in (*module.parameters(), *module.buffers())}
    return sum(tensors.values())
