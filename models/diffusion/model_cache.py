"""The model cache: it loads each model once, however many rows use it, and drops the least recently used ones."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Collection, Hashable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from threading import RLock, Thread
from typing import Any, TypeVar, cast

import torch
from torch import nn

from models.diffusion.failures import attempt, release_memory
from models.diffusion.work import Download, LoadRequest
from models.downloads.progress import Progress
from models.errors import JobFailure, OutOfMemory

T = TypeVar("T")

CHILDREN_MAX = 8
"""How many models that share the tensors of one model are kept; their modules take memory that is not counted."""


@dataclass
class _Entry:
    """A model that is loaded or being loaded."""

    future: Future[object]
    version_of: Callable[[], Hashable]
    """As :attr:`LoadRequest.version` of the request that began it."""
    version: Hashable
    """The version when it began to be loaded."""
    progress: Progress | None = None
    """Of its download, while that runs."""
    parent: Hashable = None
    """The key of the model whose tensors this one shares."""
    tensors: Mapping[int, int] = field(default_factory=dict)
    """The bytes of each tensor of the model, by the tensor's address."""

    @property
    def is_loaded(self) -> bool:
        return self._is_done and not isinstance(self.future.result(), JobFailure)

    @property
    def has_failed(self) -> bool:
        return self._is_done and isinstance(self.future.result(), JobFailure)

    @property
    def _is_done(self) -> bool:
        """Whether there is a result; a load that a closing cache canceled has none."""
        return self.future.done() and not self.future.cancelled()


@dataclass(frozen=True)
class CacheCounts:
    """What a cache did since its start, and what it holds now."""

    hits: int
    """Requests for a model that was loaded, or being loaded."""
    loads: int
    """Models that were loaded."""
    load_s: float
    """The seconds that these loads took, without downloads."""
    failures: int
    """Loads that failed."""
    evictions: int
    """Models that were dropped."""
    models: int
    """Models that are loaded now."""
    held_bytes: int
    """The bytes of their tensors, those that models share counted once."""


class ModelCache:
    """An LRU cache of models with single flight: equal requests share one load. One thread requests models.

    Models are loaded in a thread of their own, so that rows with other models continue in the meantime. A model may
    share the tensors of its parent, as a checkpoint with LoRAs does; shared tensors count once, and a model is dropped
    together with those that share its tensors, because its memory is free only then.

    Args:
        device: the device that holds the weights.
        budget_bytes: the memory that loaded models may take; models in use stay even beyond it. ``None``: models are
            dropped only when the device is full.
        in_use: gives the keys of the models that must not be dropped; called in the loader thread, too.
        settle: waits until what the loader thread gave to the device is done, so that any stream may use the model.
    """

    def __init__(
        self,
        device: torch.device,
        budget_bytes: int | None = None,
        in_use: Callable[[], Collection[Hashable]] = tuple,
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        self._device, self._budget_bytes, self._in_use, self._settle = device, budget_bytes, in_use, settle
        self._entries: dict[Hashable, _Entry] = {}
        """The least recently requested first."""
        self._lock = RLock()
        self._hits = self._loads = self._failures = self._evictions = 0
        self._load_s = 0.0
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader")

    def request(self, request: LoadRequest[T]) -> Future[T | JobFailure]:
        """A future of the model, or of the :class:`JobFailure` why it cannot be loaded.

        A request after a failure tries to load the model again. So does one after its version has changed, if no row
        uses the model; the memory of the one before is free by then, unless something else refers to it.
        """
        with self._lock:
            if self._is_outdated(request.key):
                self._drop(request.key)
                gc.collect()
            entry = self._entries.pop(request.key, None)
            if entry is None or entry.has_failed:
                entry = self._begin(request)
            else:
                self._hits += 1
            self._entries[request.key] = entry
            return cast("Future[T | JobFailure]", entry.future)

    def download_of(self, key: Hashable) -> Progress | None:
        """How far the download of a model is; ``None`` if none runs."""
        with self._lock:
            entry = self._entries.get(key)
            return None if entry is None else entry.progress

    @property
    def loaded(self) -> tuple[Hashable, ...]:
        """The keys of all loaded models, the least recently requested first."""
        with self._lock:
            return tuple(key for key, entry in self._entries.items() if entry.is_loaded)

    @property
    def counts(self) -> CacheCounts:
        """The counts as they are now."""
        with self._lock:
            return CacheCounts(
                hits=self._hits,
                loads=self._loads,
                load_s=self._load_s,
                failures=self._failures,
                evictions=self._evictions,
                models=len(self.loaded),
                held_bytes=self._held_bytes(),
            )

    def free_memory(self) -> bool:
        """Drop every model that no row uses, and return unused memory to the device; false if no model was dropped."""
        dropped = self._drop_until(lambda: False)
        release_memory(self._device)
        return dropped

    def close(self) -> None:
        """End the loader thread, and stop downloads; what they brought stays on the disk. Open futures are canceled."""
        with self._lock:
            downloads = [entry.progress for entry in self._entries.values() if entry.progress is not None]
        for progress in downloads:
            progress.cancel()
        self._loader.shutdown(cancel_futures=True)

    def _is_outdated(self, key: Hashable) -> bool:
        """Whether the model is loaded, of another version than there is now, and used by no row."""
        entry = self._entries.get(key)
        if entry is None or not entry.is_loaded or entry.version == entry.version_of():
            return False
        return key not in self._in_use()

    def _begin(self, request: LoadRequest[Any]) -> _Entry:
        """Start to load the model, or to download its files first, in a thread that holds up no other model."""
        version = request.version()
        if request.download is None or not request.download.is_needed():
            loading = self._loader.submit(self._load, request)
            return _Entry(loading, request.version, version, parent=request.parent)
        entry = _Entry(Future(), request.version, version, Progress(), request.parent)
        Thread(target=self._download, args=(request, request.download, entry), name="download", daemon=True).start()
        return entry

    def _download(self, request: LoadRequest[object], download: Download, entry: _Entry) -> None:
        progress, entry_future = entry.progress, entry.future
        assert progress is not None
        failure = attempt(lambda: download.run(progress))
        entry.progress = None
        if isinstance(failure, JobFailure):
            entry_future.set_result(failure)
            return
        try:
            loading = self._loader.submit(self._load, request)
        except RuntimeError:  # the loader has been closed
            entry_future.cancel()
        else:
            loading.add_done_callback(partial(_hand_on, entry_future))

    def _load(self, request: LoadRequest[object]) -> object:
        def load() -> object:
            loaded = request.load()
            self._settle()
            return loaded

        began_at = time.monotonic()
        loaded = attempt(load)
        if isinstance(loaded, OutOfMemory) and self._drop_until(lambda: False, spare=request.key):
            loaded = attempt(load)
        self._count_load(loaded, time.monotonic() - began_at)
        if not isinstance(loaded, JobFailure):
            with self._lock:
                if request.key in self._entries:  # it was dropped already if its parent was
                    self._entries[request.key].tensors = tensors_of(loaded)
            if request.parent is not None:
                self._drop_until(partial(self._has_few_children, request.parent), request.key, request.parent)
            self._drop_until(self._is_within_budget, request.key)
        return loaded

    def _count_load(self, loaded: object, seconds: float) -> None:
        with self._lock:
            if isinstance(loaded, JobFailure):
                self._failures += 1
            else:
                self._loads, self._load_s = self._loads + 1, self._load_s + seconds

    def _has_few_children(self, parent: Hashable) -> bool:
        return sum(entry.parent == parent for entry in self._entries.values()) <= CHILDREN_MAX

    def _is_within_budget(self) -> bool:
        return self._budget_bytes is None or self._held_bytes() <= self._budget_bytes

    def _held_bytes(self) -> int:
        """The bytes of all tensors, those that models share counted once."""
        held = {address: size for entry in self._entries.values() for address, size in entry.tensors.items()}
        return sum(held.values())

    def _drop_until(self, is_enough: Callable[[], bool], spare: Hashable = None, parent: Hashable = None) -> bool:
        """Drop unused models, the least recently requested first, until ``is_enough``; whether any was dropped.

        Args:
            spare: the key of a model that is kept, with its parent.
            parent: only drop models with this parent; ``None`` is for all models.
        """
        dropped = False
        in_use = self._in_use()
        with self._lock:
            for key in self.loaded:
                if is_enough():
                    break
                entry = self._entries.get(key)
                if entry is None or key in in_use or self._is_spared(key, spare) or parent not in (None, entry.parent):
                    continue
                self._drop(key)
                dropped = True
        if dropped:
            gc.collect()  # modules refer to one another in cycles
            release_memory(self._device)
        return dropped

    def _is_spared(self, key: Hashable, spare: Hashable) -> bool:
        """Whether ``key`` is ``spare`` or its parent."""
        entry = self._entries.get(spare)
        return key == spare or (entry is not None and entry.parent == key)

    def _drop(self, key: Hashable) -> None:
        """Drop the model, and those that share its tensors: a row that uses one of them uses this model, too."""
        dropped = [key, *(each for each, entry in self._entries.items() if entry.parent == key)]
        self._evictions += len(dropped)
        for each in dropped:
            del self._entries[each]


def _hand_on(to: Future[object], done: Future[object]) -> None:
    """Give the outcome of ``done`` to ``to``."""
    if done.cancelled():
        to.cancel()
        return
    error = done.exception()
    if error is None:
        to.set_result(done.result())
    else:
        to.set_exception(error)


def tensors_of(loaded: object) -> dict[int, int]:
    """The bytes of all parameters and buffers of ``loaded``, by address: tensors that modules share occur once.

    Args:
        loaded: a module, or an object with modules in ``modules``.
    """
    modules = [loaded] if isinstance(loaded, nn.Module) else getattr(loaded, "modules", [])
    return {each.data_ptr(): each.nbytes for module in modules for each in (*module.parameters(), *module.buffers())}
