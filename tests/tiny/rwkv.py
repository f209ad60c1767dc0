"""Small random checkpoints of RWKV, of every version and in any size, as its authors lay them out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from models.language.rwkv.model import VERSIONS
from models.language.rwkv.weights import TOP_SHAPES

HEAD_SIZE = 64
_RANK = 8
_VARIABLE = {"m": 4, "d": 16, "w": _RANK, "a": _RANK, "v": _RANK, "g": _RANK}


def checkpoint(
    version: str, *, width: int = 128, layers: int = 2, vocabulary: int = 257, seed: int = 0
) -> dict[str, Tensor]:
    """The tensors of a model whose state and last tokens both influence the noise that it generates.

    The token 0, which ends a text, is never the likeliest.
    """
    sizes = {"V": vocabulary, "C": width, "H": width // HEAD_SIZE, "N": HEAD_SIZE, "F": 3 * width, **_VARIABLE}
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: _values(name, [_size(part, sizes) for part in shape.split()], generator)
        for name, shape in _shapes(version, layers)
    }
    tensors["head.weight"][0] = 0
    return tensors


def save(path: Path, version: str, *, layers: int = 2, **sizes: int) -> Path:
    """Write such a checkpoint to the file ``path``."""
    torch.save(checkpoint(version, layers=layers, **sizes), path)
    return path


def _shapes(version: str, layers: int) -> Iterator[tuple[str, str]]:
    yield from TOP_SHAPES.items()
    for layer in range(layers):
        for name, shape in VERSIONS[version].SHAPES.items():
            yield f"blocks.{layer}.{name}", shape


def _size(part: str, sizes: dict[str, int]) -> int:
    digits, letter = re.fullmatch(r"(\d*)(\w*)", part).groups()
    return int(digits or 1) * sizes.get(letter, 1)


def _values(name: str, shape: list[int], generator: torch.Generator) -> Tensor:
    noise = torch.randn(shape, generator=generator)
    if name.endswith("ln_x.weight") or re.search(r"ln\w+\.weight$", name):
        return 1 + 0.1 * noise
    if re.search(r"time_mix|time_maa_[xwkvrg]$|att\.x_|ffn\.x_k|k_a$", name):
        return torch.rand(shape, generator=generator)
    if re.search(r"time_decay$|att\.w0$", name):
        return noise - 1
    if len(shape) == 2 and "time_faaaa" not in name and "r_k" not in name:
        return noise * (1.0 if name == "emb.weight" else 1.5 / shape[-1] ** 0.5)
    return 0.3 * noise
