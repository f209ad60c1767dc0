"""A device with a memory of its own, without a GPU: what is stored in the host's memory cannot be computed with there.

The host holds all numbers of the weights negated, and fetching a tensor negates it again. Whatever computes with
weights that were not fetched gives another image.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from models.catalog.gguf_files import QUANTIZATIONS
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.checkpoint_loading import load_checkpoint, place
from models.diffusion.parts import Part
from models.diffusion.placement import parts_of
from models.diffusion.quantized_weights import quantize_weights
from models.diffusion.reduced_weights import reduce_weights, widen_in_forwards
from tests.models.diffusion.rig import CPU, spec_of


@dataclass
class FarMemory:
    """Fetches tensors, and notes their sizes in bytes."""

    fetched: list[int] = field(default_factory=list)

    def fetch(self, stored: torch.Tensor) -> torch.Tensor:
        self.fetched.append(stored.nbytes)
        return negated(stored)


def negated(tensor: torch.Tensor) -> torch.Tensor:
    """Exact in every dtype; bytes of quantised weights are inverted."""
    if tensor.dtype == torch.uint8:
        return ~tensor
    return (-tensor.to(torch.float64)).to(tensor.dtype)


def open_far(folder: Path, family: str, offload: str, weights: str = "auto") -> tuple[Checkpoint, FarMemory]:
    """The checkpoint in ``folder`` with its weights offloaded, and the memory that they are fetched to."""
    checkpoint = load_checkpoint(spec_of(folder, family=family), CPU)
    components, denoiser = checkpoint.pipeline.components, getattr(checkpoint.pipeline, checkpoint.family.module)
    if weights == "fp8":
        reduce_weights(denoiser)
    elif weights in QUANTIZATIONS:
        quantize_weights(denoiser, weights, checkpoint.dtype)
    for tensor in {id(each): each for part in Part for each in tensors_of(checkpoint, part)}.values():
        tensor.data = negated(tensor.data)
    memory = FarMemory()
    placement = place(components, offload, checkpoint.dtype, CPU, memory.fetch)
    widen_in_forwards(denoiser, checkpoint.dtype)
    spec = replace(checkpoint.spec, offload=offload, weights=weights)
    return replace(checkpoint, spec=spec, placement=placement), memory


def tensors_of(checkpoint: Checkpoint, part: Part) -> list[torch.Tensor]:
    """The parameters and buffers of one part, each once."""
    modules: list[nn.Module] = parts_of(checkpoint.pipeline.components)[part]
    return [each for module in modules for each in (*module.parameters(), *module.buffers())]
