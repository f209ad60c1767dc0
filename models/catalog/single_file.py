"""Recognises the family and the architecture of a ``.safetensors`` checkpoint by the tensors in its header."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
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
_CROSS_ATTENTION = re.compile(r"model\.diffusion_model\.(.+\.transformer_blocks\.\d+)\.attn2\.to_k\.weight")


@dataclass(frozen=True)
class UNetLayout:
    """Where the UNet of a published model has cross-attention; the UNets of distilled models have less of it."""

    family: str
    model: str
    """The name of the model, for people."""
    context_width: int
    """The width of the text states that it attends to."""
    depths: tuple[int, ...]
    """The transformer blocks in each attention of a level, from the largest images to the smallest."""
    middle_depth: int
    """The same for the block between the two halves."""
    layers: int = 2
    """The layers of each level on the way down; there is one more on the way up."""

    def blocks(self) -> Iterator[str]:
        """The names of the transformer blocks in the layout of the original code."""
        for level, depth in enumerate(self.depths):
            first_down = 1 + level * (self.layers + 1)
            first_up = (len(self.depths) - 1 - level) * (self.layers + 1)
            places = [f"input_blocks.{first_down + layer}" for layer in range(self.layers)]
            places += [f"output_blocks.{first_up + layer}" for layer in range(self.layers + 1)]
            yield from (f"{place}.1.transformer_blocks.{number}" for place in places for number in range(depth))
        yield from (f"middle_block.1.transformer_blocks.{number}" for number in range(self.middle_depth))


UNET_LAYOUTS = (
    UNetLayout(STABLE_DIFFUSION, "SD 1.x", 768, (1, 1, 1, 0), 1),
    UNetLayout(STABLE_DIFFUSION, "SD 2.x", 1024, (1, 1, 1, 0), 1),
    UNetLayout(SDXL, "SDXL", 2048, (0, 2, 10), 10),
    UNetLayout(SDXL_REFINER, "SDXL's refiner", 1280, (0, 4, 4, 0), 4),
)
"""Of the models whose configurations are part of Photogram."""


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


def configuration_problem(header: Mapping[str, Any], family: str) -> str | None:
    """Why the configurations of a checkpoint are unknown, so that they must be given; ``None`` if they are known.

    Those of a family without :data:`UNET_LAYOUTS` are asked of the model hub.
    """
    layouts = [layout for layout in UNET_LAYOUTS if layout.family == family]
    blocks = dict(_transformer_blocks(header))
    if not layouts or any(_is_laid_out(layout, blocks) for layout in layouts):
        return None
    models = " or ".join(layout.model for layout in layouts)
    return (
        f"its architecture is unknown: its UNet is not that of {models}; config (--config) must name a diffusers "
        "folder with the configurations and tokenizers of a model of the same kind (its weights are not needed)"
    )


def _is_laid_out(layout: UNetLayout, blocks: Mapping[str, int]) -> bool:
    return set(blocks.values()) == {layout.context_width} and blocks.keys() == set(layout.blocks())


def _transformer_blocks(header: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The transformer blocks of a UNet, and the width of the text states that each attends to."""
    for name, tensor in header.items():
        found = _CROSS_ATTENTION.fullmatch(name)
        if found is not None:
            yield found[1], tensor["shape"][-1]
