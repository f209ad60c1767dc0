"""An image enlarged tile by tile is the image enlarged at once, whoever else is enlarged beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.Image import Resampling

from models.diffusion.upscaling.postprocess import ImageWork
from models.diffusion.upscaling.upscaler import Upscaler, load_upscaler
from models.diffusion.upscaling.upscaling import Resizing, Upscaling
from models.errors import DrawingFailed
from tests.models.diffusion.upscaling.tiny_upscalers import CPU, TINY_UPSCALERS, esrgan, noise, write

pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")  # building SwinIR

FAR_PX = 20
"""The tiny ESRGAN looks no farther."""


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory: pytest.TempPathFactory) -> Upscaler:
    path = write(esrgan, tmp_path_factory.mktemp("upscalers") / "tiny.safetensors")
    loaded = load_upscaler(path, CPU, torch.float32)
    _spread(loaded.descriptor.model)
    return replace(loaded, tile_px=104, overlap_px=4 * FAR_PX)


def _spread(model: torch.nn.Module) -> None:
    """Scale the last layer so that the pixels span their range, or they would all be nearly the same."""
    last = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d)][-1]
    last.bias.zero_()
    deviation, mean = torch.std_mean(model(torch.rand(1, 3, 32, 32)), dim=(0, 2, 3))
    last.weight *= 0.25 / deviation[:, None, None, None]
    last.bias.copy_(0.5 - mean * 0.25 / deviation)


def run(*jobs: ImageWork) -> list[Image.Image]:
    """Take all steps, in company as long as there is any."""
    while pending := [job for job in jobs if not job.is_done]:
        group = [job for job in pending if job.group_key == pending[0].group_key]
        for job, output in zip(group, group[0].forward(group), strict=True):
            job.take_step(output)
    return [job.image() for job in jobs]


def worst(images: Sequence[Image.Image]) -> int:
    """The largest difference of a value between two images."""
    one, other = (np.array(image).astype(int) for image in images)
    return int(np.abs(one - other).max())


def test_tiles_leave_no_seams(upscaler: Upscaler):
    image = noise(147, 131)
    tiled = Upscaling(image, 4, upscaler)
    whole = Upscaling(image, 4, replace(upscaler, tile_px=1000))
    assert (tiled.steps, whole.steps) == (9, 1)
    images = run(tiled) + run(whole)
    assert np.array(images[1]).std() > 40
    assert worst(images) <= 1


def test_too_small_an_overlap_would_show(upscaler: Upscaler):
    image = noise(147, 131)
    images = run(Upscaling(image, 4, replace(upscaler, overlap_px=2)), Upscaling(image, 4, upscaler))
    assert worst(images) > 1


def test_company_changes_nothing(upscaler: Upscaler):
    sizes = [(120, 110), (200, 104), (120, 110), (60, 50)]
    images = [noise(*size, seed=seed) for seed, size in enumerate(sizes)]
    together = run(*(Upscaling(image, 4, upscaler) for image in images))
    alone = [run(Upscaling(image, 4, upscaler))[0] for image in images]
    assert all(worst(pair) <= 1 for pair in zip(together, alone, strict=True))


def test_images_of_different_sizes_share_forwards_where_their_tiles_are_alike(upscaler: Upscaler):
    wide, tall = Upscaling(noise(300, 120), 4, upscaler), Upscaling(noise(150, 200), 2, upscaler)
    small = Upscaling(noise(50, 60), 4, upscaler)
    assert wide.group_key == tall.group_key != small.group_key
    assert small.next_input().shape == (1, 3, 60, 50)
    assert wide.group_key != Upscaling(noise(300, 120), 4, replace(upscaler)).group_key


@pytest.mark.parametrize("architecture", TINY_UPSCALERS)
@pytest.mark.parametrize("scale", [2, 4, 1.5])
def test_the_size_is_what_was_asked_for_whatever_the_models_scale(architecture: str, scale: float, tmp_path: Path):
    path = write(TINY_UPSCALERS[architecture][0], tmp_path / "model.safetensors")
    job = Upscaling(noise(37, 21), scale, load_upscaler(path, CPU, torch.float32))
    assert run(job)[0].size == (round(37 * scale), round(21 * scale))


def test_another_size_than_the_models_own_is_resampled_from_it(upscaler: Upscaler):
    image = noise(30, 20)
    double, fourfold = run(Upscaling(image, 2, upscaler), Upscaling(image, 4, upscaler))
    assert worst([double, fourfold.resize((60, 40), Resampling.LANCZOS)]) == 0


def test_progress_is_counted_in_tiles(upscaler: Upscaler):
    job = Upscaling(noise(120, 90), 4, upscaler)
    seen = []
    while not job.is_done:
        job.take_step(job.forward([job])[0])
        seen.append((job.step, job.steps))
    assert seen == [(1, 2), (2, 2)]


def test_numbers_that_are_no_image_fail_the_job(upscaler: Upscaler):
    job = Upscaling(noise(20, 20), 4, upscaler)
    with pytest.raises(DrawingFailed, match="not finite"):
        job.take_step(torch.full((1, 3, 80, 80), torch.nan))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_only_rgb_is_taken(mode: str, upscaler: Upscaler):
    image = noise(20, 20).convert(mode)
    with pytest.raises(ValueError, match=f"must be RGB, not {mode}"):
        Upscaling(image, 2, upscaler)
    with pytest.raises(ValueError, match=f"must be RGB, not {mode}"):
        Resizing(image, 2, "Lanczos")


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize(("name", "resampling"), [("Lanczos", Resampling.LANCZOS), ("Nearest", Resampling.NEAREST)])
def test_the_built_in_upscalers_are_pillows(name: str, resampling: Resampling, scale: int):
    images = [noise(31, 17, seed) for seed in range(2)]
    jobs = [Resizing(image, scale, name) for image in images]
    assert jobs[0].steps == 1
    for image, enlarged in zip(images, run(*jobs), strict=True):
        assert worst([enlarged, image.resize((31 * scale, 17 * scale), resampling)]) == 0
