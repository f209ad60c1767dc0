"""The law on a GPU, in a few quick tests: an image does not depend on its batch; docs/gpu.md has the whole matrix."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from models.diffusion.backends.inputs import Inputs, seeded_inputs
from models.diffusion.capacity import Capacity
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.denoiser import Conditioning
from models.diffusion.engine import Engine
from models.jobs.params import DrawParams
from tests.models.diffusion.rig import Studio, add_row, images, params, pixel_difference, run, spec_of

pytestmark = pytest.mark.gpu

GPU = torch.device("cuda")
BOUNDS = {"float32": 2, "float16": 12}
"""The largest difference of a pixel, of 255; on an H100 1 and 2 were measured with tiny models."""


@pytest.fixture(autouse=True)
def without_tf32() -> Iterator[None]:
    """torch's objects for these settings have no deletion, which ``monkeypatch`` would need."""
    settings = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [each.allow_tf32 for each in settings]
    for each in settings:
        each.allow_tf32 = False
    yield
    for each, allowed in zip(settings, before, strict=True):
        each.allow_tf32 = allowed


@pytest.fixture(params=list(BOUNDS))
def checkpoint(request: pytest.FixtureRequest, tiny_sd: Studio) -> Checkpoint:
    return load_checkpoint(spec_of(tiny_sd.spec.folder, dtype=request.param), GPU)


def draw(checkpoint: Checkpoint, *wanted: DrawParams) -> list[object]:
    """The images of ``wanted``, drawn at the same time."""
    engine = Engine(lambda spec: checkpoint, device=GPU, capacity=Capacity(8))
    engine.load(checkpoint.spec)
    for number, each in enumerate(wanted):
        add_row(engine, str(number), each, checkpoint.spec)
    drawn = images(run(engine))
    engine.close()
    return [drawn[str(number)] for number in range(len(wanted))]


def test_rows_in_a_batch_give_the_images_that_they_give_alone(checkpoint: Checkpoint) -> None:
    samplers = ("Euler", "Euler a", "DPM++ 2M", "DDIM")
    rows = [
        params(seed=number, sampler=sampler, num_inference_steps=4 + number, guidance_scale=1.0 + 2 * number)
        for number, sampler in enumerate(samplers)
    ]
    together, bound = draw(checkpoint, *rows), BOUNDS[str(checkpoint.dtype).removeprefix("torch.")]
    for wanted, image in zip(rows, together, strict=True):
        (alone,) = draw(checkpoint, wanted)
        assert pixel_difference(alone, image) <= bound, wanted.sampler  # type: ignore[arg-type]


@torch.inference_mode()
def test_other_neighbours_do_not_change_a_bit(checkpoint: Checkpoint) -> None:
    inputs = seeded_inputs(checkpoint.pipeline.unet, 6, (8, 8), 77)
    turned = Inputs(
        torch.cat([inputs.latents[:1], inputs.latents[1:].flip(0)]),
        torch.cat([inputs.timesteps[:1], inputs.timesteps[1:].flip(0)]),
        Conditioning(torch.cat([inputs.conditioning.hidden_states[:1], inputs.conditioning.hidden_states[1:].flip(0)])),
    )
    first, second = (
        checkpoint.denoiser.denoise(each.latents, each.timesteps, each.conditioning)[0] for each in (inputs, turned)
    )
    assert torch.equal(first, second)
