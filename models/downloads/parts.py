"""Which files of a diffusers pipeline are needed: its parts, and one set of weights for each."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from models.catalog.catalog import ModelSpec
from models.catalog.pipelines import INDEX
from models.errors import DownloadFailed

UNUSED_PARTS = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts of pipelines that no family uses."""
DENOISERS = ("unet", "transformer")
"""The part that is the denoiser; a pipeline has one of them."""
FP16 = "fp16"
_TEXTS = (".json", ".txt", ".model")
"""Suffixes of configurations and vocabularies."""
_BASE = r"(diffusion_pytorch_model|model)"
_SHARD = r"-\d+-of-\d+"
_PLAIN = re.compile(rf"{_BASE}({_SHARD})?\.safetensors(\.index\.json)?")
_HALF = re.compile(
    rf"{_BASE}(\.{FP16}({_SHARD})?|{_SHARD}\.{FP16})\.safetensors|{_BASE}\.safetensors\.index\.{FP16}\.json"
)
"""As diffusers names files, with the number of a shard after the variant, and in older repositories before it."""


def parts_of(index: Mapping[str, Any]) -> list[str]:
    """The folders of the parts that are loaded, of a ``model_index.json``."""
    return [
        name
        for name, entry in index.items()
        if isinstance(entry, list) and entry and entry[0] is not None and name not in UNUSED_PARTS
    ]


def own_file(spec: ModelSpec, part: str) -> Path | None:
    """The file that the weights of ``part`` are taken from in place of the pipeline's; ``None`` if there is none."""
    if part in DENOISERS:
        return spec.denoiser
    return spec.vae if part == "vae" else None


def reads_pipelines(spec: ModelSpec, part: str) -> bool:
    """Whether the pipeline's own weights of ``part`` are read; a VAE is read before another one replaces it."""
    return part not in DENOISERS or own_file(spec, part) is None


def weights_among(names: Collection[str], variant: str | None) -> list[str]:
    """The weights of one part among the ``names`` in its folder, with their index: those of ``variant``, or plain."""
    pattern = _PLAIN if variant is None else _HALF
    return sorted(name for name in names if pattern.fullmatch(name))


def needed_files(
    index: Mapping[str, Any], names: Collection[str], *, prefers_fp16: bool, with_denoiser: bool = True
) -> list[str]:
    """The files that are needed among the ``names`` of a repository, as paths with ``/``.

    Args:
        index: the contents of ``model_index.json``.
        prefers_fp16: whether a part with weights in both precisions is taken in half precision.
        with_denoiser: whether the denoiser's weights are needed; its configuration always is.

    Raises:
        DownloadFailed: a part has weights in other formats only.
    """
    found = [INDEX]
    for part in parts_of(index):
        inside = {name.removeprefix(f"{part}/") for name in names if name.startswith(f"{part}/")}
        order = (FP16, None) if prefers_fp16 else (None, FP16)
        weights = next(filter(None, (weights_among(inside, variant) for variant in order)), [])
        if not weights and any(name.endswith((".bin", ".msgpack", ".ckpt")) for name in inside):
            raise DownloadFailed(f"its {part} has no .safetensors weights, only formats that are not read (pickles)")
        if part in DENOISERS and not with_denoiser:
            weights = []
        texts = [name for name in inside if name.endswith(_TEXTS) and ".index." not in name and "/" not in name]
        found += [f"{part}/{name}" for name in sorted({*weights, *texts})]
    return found
