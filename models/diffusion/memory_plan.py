"""How much memory a model needs on a device, told from the headers of its files before anything is loaded.

The sizes of weights are exact for diffusers folders. Those of intermediate results are estimates for one image of the
model's default size. Torch is not imported, so that ``photogram models list`` can show a plan.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.catalog.catalog import WEIGHTS, ModelSpec
from models.catalog.families import (
    FAMILIES,
    FLUX,
    PIXART_SIGMA,
    SD3,
    SDXL,
    SDXL_REFINER,
    STABLE_DIFFUSION,
)
from models.catalog.gguf_files import QUANTIZATIONS, TYPES
from models.catalog.samplers import FLOW_MATCHING
from models.catalog.weights import read_header
from models.diffusion.parts import Part, part_named
from models.downloads.on_disk import is_on_disk, place_of, variant_of, weight_files
from models.downloads.space import in_words
from models.errors import ModelUnavailable

DENOISER_NUMBERS: Mapping[str, int] = MappingProxyType({
    STABLE_DIFFUSION: 131, SDXL: 80, SDXL_REFINER: 95, FLUX: 206, SD3: 81, PIXART_SIGMA: 56,
})  # fmt: skip
"""Numbers of intermediate results for each pixel of one input of a forward; counted by ``benchmarks/activations.py``,
rounded up."""
DECODER_NUMBERS = 769
"""The same of the VAE's decoder, for each pixel of the image."""
SETTINGS = (("none", "auto"), ("model", "auto"), ("sequential", "auto"), ("model", "fp8"))
"""Values of ``offload`` and ``weights``: those that keep the image first, the fastest first."""

_COMPONENTS = re.compile(r"text_encoder(_\d)?|unet|transformer|vae")
_ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_KEPT_WIDE = re.compile(r"(^|\.)wo\.weight$")
"""Weights of T5 that transformers keeps in float32 instead of float16."""
_NOT_REDUCED = re.compile(
    r"pos_embed|patch_embed|norm|(^proj_in|^proj_out)(\.|$)|adaln_single|_mod\.|modulation|adaLN_modulation"
)
"""Names of layers that stay in their dtype with ``weights = "fp8"``; the last three are those of single files."""
_NOT_QUANTIZED = re.compile(
    r"(\w*embed\w*|norm_out|proj_in|proj_out|adaln_single|caption_projection"
    r"|label_emb|out|img_in|txt_in|time_in|vector_in|guidance_in|final_layer)(\.|$)"
)
"""The same with ``weights = "int8"`` and ``"int4"``; those of the second line are the names of single files."""
_UNET_PREFIX = "model.diffusion_model."
_IN_FILES = (
    ("first_stage_model.", Part.VAE), ("vae.", Part.VAE), ("cond_stage_model.", Part.TEXT_ENCODERS),
    ("conditioner.", Part.TEXT_ENCODERS), ("text_encoders.", Part.TEXT_ENCODERS), ("model.", Part.DENOISER),
)  # fmt: skip
"""Beginnings of the names of tensors in single files; other tensors belong to the denoiser if no name begins so."""
_QUANTIZED = {name for name, block, _ in TYPES.values() if block > 1}
_TIED = {"encoder.embed_tokens.weight": "shared.weight"}
"""Tensors that are the same as another one, of which T5's files may have both."""


@dataclass(frozen=True)
class _Tensor:
    part: Part
    layer: str
    """The name of the component and of the layer that owns the tensor."""
    name: str
    """Without the component."""
    shape: tuple[int, ...]
    stored_bytes: int | None = None
    """What it takes if it stays as its file has it; ``None`` if it is converted."""

    def size_bytes(self, item_bytes: int) -> int:
        """What it takes if its numbers are converted to ones of ``item_bytes``."""
        return prod(self.shape) * item_bytes if self.stored_bytes is None else self.stored_bytes


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """The bytes that a model takes on a device."""

    text_encoders: int
    denoiser: int
    reduced_denoisers: Mapping[str, int]
    """The denoiser with each value of ``weights`` but ``auto``."""
    vae: int
    largest_layer: int
    """Of all parts."""
    denoising: int
    """The intermediate results of one step of one image of the default size."""
    decoding: int
    """The intermediate results of decoding it."""

    def weights_bytes(self, offload: str, weights: str) -> int:
        """The weights that are on the device at once."""
        denoiser = self.reduced_denoisers.get(weights, self.denoiser)
        parts = (self.text_encoders, denoiser, self.vae)
        return {"none": sum(parts), "model": max(parts), "sequential": self.largest_layer}[offload]

    def needed_bytes(self, offload: str, weights: str) -> int:
        """Weights and intermediate results at the moment that takes the most."""
        denoiser = self.reduced_denoisers.get(weights, self.denoiser)
        if offload == "model":
            return max(self.text_encoders, denoiser + self.denoising, self.vae + self.decoding)
        return self.weights_bytes(offload, weights) + max(self.denoising, self.decoding)

    def shortage(self, spec: ModelSpec, free_bytes: int) -> str | None:
        """What ``spec`` needs more than is free, and which settings would fit; ``None`` if it fits."""
        needed = self.needed_bytes(spec.offload, spec.weights)
        if needed <= free_bytes:
            return None
        fitting = [each for each in SETTINGS if self.needed_bytes(*each) <= free_bytes]
        advice = "no setting of offload and weights fits: use a smaller model" if not fitting else self._advice(fitting)
        return f"needs {in_words(needed)}, {in_words(free_bytes)} free: {advice}"

    def _advice(self, fitting: list[tuple[str, str]]) -> str:
        advice = f"set {self._setting(*fitting[0])}"
        if fitting[0][0] == "sequential" and SETTINGS[-1] in fitting:
            advice += f", or {self._setting(*SETTINGS[-1])}, which is faster and changes images a little"
        return advice

    def _setting(self, offload: str, weights: str) -> str:
        reduced = "" if weights == "auto" else f' and weights = "{weights}"'
        return f'offload = "{offload}"{reduced} (needs {in_words(self.needed_bytes(offload, weights))})'


def plan_of(spec: ModelSpec, *, on_gpu: bool = True) -> MemoryPlan | None:
    """The plan for ``spec``; ``None`` if its files are not on this machine, or cannot be read.

    Args:
        on_gpu: whether ``dtype = "auto"`` is that of a GPU.
    """
    place = place_of(spec)
    if place is None or not place.exists() or not is_on_disk(spec):
        return None
    try:
        found = list(_tensors(spec, place))
        return _plan(spec, found, _config(place / "vae" / "config.json"), _dtype(spec, on_gpu))
    except (ModelUnavailable, OSError, ValueError, KeyError):  # the load says what is wrong
        return None


def _plan(spec: ModelSpec, found: list[_Tensor], vae_config: Mapping[str, Any], dtype: str) -> MemoryPlan:
    item = _ITEM_BYTES[dtype]
    upcasts = dtype == "float16" and spec.family in (SDXL, SDXL_REFINER) and vae_config.get("force_upcast", True)
    items = {Part.TEXT_ENCODERS: item, Part.DENOISER: item, Part.VAE: 4 if upcasts else item}
    sizes, layers, reduced = Counter[Part](), Counter[str](), Counter[str]()
    matrices = {each.layer for each in found if each.name.endswith(".weight") and len(each.shape) > 1}
    for each in found:
        is_wide = each.part is Part.TEXT_ENCODERS and dtype == "float16" and _KEPT_WIDE.search(each.name) is not None
        size = each.size_bytes(4 if is_wide else items[each.part])
        sizes[each.part] += size
        layers[each.layer] += size
        if each.part is Part.DENOISER:
            reduced.update({weights: _reduced(each, weights, size, matrices) for weights in WEIGHTS[1:]})
    width, height = spec.drawn_size(spec.defaults.width, spec.defaults.height)
    area, inputs = width * height, 1 if spec.family == FLUX else 2
    tile = vae_config.get("sample_size", 512) ** 2 if spec.vae_tiling else area
    return MemoryPlan(
        text_encoders=sizes[Part.TEXT_ENCODERS],
        denoiser=sizes[Part.DENOISER],
        reduced_denoisers=reduced,
        vae=sizes[Part.VAE],
        largest_layer=max(layers.values(), default=0),
        denoising=DENOISER_NUMBERS[spec.family] * inputs * area * item,
        decoding=DECODER_NUMBERS * min(area, tile) * items[Part.VAE],
    )


def _reduced(tensor: _Tensor, weights: str, size: int, matrices: set[str]) -> int:
    """The bytes of a tensor with a value of ``weights``; it has ``size`` bytes without one."""
    layer, _, kind = tensor.name.rpartition(".")
    if weights in QUANTIZATIONS:
        _, block, block_bytes = QUANTIZATIONS[weights]
        fits = kind == "weight" and len(tensor.shape) == 2 and tensor.shape[1] % block == 0
        is_quantized = fits and _NOT_QUANTIZED.match(layer.removeprefix(_UNET_PREFIX)) is None
        return prod(tensor.shape) // block * block_bytes if is_quantized else size
    is_cast = kind in ("weight", "bias") and tensor.layer in matrices and _NOT_REDUCED.search(layer) is None
    return prod(tensor.shape) if is_cast else size


def _dtype(spec: ModelSpec, on_gpu: bool) -> str:
    if spec.dtype != "auto":
        return spec.dtype
    half = "bfloat16" if FAMILIES[spec.family].trained_on == FLOW_MATCHING else "float16"
    return half if on_gpu else "float32"


def _config(path: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def _tensors(spec: ModelSpec, place: Path) -> Iterator[_Tensor]:
    """Those of the model at ``place``, with those of its own denoiser instead of the pipeline's."""
    pipeline = _in_file(place) if place.is_file() else _in_folder(place)
    if spec.denoiser is None:
        yield from pipeline
        return
    yield from (each for each in pipeline if each.part is not Part.DENOISER)
    yield from _in_denoiser(spec.denoiser)


def _in_folder(folder: Path) -> Iterator[_Tensor]:
    variant = variant_of(folder)
    for component in sorted(folder.iterdir()):
        if _COMPONENTS.fullmatch(component.name):
            shapes = {name: shape for file in weight_files(component, variant) for name, shape in _shapes(file)}
            for name, shape in shapes.items():
                if _TIED.get(name) not in shapes:
                    layer = f"{component.name}.{name.rpartition('.')[0]}"
                    yield _Tensor(part_named(component.name), layer, name, shape)


def _in_file(file: Path) -> Iterator[_Tensor]:
    for name, shape in _shapes(file):
        part = next((part for beginning, part in _IN_FILES if name.startswith(beginning)), Part.DENOISER)
        yield _Tensor(part, name.rpartition(".")[0], name, shape)


def _in_denoiser(file: Path) -> Iterator[_Tensor]:
    """Of a file with a denoiser alone, in which linear layers may be quantised."""
    for name, tensor in read_header(file).items():
        if name != "__metadata__":
            begin, end = tensor["data_offsets"]
            stays = tensor["dtype"] in _QUANTIZED and len(tensor["shape"]) == 2
            size_bytes = end - begin if stays else None
            yield _Tensor(Part.DENOISER, name.rpartition(".")[0], name, tuple(tensor["shape"]), size_bytes)


def _shapes(file: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The names and shapes of the tensors of floats in a file."""
    for name, tensor in read_header(file).items():
        if name != "__metadata__" and str(tensor["dtype"]).startswith(("F", "BF")):
            yield name, tuple(tensor["shape"])
