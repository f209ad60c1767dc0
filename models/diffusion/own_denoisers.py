"""A denoiser in a file of its own, which takes the place of its pipeline's: plain weights, or quantised ones (GGUF).

diffusers' GGUF quantizer keeps the weights of linear layers as they are in the file, and widens each layer's by itself
when it computes, so that the output for one input does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import diffusers
import torch
from safetensors.torch import load_file
from torch import nn

from models.catalog.catalog import ModelSpec
from models.catalog.families import FAMILIES
from models.diffusion.families.family import Family

_UNET_PREFIX = "model.diffusion_model."
_UNET_BLOCKS = ("input_blocks.", "middle_block.", "output_blocks.", "time_embed.", "label_emb.", "out.")
"""Beginnings of the original names of a UNet's tensors; diffusers reads them only after the prefix of checkpoints."""


def read_own_denoiser(
    spec: ModelSpec, family: Family, config: Mapping[str, Any], dtype: torch.dtype
) -> dict[str, nn.Module]:
    """The denoiser of ``spec`` by the name of its part, on the CPU; empty if the pipeline's own is meant.

    Args:
        config: arguments of diffusers that say where the configurations of the pipeline are.
        dtype: in which it computes, and of all weights that are not quantised.

    Raises what diffusers raises.
    """
    if spec.denoiser is None:
        return {}
    model_class = getattr(diffusers, FAMILIES[spec.family].denoiser)
    options = {"subfolder": family.module, "dtype": dtype, **config}
    if spec.is_quantized:
        options["quantization_config"] = diffusers.GGUFQuantizationConfig(compute_dtype=dtype)
    denoiser: nn.Module = model_class.from_single_file(in_known_names(_weights(spec)), **options)
    if spec.is_quantized:
        _widen_what_is_not_linear(denoiser, dtype)
    return {family.module: denoiser}


def _weights(spec: ModelSpec) -> dict[str, torch.Tensor]:
    if not spec.is_quantized:
        return dict(load_file(str(spec.denoiser)))
    from diffusers.models.model_loading_utils import load_gguf_checkpoint  # it needs the package gguf

    weights: dict[str, torch.Tensor] = load_gguf_checkpoint(str(spec.denoiser))
    return weights


def in_known_names(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """``weights`` under the names that diffusers converts: a UNet's with the prefix that they have in checkpoints."""
    return {f"{_UNET_PREFIX}{name}" if name.startswith(_UNET_BLOCKS) else name: each for name, each in weights.items()}


def _widen_what_is_not_linear(denoiser: nn.Module, dtype: torch.dtype) -> None:
    """Widen quantised biases, norms, convolutions and embeddings, which diffusers would compute with as raw bytes."""
    from diffusers.quantizers.gguf.utils import GGUFLinear, GGUFParameter, dequantize_gguf_tensor

    for layer in denoiser.modules():
        for name, parameter in list(layer.named_parameters(recurse=False)):
            is_widened_later = isinstance(layer, GGUFLinear) and name == "weight"
            if isinstance(parameter, GGUFParameter) and not is_widened_later:
                wide = nn.Parameter(dequantize_gguf_tensor(parameter).to(dtype), requires_grad=False)
                setattr(layer, name, wide)
