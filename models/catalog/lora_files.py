"""What the names and shapes of the tensors in a LoRA's file tell: whether it can be used, and with which models."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.catalog.families import FLUX, SDXL, STABLE_DIFFUSION
from models.catalog.weights import SAFETENSORS, file_problem, read_header
from models.errors import ModelUnavailable

_LORA_KEY = re.compile(r"lora.*[._](up|down|A|B)\.(weight|bias)$|\.alpha$")
_HALF = re.compile(r"(.*)[._](up|down|A|B)\.weight")
_HALVES = {"up": "up", "B": "up", "down": "down", "A": "down"}
RANK_MAX = 16_384
"""More than any layer of a supported family has inputs."""
_OTHER_TYPES = (
    (re.compile(r"dora_scale|lora_magnitude"), "a DoRA"),
    (re.compile(r"\.hada_"), "a LoHa"),
    (re.compile(r"\.lokr_"), "a LoKr"),
    (re.compile(r"\.(oft_|boft_)"), "an OFT"),
    (re.compile(r"\.(diff|diff_b|set_weight)$|\.on_input$|\.w_norm$"), "of LyCORIS's full or (IA)3 type"),
    (re.compile(r"^(model\.diffusion_model|first_stage_model|cond_stage_model|conditioner)\."), "a whole checkpoint"),
    (re.compile(r"^(emb_params|clip_[lg])$|^string_to_param"), "a textual-inversion embedding"),
)
"""What a file is whose tensors are not those of a plain LoRA."""
_MARKS: tuple[tuple[re.Pattern[str], str | None], ...] = (
    (re.compile(r"double_blocks|single_transformer_blocks"), FLUX),
    (re.compile(r"joint_blocks|^transformer\.|^lora_transformer"), None),
    (re.compile(r"^lora_te2_|^text_encoder_2\."), SDXL),
)
"""Tensor names that only LoRAs of one family have, the first match decides; ``None`` if several families do."""
_DENOISER_KEY = re.compile(r"^(lora_unet_|unet\.).*attn2[._]to_k[._].*(down|lora_A|lora\.down)\.weight$")
_FAMILIES_BY_WIDTH: Mapping[int, str] = MappingProxyType({768: STABLE_DIFFUSION, 1024: STABLE_DIFFUSION, 2048: SDXL})
"""The family by the width of the text states that the UNet attends to."""


@dataclass(frozen=True)
class LoraFile:
    """What the header of a LoRA's file tells."""

    problem: str | None
    """Why it cannot be used, without its path; ``None`` if it can, as far as is known."""
    family: str | None
    """The family of models that it was certainly made for; ``None`` if its file does not tell."""


def look_at(path: Path) -> LoraFile:
    """The LoRA at ``path``; a file that did not change is read once."""
    try:
        status = path.stat()
    except OSError as error:
        return LoraFile(f"its file cannot be read: {error.strerror}", None)
    return _look_at(path, status.st_mtime_ns, status.st_size)


@lru_cache(8192)
def _look_at(path: Path, modified_at_ns: int, size_bytes: int) -> LoraFile:
    try:
        names = tensor_names(path)
    except ModelUnavailable as error:
        return LoraFile(str(error), None)
    header = read_header(path)
    return LoraFile(_pairs_problem({name: header[name]["shape"] for name in names}), _family_in(header))


def tensor_names(path: Path) -> list[str]:
    """The names of the tensors in a LoRA's file, all of which are those of a plain LoRA.

    Raises:
        ModelUnavailable: the file cannot be read, or holds something else; the message has no path.
    """
    if path.suffix.lower() != SAFETENSORS:
        raise ModelUnavailable(file_problem(path) or f"it is no {SAFETENSORS} file")
    names = [name for name in read_header(path) if name != "__metadata__"]
    foreign = [name for name in names if not _LORA_KEY.search(name)]
    if foreign or not names:
        raise ModelUnavailable(_not_plain(foreign))
    return names


def _pairs_problem(shapes: Mapping[str, list[int]]) -> str | None:
    """What is wrong with the two matrices of each layer: one is missing, or their ranks are none or differ."""
    pairs: defaultdict[str, dict[str, list[int]]] = defaultdict(dict)
    for name, shape in shapes.items():
        half = _HALF.fullmatch(name)
        if half is not None:
            pairs[half[1]][_HALVES[half[2]]] = shape
        elif name.endswith(".alpha") and prod(shape) != 1:
            return f"its alpha {name[:100]!r} is no single number: its shape is {shape}"
    problems = (_pair_problem(layer[:100], pair) for layer, pair in pairs.items())
    return next(filter(None, problems), None)


def _pair_problem(layer: str, pair: Mapping[str, list[int]]) -> str | None:
    if len(pair) != 2:
        return f"of its layer {layer!r} one of the two matrices is missing"
    up, down = pair["up"], pair["down"]
    if min(len(up), len(down)) < 2 or 0 in (*up, *down):
        return f"its layer {layer!r} has no matrices: their shapes are {up} and {down}"
    if up[1] != down[0]:
        return f"the ranks in its layer {layer!r} differ: {up[1]} up and {down[0]} down"
    return None if up[1] <= RANK_MAX else f"its layer {layer!r} has the rank {up[1]}; the largest is {RANK_MAX}"


def _not_plain(foreign: list[str]) -> str:
    if not foreign:
        return "its file holds no tensors"
    advice = "only plain LoRAs can be used, no DoRA, LoHa, LoKr or other weights"
    kind = next((kind for mark, kind in _OTHER_TYPES if any(mark.search(name) for name in foreign)), None)
    return f"it holds {foreign[0][:100]!r}; {advice}" if kind is None else f"it is {kind}; {advice}"


def _family_in(header: Mapping[str, Any]) -> str | None:
    marked = (family for mark, family in _MARKS if any(mark.search(name) for name in header))
    widths = (_width(tensor) for name, tensor in header.items() if _DENOISER_KEY.search(name))
    return next(marked, _FAMILIES_BY_WIDTH.get(next(widths, 0)))


def _width(tensor: Any) -> int:
    shape = tensor.get("shape") if isinstance(tensor, dict) else None
    return shape[1] if isinstance(shape, list) and len(shape) > 1 and isinstance(shape[1], int) else 0
