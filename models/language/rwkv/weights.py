"""Reads checkpoints in the format of RWKV's authors, without executing code in them, and checks all shapes.

PhotogramError
└── BadWeights    the file is not a checkpoint of a supported version
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor

from models.errors import PhotogramError

TOP_SHAPES: Mapping[str, str] = {
    "emb.weight": "V C",
    "blocks.0.ln0.weight": "C",
    "blocks.0.ln0.bias": "C",
    "ln_out.weight": "C",
    "ln_out.bias": "C",
    "head.weight": "V C",
}
"""The tensors outside the layers, in the notation of :func:`check`."""
_SIZE = re.compile(r"(\d*)([A-Za-z]*)")
_NAMES_MAX = 3


class BadWeights(PhotogramError):
    """The file cannot be used; the message is one line and says why."""


def read(path: Path) -> dict[str, Tensor]:
    """The tensors in the file ``path``, memory-mapped.

    Raises:
        BadWeights: the file does not exist, or does not contain tensors.
    """
    if not path.is_file():
        raise BadWeights(f"there is no file {path}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # damaged files raise anything
        raise BadWeights(f"{path} cannot be read as a checkpoint ({type(error).__name__})") from error
    if not isinstance(found, dict) or not found:
        raise BadWeights(f"{path} contains no named tensors")
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            raise BadWeights(f"{path} contains something other than weights: {str(name)[:80]!r}")
    return found


def layer_count(names: Collection[str]) -> int:
    """The number of layers, from the names of a checkpoint's tensors."""
    return len({match[1] for name in names if (match := re.match(r"blocks\.(\d+)\.", name))})


def check(tensors: Mapping[str, Tensor], shapes: Mapping[str, str], optional: Collection[str] = ()) -> dict[str, int]:
    """Check that a checkpoint has exactly the expected tensors, and return its sizes by letter.

    A shape such as ``"5 m C"`` gives each dimension by a number, a letter, or both (``5m`` is five times ``m``).
    A capital letter is the same size in the whole checkpoint, a small letter in one layer.

    Args:
        tensors: The checkpoint.
        shapes: The tensors of each layer, by name; :data:`TOP_SHAPES` is added.
        optional: Tensors that the first layer may lack.

    Raises:
        BadWeights: a tensor is missing, unknown, or has the wrong shape.
    """
    expected = dict(TOP_SHAPES)
    for layer in range(layer_count(tensors)):
        expected |= {f"blocks.{layer}.{name}": shape for name, shape in shapes.items()}
    missing = expected.keys() - tensors.keys() - {f"blocks.0.{name}" for name in optional}
    _refuse("lacks", missing)
    _refuse("has unknown tensors:", tensors.keys() - expected.keys())
    sizes: dict[str, int] = {}
    for name in sorted(expected.keys() & tensors.keys()):
        _check_shape(name, tensors[name], expected[name].split(), sizes)
    if sizes["H"] * sizes["N"] != sizes["C"]:
        raise BadWeights(f"{sizes['H']} heads of {sizes['N']} do not match the width of {sizes['C']}")
    return {letter: size for letter, size in sizes.items() if letter.isupper()}


def _refuse(what: str, names: Collection[str]) -> None:
    if names:
        listed = ", ".join(sorted(names)[:_NAMES_MAX])
        more = f" and {len(names) - _NAMES_MAX} more" if len(names) > _NAMES_MAX else ""
        raise BadWeights(f"the checkpoint {what} {listed[:400]}{more}")


def _check_shape(name: str, tensor: Tensor, pattern: list[str], sizes: dict[str, int]) -> None:
    if len(tensor.shape) == len(pattern):
        fits = [_fits(name, size, part, sizes) for size, part in zip(tensor.shape, pattern, strict=True)]
        if all(fits):
            return
    known = " x ".join(str(sizes.get(part, part)) for part in pattern)
    raise BadWeights(f"{name} has the shape {' x '.join(map(str, tensor.shape))}; expected {known}")


def _fits(name: str, size: int, part: str, sizes: dict[str, int]) -> bool:
    """Whether ``size`` fits ``part`` of a shape; an unknown letter is added to ``sizes``."""
    match = _SIZE.fullmatch(part)
    assert match is not None, part
    times, letter = int(match[1] or 1), match[2]
    if not letter:
        return size == times
    key = letter if letter.isupper() else f"{name.rsplit('.', 2)[0]}.{letter}"
    return size > 0 and size == times * sizes.setdefault(key, size // times)
