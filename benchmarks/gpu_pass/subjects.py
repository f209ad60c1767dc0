"""The models of the checks: tiny ones, loaded from a folder as in a worker, and random ones of full size."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
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
    FLUX,
    IMG2IMG,
    INPAINT,
    PIXART_SIGMA,
    SD3,
    SDXL,
    STABLE_DIFFUSION,
    TXT2IMG,
    Checkpoint,
    DrawParams,
    Mask,
    load_folder,
    make_params,
)
from tests.models.diffusion.far_memory import open_far
from tests.tiny import (
    build_tiny_flux,
    build_tiny_house,
    build_tiny_pixart,
    build_tiny_sd,
    build_tiny_sd3,
    build_tiny_sdxl,
)

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
        """The model "sd15" or "sdxl", or a tiny one."""
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

    def folder(self, name: str) -> Path:
        """A folder for files with this name; it may not exist yet."""
        return Path(self._folder.name) / name

    def loaded_with(self, name: str, dtype: str, offload: str = "none", weights: str = "auto") -> Subject:
        """A tiny model, loaded anew with these settings of the catalog.

        A CPU has one memory and offloads nothing, so that there the memory is simulated, in float32.
        """
        if offload == "none" or self.device.type == "cuda":
            return Subject(name, dtype, self._tiny(name, dtype, offload, weights))
        usual = self.get(name, "float32").checkpoint
        far, _ = open_far(self.folder(name), usual.spec.family, offload, weights)
        return Subject(name, "float32", replace(far, spec=replace(usual.spec, offload=offload, weights=weights)))

    def _tiny(self, name: str, dtype: str, offload: str = "none", weights: str = "auto") -> Checkpoint:
        write, family = _TINY[name]
        if not self.folder(name).exists():
            write(self.folder(name))
        return load_folder(self.folder(name), family, dtype, self.device, 64, offload, weights)

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
    "tiny-sd3": (build_tiny_sd3, SD3),
    "tiny-flux": (partial(build_tiny_flux, guidance_embeds=True), FLUX),
    "tiny-pixart": (build_tiny_pixart, PIXART_SIGMA),
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
