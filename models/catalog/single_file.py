"""Recognises the family of a ``.safetensors`` checkpoint by the tensor names in its header."""

from __future__ import annotations

from pathlib import Path

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
    names = [name.removeprefix(_PREFIX) for name in tensor_names(file)]
    found = (family for mark, family in _MARKS if any(name.startswith(mark) for name in names))
    return next(found, None)
