"""An image enlarged tile by tile is the image enlarged at once, whoever else is enlarged beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.Image import Resampling
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

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


@dataclass(frozen=True)
class Exact:
    """A stand-in for spandrel's descriptor whose results are the same on every processor: it only copies and scales.

    A tile's first pixel shifts all of its pixels, so that overlapping tiles differ, as those of a model do.
    """

    device: torch.device = CPU
    scale: int = 2
    dtype: torch.dtype = torch.float32

    @property
    def model(self) -> nn.Module:
        return nn.Identity()

    def __call__(self, tiles: torch.Tensor) -> torch.Tensor:
        large = tiles.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)
        return large * 0.75 + tiles[..., :1, :1] * 0.375 - 0.0625


def exact(width: int, height: int, device: torch.device = CPU) -> Upscaling:
    """An upscaling by :class:`Exact` in tiles of 24 px."""
    return Upscaling(noise(width, height), 2, Upscaler(Exact(device), 24, 8))


@pytest.mark.parametrize(("width", "height", "digest"), [(61, 47, "159876bb3f2191c5"), (20, 15, "8ea46e08cfb97fe7")])
def test_a_models_result_gives_the_same_bytes_as_in_earlier_versions(width: int, height: int, digest: str):
    (enlarged,) = run(exact(width, height))
    assert hashlib.sha256(enlarged.tobytes()).hexdigest()[:16] == digest


class Reads(TorchDispatchMode):
    """Counts how often the program reads a number from a tensor, for which it would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_the_program_waits_for_numbers_once_for_each_row_of_tiles():
    job, waits = exact(61, 47), []
    while not job.is_done:
        (output,) = job.forward([job])
        with Reads() as reads:
            job.take_step(output)
        waits.append(reads.count)
    assert waits == [0, 0, 0, 1] * 3


def test_tiles_are_put_together_on_the_models_device():
    """The device ``meta`` holds no numbers, so that a tile that leaves it would fail."""
    meta = torch.device("meta")
    job = exact(61, 47, meta)
    for _ in range(3):
        job.take_step(torch.empty(1, 3, 48, 48, device=meta))
    assert (job.device, job.step) == (meta, 3)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize(("place", "complete_at"), [((0, 0), 4), ((47, 30), 8)])
def test_numbers_that_are_no_image_fail_the_job_once_their_row_is_complete(
    value: float, place: tuple[int, int], complete_at: int
):
    """Also where the second tile, whose number it is, does not count, since another tile covers the place."""
    job, (x, y) = exact(61, 47), place
    outputs = [job.forward([job])[0].clone() for _ in range(complete_at)]
    outputs[1][..., y, x] = value
    for output in outputs[:-1]:
        job.take_step(output)
    with pytest.raises(DrawingFailed, match="not finite"):
        job.take_step(outputs[-1])


@pytest.mark.gpu
@pytest.mark.parametrize("size", [(61, 47), (20, 15)])
def test_a_gpu_puts_the_same_image_together(size: tuple[int, int]):
    on_cpu, on_gpu = run(exact(*size)), run(exact(*size, torch.device("cuda")))
    assert worst(on_cpu + on_gpu) <= 1


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
