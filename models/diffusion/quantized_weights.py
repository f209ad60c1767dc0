"""Weights of a denoiser's linear layers quantised when it is loaded: ``weights = "int8"`` and ``"int4"``.

The formats are those of GGUF files: integers in blocks of 32 with a scale, ``Q8_0`` and ``Q4_0``. diffusers' layers for
such files compute with them, so that the image is the one that diffusers draws with a file of the same type, and so
that offloading and LoRAs work as with a file. Convolutions keep their dtype, and so do the embeddings of the inputs and
the last projection, as in published files.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from models.catalog.gguf_files import QUANTIZATIONS

_KEPT = re.compile(r"(\w*embed\w*|norm_out|proj_in|proj_out|adaln_single|caption_projection)(\.|$)")
"""Beginnings of the names of layers that are not quantised."""


def quantize_weights(denoiser: Any, weights: str, dtype: torch.dtype) -> None:
    """Quantise the linear layers of ``denoiser``, a model of diffusers on the CPU; in place.

    Args:
        weights: a key of :data:`~models.catalog.gguf_files.QUANTIZATIONS`.
        dtype: in which the layers compute.
    """
    name, block, _ = QUANTIZATIONS[weights]
    for path, layer in list(denoiser.named_modules()):
        if type(layer) is nn.Linear and layer.in_features % block == 0 and not _KEPT.match(path):
            parent, _, attribute = path.rpartition(".")
            setattr(denoiser.get_submodule(parent), attribute, _quantized(layer, name, dtype))


def _quantized(layer: nn.Linear, name: str, dtype: torch.dtype) -> nn.Module:
    import gguf
    from diffusers.quantizers.gguf.utils import GGUFLinear, GGUFParameter

    kind = gguf.GGMLQuantizationType[name]
    with torch.device("meta"):
        quantized: nn.Module = GGUFLinear(
            layer.in_features, layer.out_features, layer.bias is not None, compute_dtype=dtype
        )
    stored = torch.from_numpy(gguf.quants.quantize(layer.weight.detach().float().numpy(), kind))
    quantized.weight, quantized.bias = GGUFParameter(stored, quant_type=kind), layer.bias
    return quantized.requires_grad_(False).eval()
