"""The fields of Prodia's v1 as clients really fill them, and what they mean in our words."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

from models.catalog.bounds import SIZE_MULTIPLE_PX
from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import FAMILIES, SDXL
from models.catalog.preprocessors import Threshold
from models.jobs.params import SEED_MAX
from models.jobs.sources import is_url

_WIDEST_SEED = 2**64
"""Seeds from here on are refused; clients draw theirs from up to 64 bits."""
_SECOND_PASS = re.compile(r"second_pass(\..*)?")
_WIRE_NAMES = {
    "num_inference_steps": "steps",
    "guidance_scale": "cfg_scale",
    "image": "imageUrl",
    "strength": "denoising_strength",
    "mask": "maskUrl",
    "mask.image": "maskUrl",
    "mask.blur_px": "mask_blur",
    "controls": "controlnet_model",
    "controls[0].model": "controlnet_model",
    "controls[0].image": "imageUrl",
    "controls[0].preprocessor": "controlnet_module",
    "scale": "resize",
    "upscaler": "model",
    "kind": "request",
}


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Whole = Annotated[int | None, BeforeValidator(_no_boolean)]
"""A whole number; it may come as a string, or as a float without a fraction."""
Number = Annotated[float | None, BeforeValidator(_no_boolean)]
"""Any number; it may come as a string."""


def wire_name(field: str) -> str:
    """What Prodia calls the parameter ``field``."""
    return "upscale" if _SECOND_PASS.fullmatch(field) else _WIRE_NAMES.get(field, field)


def seed_of(seed: int | None) -> int | None:
    """The seed to draw with: none for a negative one, the lowest 53 bits of one that is too large for us."""
    if seed is None or seed < 0:
        return None
    return seed & SEED_MAX if seed < _WIDEST_SEED else seed


def side_of(size_px: int | None, model: ModelSpec) -> int | None:
    """A side that ``model`` can draw: rounded down to its grid, and up to the smallest one that it draws."""
    if size_px is None or size_px < 1:
        return size_px
    facts = FAMILIES.get(model.family)
    grid_px = SIZE_MULTIPLE_PX if facts is None else facts.size_multiple_px
    smallest_px = -(-model.limits.min_px // grid_px) * grid_px
    return max(size_px // grid_px * grid_px, smallest_px)


def image_of(url: str | None, data: str | None) -> str | None:
    """The source of an image that is given as a URL or as Base64, which may be broken into lines."""
    given = (url or data or "").strip()
    return given if is_url(given) else "".join(given.split()) or None


def threshold_of(value: float | None, threshold: Threshold | None) -> float | None:
    """``value`` where it means something to the module; clients send canny's 100 and 200 with all of them."""
    if value is None or threshold is None or not threshold.low <= value <= threshold.high:
        return None
    return value


def model_of(name: str | None, catalog: Catalog, *, is_sdxl: bool) -> ModelSpec:
    """The model that ``name`` means, or what stands for unknown names: of SDXL's family if the catalog has one."""
    usual = catalog.resolve_any(name)
    if not is_sdxl or (name is not None and catalog.resolve(name) is not None):
        return usual
    return next((spec for spec in (usual, *catalog.values()) if spec.family == SDXL), usual)
