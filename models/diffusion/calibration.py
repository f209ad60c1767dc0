"""Measuring at start-up what forwards of each size take, so that the first jobs find the row limit known."""

from __future__ import annotations

import logging
import time

import torch

from models.diffusion.batching import divided
from models.diffusion.begin import Sampling, begin
from models.diffusion.capacity import PARTS, Capacity, Forward
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.denoising import Denoising
from models.diffusion.failures import attempt, release_memory
from models.diffusion.families.family import Wording
from models.errors import JobFailure

log = logging.getLogger(__name__)

ROWS = (2, 4, 8)
REPEATS = 3


def calibrate(checkpoint: Checkpoint, capacity: Capacity, budget_s: float = 5.0) -> None:
    """Let ``capacity`` know what forwards of 2, 4 and 8 rows take at the model's default size, whole and divided.

    Stops after ``budget_s``, but for the forward that runs then, and at the first that fails, for instance because the
    memory is too small; what is not measured here is learnt from jobs.
    """
    outcome = attempt(lambda: _measure(checkpoint, capacity, budget_s))
    if isinstance(outcome, JobFailure):
        log.warning(
            "%s: how many images are worth drawing at once is learnt from jobs: %s", checkpoint.spec.name, outcome
        )
        release_memory(checkpoint.device)
    else:
        log.info("%s: up to %d images are worth drawing at once", checkpoint.spec.name, outcome)


@torch.inference_mode()
def _measure(checkpoint: Checkpoint, capacity: Capacity, budget_s: float) -> int:
    """How many rows are worthwhile, as far as was measured in time."""
    denoising = _first_step(checkpoint)
    denoising.forward([denoising])  # the first one is slower than those to come
    until = time.monotonic() + budget_s
    for rows, count in ((size, parts) for size in ROWS for _ in range(REPEATS) for parts in (1, min(PARTS, size))):
        began_at = time.monotonic()
        if began_at > until:
            break
        batch = [denoising] * rows
        for part in divided(batch, count):
            denoising.forward(part)
        capacity.note(Forward.of(batch), time.monotonic() - began_at, count)
    return max(1, capacity.inputs_of(denoising.sort) // denoising.inputs)


def _first_step(checkpoint: Checkpoint) -> Denoising:
    """An image of the model's default size, guided, before its first step."""
    spec = checkpoint.spec
    size = spec.drawn_size(spec.defaults.width, spec.defaults.height)
    guidance_scale = max(2.0, spec.defaults.guidance_scale)
    wording = Wording(prompt="a", negative_prompt="", guidance_scale=guidance_scale, clip_skip=1, embeddings={})
    conditioning = checkpoint.family.encode(checkpoint.pipeline, wording, size, checkpoint.device)
    sampling = Sampling(sampler=spec.defaults.sampler, num_inference_steps=4, guidance_scale=guidance_scale, seed=0)
    return begin(checkpoint, sampling, size, conditioning)
