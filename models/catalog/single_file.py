"""Recognises the family of a ``.safetensors`` checkpoint by the tensor names in its header."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from models.catalog.families import FLUX, SD3, SDXL, SDXL_REFINER, STABLE_DIFFUSION
from models.catalog.weights import read_header
from models.errors import ModelUnavailable

_MARKS = (
    ("double_blocks.0.img_attn.", FLUX),
    ("joint_blocks.0.", SD3),
    ("conditioner.embedders.1.", SDXL),
    ("conditioner.embedders.0.model.", SDXL_REFINER),
    ("cond_stage_model.", STABLE_DIFFUSION),
)
"""Beginnings of tensor names in the authors' layout, after an optional :data:`_PREFIX`; the first match decides."""
_PREFIX = "model.diffusion_model."
_V_PREDICTION = "v_pred"
"""The name of an empty tensor with which trainers mark files (ComfyUI and reForge read the same mark)."""
_PREDICTIONS = {"v": "v_prediction", "v_prediction": "v_prediction", "epsilon": "epsilon"}
"""By the values of ``modelspec.prediction_type`` (https://github.com/Stability-AI/ModelSpec)."""


def tensor_names(file: Path) -> frozenset[str]:
    """The names of all tensors in a ``.safetensors`` file; only its header is read.

    Raises:
        ModelUnavailable: the file cannot be read, is in another format, or its end is missing.
    """
    try:
        return frozenset(read_header(file).keys() - {"__metadata__"})
    except ModelUnavailable as error:
        raise ModelUnavailable(f"{file} cannot be read: {error}") from error


def family_of(file: Path) -> str | None:
    """The family of the checkpoint in ``file``, or ``None`` if it is of no supported family.

    Raises:
        ModelUnavailable: as :func:`tensor_names`.
    """
    return family_among(tensor_names(file))


def family_among(names: Iterable[str]) -> str | None:
    """The family of the checkpoint whose tensors have these ``names``, or ``None`` if it is of no supported family."""
    bare = [name.removeprefix(_PREFIX) for name in names]
    found = (family for mark, family in _MARKS if any(name.startswith(mark) for name in bare))
    return next(found, None)


def marked_prediction(header: Mapping[str, Any]) -> str | None:
    """What the header of a file says that its UNet predicts: ``epsilon``, ``v_prediction`` or ``None``, if nothing."""
    if _V_PREDICTION in header:
        return "v_prediction"
    metadata = header.get("__metadata__")
    said = metadata.get("modelspec.prediction_type") if isinstance(metadata, dict) else None
    return _PREDICTIONS.get(said) if isinstance(said, str) else None
