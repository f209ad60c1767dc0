"""Tiny denoisers in files of their own, quantised or not, under the names that their authors give to weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import gguf
import numpy as np
import torch
from diffusers import FluxTransformer2DModel, UNet2DConditionModel
from safetensors.torch import save_file

from tests.tiny.single_files import original_unet

Q8_0 = gguf.GGMLQuantizationType.Q8_0


def unet_weights(pipeline_folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of the UNet in ``pipeline_folder``, as they are called in a file without the rest."""
    unet = UNet2DConditionModel.from_pretrained(pipeline_folder, subfolder="unet")
    return dict(original_unet(unet.state_dict()))


def flux_weights(pipeline_folder: Path) -> dict[str, torch.Tensor]:
    """The same of a transformer of FLUX.1, under diffusers' names: it converts the authors' ones at full width only."""
    return dict(FluxTransformer2DModel.from_pretrained(pipeline_folder, subfolder="transformer").state_dict())


def write_gguf(
    file: Path,
    weights: Mapping[str, torch.Tensor],
    quantization: gguf.GGMLQuantizationType = Q8_0,
    only: Collection[str] | None = None,
) -> Path:
    """Write ``weights`` as published files have them: matrices are quantised where their width allows it.

    Args:
        file: where to.
        weights: by name.
        quantization: of the matrices.
        only: the names of those that are quantised; all others are written in full then.
    """
    writer = gguf.GGUFWriter(file, "tiny")
    block, _ = gguf.GGML_QUANT_SIZES[quantization]
    for name, tensor in weights.items():
        numbers = tensor.float().numpy()
        if name in only if only is not None else numbers.ndim == 2 and numbers.shape[1] % block == 0:
            writer.add_tensor(name, gguf.quants.quantize(numbers, quantization), raw_dtype=quantization)
        else:
            writer.add_tensor(name, numbers.astype(np.float16) if numbers.ndim == 4 and only is None else numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def write_safetensors(file: Path, weights: Mapping[str, torch.Tensor]) -> Path:
    """Write ``weights`` as they are."""
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, file)
    return file
