"""Recognises the family of a ``.safetensors`` checkpoint by the tensor names in its header."""

from __future__ import annotations

import json
from pathlib import Path

from models.catalog.families import FLUX, SD3, SDXL, SDXL_REFINER, STABLE_DIFFUSION
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
_LENGTH_BYTES = 8
_HEADER_MAX_BYTES = 100_000_000
"""The bound that the format sets."""


def tensor_names(file: Path) -> frozenset[str]:
    """The names of all tensors in a ``.safetensors`` file; only its header is read.

    The format: https://github.com/huggingface/safetensors#format.

    Raises:
        ModelUnavailable: the file cannot be read, or is in another format.
    """
    try:
        with file.open("rb") as opened:
            length_bytes = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
            header = json.loads(opened.read(length_bytes)) if length_bytes <= _HEADER_MAX_BYTES else None
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"{file} cannot be read: it is damaged", detail=str(error)) from error
    if not isinstance(header, dict):
        raise ModelUnavailable(f"{file} cannot be read: it is no .safetensors file")
    return frozenset(header.keys() - {"__metadata__"})


def family_of(file: Path) -> str | None:
    """The family of the checkpoint in ``file``, or ``None`` if it is of no supported family.

    Raises:
        ModelUnavailable: as :func:`tensor_names`.
    """
    names = [name.removeprefix(_PREFIX) for name in tensor_names(file)]
    found = (family for mark, family in _MARKS if any(name.startswith(mark) for name in names))
    return next(found, None)
