"""The family of a diffusers pipeline, told by its ``model_index.json``: the class of the pipeline, and its parts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.catalog.families import FAMILIES, FLUX, PIXART_SIGMA, SD3, SDXL, SDXL_REFINER, STABLE_DIFFUSION
from models.errors import ModelUnavailable, quoted

INDEX = "model_index.json"
_DENOISERS = ("unet", "transformer")
_CLASSES: Mapping[str, str] = MappingProxyType({
    **dict.fromkeys(
        ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"),
        STABLE_DIFFUSION,
    ),
    **dict.fromkeys(
        ("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"), SDXL
    ),
    **dict.fromkeys(
        ("StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline"), SD3
    ),
    **dict.fromkeys(("FluxPipeline", "FluxImg2ImgPipeline", "FluxInpaintPipeline"), FLUX),
    "PixArtSigmaPipeline": PIXART_SIGMA,
})  # fmt: skip
"""The family of each class of pipelines in diffusers; several classes run the same models."""


def read_index(text: str) -> Mapping[str, Any]:
    """The contents of a ``model_index.json``.

    Raises:
        ModelUnavailable: it is no JSON object.
    """
    try:
        index = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelUnavailable(f"its {INDEX} is no JSON") from error
    if not isinstance(index, dict):
        raise ModelUnavailable(f"its {INDEX} is no JSON object")
    return index


def index_in(folder: Path) -> Mapping[str, Any]:
    """The contents of the ``model_index.json`` in ``folder``.

    Raises:
        ModelUnavailable: it cannot be read, or is no JSON object.
    """
    try:
        return read_index((folder / INDEX).read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise ModelUnavailable(f"its {INDEX} cannot be read: {error.strerror}") from error


def family_of_pipeline(index: Mapping[str, Any]) -> str:
    """The family of the pipeline that ``index`` describes.

    Raises:
        ModelUnavailable: no family runs pipelines of its class.
    """
    name = index.get("_class_name")
    family = _CLASSES.get(name) if isinstance(name, str) else None
    if family is None:
        what = f"of the class {quoted(name)}" if isinstance(name, str) else "of no class"
        raise ModelUnavailable(f"its {INDEX} is {what}, which no family runs; there are: {', '.join(_CLASSES)}")
    return SDXL_REFINER if family == SDXL and _is_refiner(index) else family


def _is_refiner(index: Mapping[str, Any]) -> bool:
    """SDXL's refiner is conditioned on aesthetic scores, and has only the second of SDXL's text encoders."""
    return index.get("requires_aesthetics_score") is True or index.get("text_encoder") == [None, None]


def denoiser_problem(index: Mapping[str, Any], family: str) -> str | None:
    """Why ``family`` cannot run the denoiser of the pipeline that ``index`` describes; ``None`` if it can."""
    found = next((_class_of(index[part]) for part in _DENOISERS if part in index), None)
    known = {} if found is None else FAMILIES
    families = [name for name, facts in known.items() if found in (facts.denoiser, facts.older_denoiser)]
    if family in families:
        return None
    fitting = " or ".join(f'"{name}"' for name in families)
    advice = f"set family = {fitting}" if fitting else "no family has this denoiser"
    return f"its denoiser is {found or 'missing'}; {advice}"


def _class_of(part: Any) -> str | None:
    """The class of a part, which ``model_index.json`` lists as its library and its class."""
    is_listed = isinstance(part, list) and len(part) == 2 and isinstance(part[1], str)
    return part[1] if is_listed else None
