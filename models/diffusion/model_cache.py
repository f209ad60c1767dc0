"""The model cache: it loads each model once, however many rows use it, and drops the least recently used ones."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import RLock
from typing import TypeVar, cast

import torch
from torch import nn

from models.diffusion.failures import attempt, release_memory
from models.diffusion.work import LoadRequest
from models.errors import JobFailure, OutOfMemory

T = TypeVar("T")


@dataclass
class _Entry:
    """A model that is loaded or being loaded."""

    future: Future[object]
    size_bytes: int = 0

    @property
    def is_loaded(self) -> bool:
        return self.future.done() and not isinstance(self.future.result(), JobFailure)

    @property
    def has_failed(self) -> bool:
        return self.future.done() and isinstance(self.future.result(), JobFailure)


class ModelCache:
    """An LRU cache of models with single flight: equal requests share one load. One thread requests models.

    Models are loaded in a thread of their own, so that rows with other models continue in the meantime.

    Args:
        device: the device that holds the weights.
        budget_bytes: the memory that loaded models may take; models in use stay even beyond it. ``None``: models are
            dropped only when the device is full.
        in_use: gives the keys of the models that must not be dropped; called in the loader thread, too.
    """

    def __init__(
        self,
        device: torch.device,
        budget_bytes: int | None = None,
        in_use: Callable[[], Collection[Hashable]] = tuple,
    ) -> None:
        self._device, self._budget_bytes, self._in_use = device, budget_bytes, in_use
        self._entries: dict[Hashable, _Entry] = {}
        """The least recently requested first."""
        self._lock = RLock()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader")

    def request(self, request: LoadRequest[T]) -> Future[T | JobFailure]:
        """A future of the model, or of the :class:`JobFailure` why it cannot be loaded.

        A request after a failure tries to load the model again.
        """
        with self._lock:
            entry = self._entries.pop(request.key, None)
            if entry is None or entry.has_failed:
                entry = _Entry(self._loader.submit(self._load, request))
            self._entries[request.key] = entry
            return cast("Future[T | JobFailure]", entry.future)

    @property
    def loaded(self) -> tuple[Hashable, ...]:
        """The keys of all loaded models, the least recently requested first."""
        with self._lock:
            return tuple(key for key, entry in self._entries.items() if entry.is_loaded)

    def drop_unused(self) -> bool:
        """Drop every model that no row uses; false if there was none."""
        return self._drop_until(lambda: False)

    def close(self) -> None:
        """End the loader thread."""
        self._loader.shutdown(cancel_futures=True)

    def _load(self, request: LoadRequest[object]) -> object:
        loaded = attempt(request.load)
        if isinstance(loaded, OutOfMemory) and self._drop_until(lambda: False, spare=request.key):
            loaded = attempt(request.load)
        if not isinstance(loaded, JobFailure):
            with self._lock:
                self._entries[request.key].size_bytes = size_bytes(loaded)
            self._drop_until(self._is_within_budget, spare=request.key)
        return loaded

    def _is_within_budget(self) -> bool:
        used_bytes = sum(entry.size_bytes for entry in self._entries.values())
        return self._budget_bytes is None or used_bytes <= self._budget_bytes

    def _drop_until(self, is_enough: Callable[[], bool], spare: Hashable = None) -> bool:
        """Drop unused models, the least recently requested first, until ``is_enough``; whether any was dropped."""
        dropped = False
        in_use = self._in_use()
        with self._lock:
            for key in self.loaded:
                if is_enough():
                    break
                if key != spare and key not in in_use:
                    del self._entries[key]
                    dropped = True
        if dropped:
            gc.collect()  # modules refer to one another in cycles
            release_memory(self._device)
        return dropped


def size_bytes(loaded: object) -> int:
    """The memory of all parameters and buffers of ``loaded``: a module, or an object with modules in ``modules``.

    Tensors that modules share count once.
    """
    modules = [loaded] if isinstance(loaded, nn.Module) else getattr(loaded, "modules", [])
    tensors = {each.data_ptr(): each.nbytes for module in modules for each in (*module.parameters(), *module.buffers())}
    return sum(tensors.values())
