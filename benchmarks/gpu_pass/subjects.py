"""The models of the checks: tiny ones, loaded from a folder as in a worker, and random ones of full size."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image

from benchmarks.full_size import build
from benchmarks.gpu_pass import plain
from benchmarks.gpu_pass.images import mask, photo
from benchmarks.gpu_pass.report import Outcome
from benchmarks.gpu_pass.surface import (
    IMG2IMG,
    INPAINT,
    SDXL,
    STABLE_DIFFUSION,
    TXT2IMG,
    Checkpoint,
    DrawParams,
    Mask,
    load_folder,
    make_params,
)
from tests.tiny import build_tiny_house, build_tiny_sd, build_tiny_sdxl

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
PROMPTS = ("a cat", "a dog on a red sofa", "a house", "", "two boats at sea")
PHOTO, MASK = "input:photo", "input:mask"


@dataclass
class Subject:
    """One model in one dtype, and the plain pipeline's images of it."""

    name: str
    dtype: str
    checkpoint: Checkpoint
    _plain: dict[tuple[str, DrawParams], Image] = field(default_factory=dict)

    @property
    def px(self) -> int:
        """The default width and height of its images."""
        return self.checkpoint.spec.defaults.width

    @property
    def images(self) -> Mapping[str, Image]:
        """The input images of its jobs, by source."""
        return {PHOTO: photo(self.px), MASK: mask(self.px)}

    def params(self, kind: str = TXT2IMG, **changes: Any) -> DrawParams:
        """The parameters of a job of ``kind``, with ``changes``."""
        by_kind: dict[str, dict[str, Any]] = {
            TXT2IMG: {},
            IMG2IMG: {"image": PHOTO, "strength": 0.6},
            INPAINT: {"image": PHOTO, "strength": 0.8, "mask": Mask(image=MASK, blur_px=0)},
        }
        return make_params(self.checkpoint, **by_kind[kind] | changes)

    def plain(self, kind: str, params: DrawParams) -> Image:
        """The image of the plain diffusers pipeline on the same weights; each is drawn once and kept."""
        if (kind, params) not in self._plain:
            self._plain[kind, params] = plain.draw(self.checkpoint, kind, params, self.images)
        return self._plain[kind, params]


class Subjects:
    """Builds each model at its first use; of the models of full size only the latest is kept."""

    def __init__(self, device: torch.device, *, rehearse: bool) -> None:
        self.device, self.rehearse = device, rehearse
        self._folder = tempfile.TemporaryDirectory(prefix="gpu-pass-")
        self._made: dict[tuple[str, str], Subject] = {}

    def get(self, name: str, dtype: str) -> Subject:
        """The model "tiny", "tiny-house", "tiny-sdxl", "sd15" or "sdxl"."""
        if (name, dtype) not in self._made:
            make = partial(self._full, name) if name in _FULL else partial(self._tiny, name)
            self._made[name, dtype] = Subject(name, dtype, make(dtype))
        return self._made[name, dtype]

    def on(
        self, name: str, dtype: str, run: Callable[..., Outcome], *args: Any, **options: Any
    ) -> Callable[[], Outcome]:
        """``run`` with a model that is built when the check runs, not before."""
        return lambda: run(self.get(name, dtype), *args, **options)

    def drop(self, name: str) -> None:
        """Free the memory of all models called ``name``."""
        self._made = {key: subject for key, subject in self._made.items() if key[0] != name}
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _tiny(self, name: str, dtype: str) -> Checkpoint:
        write, family = _TINY[name]
        folder = Path(self._folder.name) / name
        if not folder.exists():
            write(folder)
        return load_folder(folder, family, dtype, self.device, 64)

    def _full(self, name: str, dtype: str) -> Checkpoint:
        for other in _FULL:
            self.drop(other)
        family, px = _FULL[name]
        px = 64 if self.rehearse else px
        checkpoint = build(family, px, self.device, DTYPES[dtype], small=self.rehearse)
        _stretch(checkpoint)
        return checkpoint


_TINY: dict[str, tuple[Callable[[Path], Path], str]] = {
    "tiny": (build_tiny_sd, STABLE_DIFFUSION),
    "tiny-house": (build_tiny_house, STABLE_DIFFUSION),
    "tiny-sdxl": (build_tiny_sdxl, SDXL),
}
_FULL = {"sd15": (STABLE_DIFFUSION, 512), "sdxl": (SDXL, 1024)}


@torch.inference_mode()
def _stretch(checkpoint: Checkpoint) -> None:
    """Scale the VAE's last layer so that pixels span their range; the images of a random VAE are nearly grey."""
    vae = checkpoint.pipeline.vae
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0)).to(vae.device, vae.dtype)
    pixels = vae.decode(noise, return_dict=False)[0].float()
    last, gain = vae.decoder.conv_out, 0.5 / float(pixels.std())
    last.weight.mul_(gain)
    last.bias.sub_(pixels.mean((0, 2, 3)).to(last.bias)).mul_(gain)
