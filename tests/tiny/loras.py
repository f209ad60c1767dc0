"""Tiny LoRAs for tiny pipelines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from safetensors.torch import save_file


def build_tiny_lora(
    file: Path,
    pipeline_folder: Path,
    *,
    seed: int = 0,
    rank: int = 4,
    parts: Sequence[str] = ("unet", "text_encoder", "text_encoder_2"),
    kohya: bool = False,
) -> Path:
    """Write a LoRA for all attention in the ``parts`` of a tiny pipeline.

    Args:
        file: where to, a ``.safetensors``.
        pipeline_folder: what one of the builders wrote.
        seed: of the weights; another seed is another LoRA.
        rank: of each update.
        parts: which modules it is for; those that the pipeline does not have are left out.
        kohya: write kohya-ss's names, which are LDM's for SDXL, and alphas that differ by layer; the LoRA is the same.
    """
    torch.manual_seed(seed)
    pipeline = DiffusionPipeline.from_pretrained(pipeline_folder)
    weights: dict[str, torch.Tensor] = {}
    for part, name, layer in _attention_layers(pipeline, parts):
        down = torch.randn(rank, layer.in_features) / layer.in_features**0.5
        up = torch.randn(layer.out_features, rank) / rank**0.5
        if kohya:
            key = _kohya_name(part, name, pipeline)
            scale = 2.0 ** -(len(weights) % 4)
            weights |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up / scale}
            weights[f"{key}.alpha"] = torch.tensor(rank * scale)
        else:
            weights |= {f"{part}.{name}.lora_A.weight": down, f"{part}.{name}.lora_B.weight": up}
    save_file(weights, file)
    return file


def _attention_layers(pipeline: Any, parts: Sequence[str]) -> Iterator[tuple[str, str, torch.nn.Linear]]:
    """The part, the name in it, and the layer."""
    endings = ("to_q", "to_k", "to_v", "to_out.0", "q_proj", "k_proj", "v_proj", "out_proj")
    for part in parts:
        module = getattr(pipeline, part, None)
        for name, layer in module.named_modules() if module is not None else ():
            if name.endswith(endings):
                yield part, name, layer


def _kohya_name(part: str, name: str, pipeline: Any) -> str:
    is_sdxl = hasattr(pipeline, "text_encoder_2")
    if part != "unet":
        prefix = {"text_encoder": "te1" if is_sdxl else "te", "text_encoder_2": "te2"}[part]
        return f"lora_{prefix}_text_model_{name.removeprefix('text_model.')}".replace(".", "_")
    if is_sdxl:
        per_block = pipeline.unet.config.layers_per_block + 1
        name = re.sub(r"^mid_block\.attentions\.0", "middle_block.1", name)
        name = re.sub(r"^down_blocks\.(\d)\.attentions\.(\d)",
                      lambda at: f"input_blocks.{int(at[1]) * per_block + int(at[2]) + 1}.1", name)  # fmt: skip
        name = re.sub(r"^up_blocks\.(\d)\.attentions\.(\d)",
                      lambda at: f"output_blocks.{int(at[1]) * per_block + int(at[2])}.1", name)  # fmt: skip
    return f"lora_unet_{name}".replace(".", "_")
