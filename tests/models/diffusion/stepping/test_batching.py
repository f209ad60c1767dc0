"""Guidance and the model's inputs of several rows are those of each row alone, to the bit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from models.diffusion.denoising import Denoising
from models.diffusion.stepping.guidance import guide
from models.diffusion.stepping.inputs import model_inputs
from tests.models.diffusion.rig import Studio, params, prepare

PROMPTS = (("a cat", 5.0), ("a cat", 1.0), ("a cat AND a dog :0.5 AND a car :-0.3", 7.5), ("a AND b", 0.5))
SAMPLERS = ("Euler", "DDIM", "DPM2", "Heun", "DPM++ SDE", "LMS", "DPM++ 3M SDE", "LCM")


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def rows(studio: Studio) -> list[Denoising]:
    """Rows with one to four inputs; neighbours are scaled for the model in different ways."""
    return [
        prepare(studio, params(sampler=sampler, seed=number, prompt=prompt, guidance_scale=scale))
        for number, sampler in enumerate(SAMPLERS)
        for prompt, scale in (PROMPTS[number % 4], PROMPTS[(number + 1) % 4])
    ]


def output_of(row: Denoising, seed: int) -> torch.Tensor:
    """A random output [inputs, ...] of the model."""
    shape = (row.inputs, *row.latents.shape[1:])
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_guidance(tiny_sd: Studio) -> None:
    batch = rows(tiny_sd)
    outputs = [output_of(row, seed) for seed, row in enumerate(batch)]
    together = guide(outputs, [row.output_weights for row in batch])
    alone = [row.guide(output) for row, output in zip(batch, outputs, strict=True)]
    assert {row.inputs for row in batch} == {1, 2, 3, 4}
    assert torch.equal(together, torch.cat(alone))


def test_guidance_of_rows_with_one_input(tiny_sd: Studio) -> None:
    outputs = [output_of(row, seed) for seed, row in enumerate(rows(tiny_sd)) if row.inputs == 1]
    assert torch.equal(guide(outputs, [()] * len(outputs)), torch.cat(outputs))


def test_inputs(tiny_sd: Studio) -> None:
    together, alone = model_inputs(rows(tiny_sd)), [model_inputs([row]) for row in rows(tiny_sd)]
    assert torch.equal(together, torch.cat(alone))
    expected = [row.scaled.expand(row.inputs, -1, -1, -1) for row in rows(tiny_sd)]
    assert torch.equal(together, torch.cat(expected))
