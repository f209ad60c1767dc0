"""Calibration: measures forwards of several sizes before the first job, so that jobs get a good batch size."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import torch

from models.diffusion.batching import split
from models.diffusion.capacity import PARTS, Capacity, Forward
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.denoising_work import DenoisingToImage
from models.diffusion.devices import synchronize
from models.diffusion.failures import attempt, release_memory
from models.diffusion.latents import Sampling, prepare_latents
from models.diffusion.prompt_inputs import PromptInputs
from models.errors import JobFailure

log = logging.getLogger(__name__)

ROWS = (2, 4, 8)
REPEATS = 3
"""How often each size is measured, after a first time that the capacity does not count."""


def calibrate(
    checkpoint: Checkpoint, capacity: Capacity, budget_s: float = 5.0, is_over: Callable[[], bool] = lambda: False
) -> None:
    """Record in ``capacity`` what forwards of 2, 4 and 8 rows take at the model's default size, whole and split.

    Stops after ``budget_s`` or once ``is_over()`` says so, when the current forward has ended, and at the first
    failure, for instance because the memory is too small. What was not measured is learnt from jobs later.
    """
    until = time.monotonic() + budget_s
    outcome = attempt(lambda: _measure(checkpoint, capacity, lambda: time.monotonic() > until or is_over()))
    if isinstance(outcome, JobFailure):
        log.warning(
            "%s: the calibration failed, and the batch size is learnt from jobs: %s", checkpoint.spec.name, outcome
        )
        release_memory(checkpoint.device)
    else:
        log.info("%s: up to %d images are drawn at once", checkpoint.spec.name, outcome)


@torch.inference_mode()
def _measure(checkpoint: Checkpoint, capacity: Capacity, is_over: Callable[[], bool]) -> int:
    """The number of rows to draw at once, as far as it was found within the time."""
    denoising = _first_step(checkpoint)
    denoising.forward([denoising])  # the first forward is slower than later ones
    for rows, count in ((size, parts) for size in ROWS for _ in range(1 + REPEATS) for parts in (1, min(PARTS, size))):
        if is_over():
            break
        began_at = time.monotonic()
        batch = [denoising] * rows
        parts = split(batch, count)
        for part in parts:
            denoising.forward(part)
        synchronize(checkpoint.device)
        capacity.record(Forward.of(batch), time.monotonic() - began_at, [Forward.of(part) for part in parts])
    return max(1, capacity.max_inputs(denoising.cost_key) // denoising.inputs)


def _first_step(checkpoint: Checkpoint) -> DenoisingToImage:
    """An image of the model's default size, with classifier-free guidance, before its first step."""
    spec = checkpoint.spec
    size = spec.drawn_size(spec.defaults.width, spec.defaults.height)
    guidance_scale = max(2.0, spec.defaults.guidance_scale)
    inputs = PromptInputs(prompts=("a",), negative_prompt="", guidance_scale=guidance_scale, clip_skip=1, embeddings={})
    conditioning = checkpoint.encode(inputs, size)
    sampling = Sampling(sampler=spec.defaults.sampler, num_inference_steps=4, guidance_scale=guidance_scale, seed=0)
    return prepare_latents(checkpoint, sampling, size, conditioning)
