"""Which rows share a forward, whose turn it is, and the forward itself."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import torch

from models.diffusion.denoiser import Conditioning
from models.diffusion.failures import attempt, release_memory
from models.diffusion.row import Row
from models.errors import DrawingFailed, JobFailure, OutOfMemory


def group(rows: Iterable[Row]) -> list[list[Row]]:
    """The rows by what must be equal in one forward: checkpoint, latents' shape and dtype, embeddings' shape."""
    groups: dict[Hashable, list[Row]] = {}
    for row in rows:
        embeddings = row.conditioning.hidden_states
        key = (id(row.checkpoint), row.latents.shape, row.latents.dtype, embeddings.shape[1:])
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def whose_turn(rows: Sequence[Row]) -> list[Row]:
    """The group to run now: the one with the row that has had the least of the device's time.

    Each forward's time is shared out to its rows, so that rows get equal shares of the device whatever their sizes:
    many cheap forwards go by for each dear one, and a large picture never holds up small ones for longer than one
    forward. Nor do small ones starve it, however many follow: newcomers begin level with the least served row, and of
    level rows the older goes first.
    """
    return min(group(rows), key=lambda each: min((row.served_s, row.admitted_at) for row in each))


def predict(rows: Sequence[Row]) -> list[torch.Tensor | JobFailure]:
    """Each row's raw model output [inputs, channels, h, w], from one forward for all of them.

    A forward that fails is tried again in halves, so that only a row that fails alone fails.
    """
    outputs = attempt(lambda: _forward(rows))
    if not isinstance(outputs, JobFailure):
        return outputs
    if len(rows) == 1:
        return [outputs]
    if isinstance(outputs, OutOfMemory):
        release_memory(rows[0].checkpoint.device)
    half = len(rows) // 2
    return predict(rows[:half]) + predict(rows[half:])


def _forward(rows: Sequence[Row]) -> list[torch.Tensor | JobFailure]:
    latents = torch.cat([row.model_input().expand(row.inputs, -1, -1, -1) for row in rows])
    timesteps = torch.cat([row.timestep.float().expand(row.inputs) for row in rows]).to(latents.device)
    conditioning = Conditioning.cat([row.conditioning for row in rows])
    output = rows[0].checkpoint.denoiser.denoise(latents, timesteps, conditioning)
    sizes = [row.inputs for row in rows]
    finite = output.isfinite().flatten(1).all(1).cpu().split(sizes)  # one wait for the device, for all rows
    return [
        part if is_finite.all() else DrawingFailed("the model's prediction is not finite")
        for part, is_finite in zip(output.split(sizes), finite, strict=True)
    ]
