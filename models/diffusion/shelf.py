"""The checkpoints that are loaded, each once however many rows use it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Hashable

import torch

from models.catalog import ModelSpec
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.failures import release_memory


class Shelf:
    """Loads checkpoints when they are first asked for, and keeps them until memory runs out."""

    def __init__(self, load: Callable[[ModelSpec], Checkpoint]) -> None:
        self._load = load
        self._checkpoints: dict[Hashable, Checkpoint] = {}

    def get(self, spec: ModelSpec) -> Checkpoint:
        """The checkpoint with the weights of ``spec``.

        Raises:
            ModelUnavailable, OutOfMemory: as :func:`~models.diffusion.checkpoint.load_checkpoint`.
        """
        key = _weights(spec)
        if key not in self._checkpoints:
            with torch.inference_mode(False):  # parameters made in inference mode could never be changed again
                self._checkpoints[key] = self._load(spec)
        return self._checkpoints[key]

    def drop_all_but(self, used: Collection[Checkpoint], spec: ModelSpec) -> bool:
        """Drop what is neither in ``used`` nor wanted for ``spec``; whether that was anything at all."""
        dropped = [
            (key, checkpoint.device)
            for key, checkpoint in self._checkpoints.items()
            if key != _weights(spec) and not any(checkpoint is each for each in used)
        ]
        for key, _ in dropped:
            del self._checkpoints[key]
        gc.collect()  # modules refer to one another in circles
        for _, device in dropped:
            release_memory(device)
        return bool(dropped)


def _weights(spec: ModelSpec) -> Hashable:
    """What decides the weights: entries of the catalog that differ only in name or defaults share them."""
    return spec.family, spec.source, spec.dtype
