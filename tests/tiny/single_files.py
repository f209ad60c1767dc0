"""Tiny checkpoints in one file, under the names that the original Stable Diffusion code gives to weights."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from safetensors.torch import save_file

LAYERS_PER_BLOCK = 1
"""Of the tiny pipelines' UNets and VAEs."""
UNET, VAE, CLIP = "model.diffusion_model", "first_stage_model", "cond_stage_model.transformer"
"""The beginnings of the names of the parts of SD 1.x."""
_UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_OPEN_CLIP = {
    "positional_embedding": "embeddings.position_embedding.weight",
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_OPEN_CLIP_LAYERS = {
    "encoder.layers.": "resblocks.",
    "layer_norm": "ln_",
    ".fc1.": ".c_fc.",
    ".fc2.": ".c_proj.",
    ".self_attn": ".attn",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def build_tiny_file(file: Path, pipeline_folder: Path) -> Path:
    """Write the weights of a tiny pipeline into one file, as the original code would have them.

    Args:
        file: where to, a ``.safetensors``.
        pipeline_folder: what :func:`build_tiny_sd`, :func:`build_tiny_inpaint`, :func:`build_tiny_refiner`, or
            :func:`build_tiny_sdxl` with text encoders of two widths wrote.
    """
    pipeline: Any = DiffusionPipeline.from_pretrained(pipeline_folder)
    weights = {f"{UNET}.{name}": tensor for name, tensor in original_unet(pipeline.unet.state_dict())}
    weights |= {f"{VAE}.{name}": tensor for name, tensor in original_vae(pipeline.vae.state_dict())}
    parts = pipeline.components
    second = parts.get("text_encoder_2")
    if second is None:
        weights |= original_clip(parts["text_encoder"], CLIP)
    elif parts["text_encoder"] is None:
        weights |= original_open_clip(second, "conditioner.embedders.0.model")
    else:
        weights |= original_clip(parts["text_encoder"], "conditioner.embedders.0.transformer")
        weights |= original_open_clip(second, "conditioner.embedders.1.model")
    save_file(weights, file)
    return file


def original_clip(text_encoder: Any, prefix: str) -> dict[str, torch.Tensor]:
    weights = text_encoder.state_dict().items()
    return {f"{prefix}.text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in weights}


def original_open_clip(text_encoder: Any, prefix: str) -> dict[str, torch.Tensor]:
    weights = {name.removeprefix("text_model."): tensor for name, tensor in text_encoder.state_dict().items()}
    named = {f"{prefix}.{name}": weights.pop(theirs) for name, theirs in _OPEN_CLIP.items()}
    if "text_projection.weight" in weights:
        named[f"{prefix}.text_projection"] = weights.pop("text_projection.weight").T.contiguous()
    for name in list(weights):
        if ".q_proj." in name:
            fused = torch.cat([weights.pop(name.replace(".q_proj.", f".{part}_proj.")) for part in "qkv"])
            weights[re.sub(r"q_proj\.(.*)", r"in_proj_\1", name)] = fused
    for name, tensor in weights.items():
        for theirs, original in _OPEN_CLIP_LAYERS.items():
            name = name.replace(theirs, original)
        named[f"{prefix}.transformer.{name}"] = tensor
    return named


def original_unet(
    weights: Mapping[str, torch.Tensor], layers: int = LAYERS_PER_BLOCK
) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights of a UNet with so many ``layers`` per block, under their original names."""
    attentive = {name.split(".")[1] for name in weights if re.match(r"up_blocks\.\d\.attentions", name)}
    for name, tensor in weights.items():
        module, _, kind = name.rpartition(".")
        if module in _UNET:
            yield f"{_UNET[module]}.{kind}", tensor
        else:
            block, rest = _unet_block(module, layers, attentive)
            yield ".".join(part for part in (block, _renamed(rest, _RESNET), kind) if part), tensor


def _unet_block(module: str, layers: int, attentive: Collection[str]) -> tuple[str, str]:
    """The original name of the block that ``module`` is in, and the module's name in the block.

    Args:
        layers: how many each block has on the way down.
        attentive: the numbers of the blocks on the way up that have attention.
    """
    per_block = layers + 1
    match module.split(".", 4):
        case ["mid_block", "resnets", number, *rest]:
            return f"middle_block.{2 * int(number)}", ".".join(rest)
        case ["mid_block", "attentions", _, *rest]:
            return "middle_block.1", ".".join(rest)
        case ["down_blocks", block, "downsamplers", *_]:
            return f"input_blocks.{(int(block) + 1) * per_block}.0.op", ""
        case ["up_blocks", block, "upsamplers", *_]:
            return f"output_blocks.{int(block) * per_block + layers}.{1 + (block in attentive)}.conv", ""
        case ["down_blocks", block, part, number, *rest]:
            place = f"input_blocks.{int(block) * per_block + int(number) + 1}"
        case ["up_blocks", block, part, number, *rest]:
            place = f"output_blocks.{int(block) * per_block + int(number)}"
        case _:
            raise ValueError(f"unknown module {module!r}")
    return f"{place}.{int(part == 'attentions')}", ".".join(rest)


def original_vae(weights: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    levels = 1 + max(int(found[1]) for name in weights if (found := re.search(r"up_blocks\.(\d)", name)))
    for name, tensor in weights.items():
        module, _, kind = name.rpartition(".")
        module = module.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        module = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", module)
        module = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", module)
        module = re.sub(r"up_blocks\.(\d)\.resnets", lambda at: f"up.{levels - 1 - int(at[1])}.block", module)
        module = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda at: f"up.{levels - 1 - int(at[1])}.upsample", module)
        module = re.sub(r"mid_block\.resnets\.(\d)", lambda at: f"mid.block_{int(at[1]) + 1}", module)
        if "mid_block.attentions.0." in module:
            before, _, layer = module.partition("mid_block.attentions.0.")
            module = f"{before}mid.attn_1.{_renamed(layer, _VAE_ATTENTION)}"
            tensor = tensor[:, :, None, None] if tensor.ndim == 2 else tensor
        yield f"{module}.{kind}", tensor.contiguous()


def _renamed(module: str, names: Mapping[str, str]) -> str:
    return names.get(module, module)
