"""Files of weights in the safetensors format, made without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path

from models.catalog.single_file import UNET_LAYOUTS

BYTES = {"I64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "F4": 0}
"""Of a number of each dtype. F4 has no bytes here, since readers do not check its sizes: a file is a header alone."""
LORA = {"unet.x.attn2.to_k.lora_A.weight": [4, 8], "unet.x.attn2.to_k.lora_B.weight": [8, 4]}


def safetensors(
    shapes: Mapping[str, list[int]],
    missing: int = 0,
    dtype: str = "F32",
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """A file of zeros with these tensors, without its last ``missing`` bytes."""
    start, size = _header(shapes, dtype, metadata)
    whole = start + bytes(size)
    return whole[: len(whole) - missing]


def write_sparse(file: Path, shapes: Mapping[str, list[int]], dtype: str) -> Path:
    """Write a file of zeros with these tensors, which are a hole that takes no space on the disk."""
    start, size = _header(shapes, dtype)
    with file.open("wb") as opened:
        opened.write(start)
        opened.truncate(len(start) + size)
    return file


def _header(
    shapes: Mapping[str, list[int]], dtype: str, metadata: Mapping[str, str] | None = None
) -> tuple[bytes, int]:
    """How a file with these tensors starts, and how many bytes of tensors follow."""
    header: dict[str, object] = {} if metadata is None else {"__metadata__": dict(metadata)}
    place = 0
    for name, shape in shapes.items():
        size = BYTES[dtype] * prod(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text, place


def write(file: Path, content: Mapping[str, list[int]] | bytes) -> Path:
    """Write a file of zeros with these tensors, or of these bytes, and the folders around it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else safetensors(content))
    return file


LORA_FILE = safetensors(LORA)
"""The smallest file that is a LoRA by its header."""

ATTENTION = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
BIG_G, CLIP_L = "conditioner.embedders.1.model.ln_final.bias", "conditioner.embedders.0.transformer.x"
OPEN_CLIP = "conditioner.embedders.0.model.ln_final.bias"


def checkpoint(text: str, width: int, channels: int = 4) -> dict[str, list[int]]:
    """The tensors by which a checkpoint in its authors' layout is recognised, with ``text`` of the text encoder."""
    blocks = next(layout.blocks() for layout in UNET_LAYOUTS if layout.context_width == width)
    attentions = {f"{block}.attn2.to_k.weight": [1, width] for block in blocks}
    unet = {"input_blocks.0.0.weight": [1, channels, 1, 1], **attentions}
    return {**{f"model.diffusion_model.{name}": shape for name, shape in unet.items()}, text: [1],
            "first_stage_model.decoder.conv_in.weight": [1, 4, 1, 1]}  # fmt: skip


SD1 = checkpoint("cond_stage_model.transformer.text_model.embeddings.position_embedding.weight", 768)
VAE = {
    "encoder.conv_in.weight": [1, 3, 1, 1],
    "decoder.conv_in.weight": [1, 4, 1, 1],
    "decoder.conv_out.weight": [3, 1],
}
ESRGAN = {"model.0.weight": [1], "model.1.sub.0.RDB1.conv1.0.weight": [1]}
CONTROLNET = {"controlnet_cond_embedding.conv_in.weight": [1], "time_embedding.linear_1.weight": [1],
              "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": [1, 768]}  # fmt: skip
EMBEDDING = {"emb_params": [2, 768]}
FILES = {
    "loras": LORA_FILE, "embeddings": safetensors(EMBEDDING), "controlnets": safetensors(CONTROLNET),
    "upscalers": safetensors(ESRGAN),
}  # fmt: skip
"""A file that fits each of these tables of the catalog."""
