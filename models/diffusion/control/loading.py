"""Loading ControlNets from a folder or a file, and checking that they fit the UNet."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import ControlNetModel

from models.diffusion.devices import channels_last_on_gpu
from models.diffusion.failures import detail_of, is_out_of_memory, reason_of
from models.errors import ModelUnavailable, OutOfMemory

_SHARED_CONFIG = (
    "cross_attention_dim", "block_out_channels", "layers_per_block", "addition_embed_type",
    "addition_time_embed_dim", "projection_class_embeddings_input_dim",
)  # fmt: skip
"""The config values that a ControlNet shares with its UNet; others may differ, as in small ControlNets for SDXL."""


def load_controlnet(source: Path, unet: Any, dtype: torch.dtype, device: torch.device) -> ControlNetModel:
    """Load a ControlNet onto ``device``. Only safetensors are read; code beside them is never run.

    Args:
        source: a diffusers folder, or one ``.safetensors`` file in diffusers' layout or the original one. A file has no
            config; its config is derived from ``unet``.
        unet: the ``UNet2DConditionModel`` that takes the residuals.
        dtype: the dtype of the checkpoint, which latents and embeddings have.
        device: the device of the UNet.

    Raises:
        ModelUnavailable: the weights are missing, cannot be read, or are for another type of UNet.
        OutOfMemory: the weights do not fit into the device's memory.
    """
    try:
        controlnet = _read_file(source, unet, dtype) if source.is_file() else _read_folder(source, dtype)
        problem = validate(controlnet, unet)
        if problem is None:
            return channels_last_on_gpu(controlnet.to(device))
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(f"ControlNet {source.name!r} does not fit into the device's memory") from error
        reason = reason_of(error, "it is damaged, or for another kind of model")
        message = f"ControlNet {source.name!r} cannot be loaded: {reason}"
        raise ModelUnavailable(message, "controls", detail=detail_of(error)) from error
    raise ModelUnavailable(f"ControlNet {source.name!r} is for another kind of model: {problem}", "controls")


def validate(controlnet: ControlNetModel, unet: Any) -> str | None:
    """Why ``controlnet`` does not fit ``unet``; ``None`` if it does."""
    if controlnet.config.conditioning_channels != 3:
        return f"its condition has {controlnet.config.conditioning_channels} channels, not RGB's 3"
    if controlnet.config.in_channels != unet.config.out_channels:
        return f"it takes {controlnet.config.in_channels} channels of latents, not {unet.config.out_channels}"
    for key in _SHARED_CONFIG:
        theirs, ours = (_comparable(getattr(model.config, key, None)) for model in (controlnet, unet))
        if theirs != ours:
            return f"its {key} is {theirs}, the UNet's {ours}"
    return None


def _comparable(value: Any) -> Any:
    """Lists as tuples: a config read from JSON has lists only."""
    return tuple(value) if isinstance(value, list) else value


def _read_folder(folder: Path, dtype: torch.dtype) -> ControlNetModel:
    path = folder / ControlNetModel.config_name
    if not path.is_file():
        raise ModelUnavailable(f"there is no ControlNet in {folder.name} ({path.name} is missing)")
    kind = json.loads(path.read_text(encoding="utf-8")).get("_class_name")
    if kind != ControlNetModel.__name__:
        raise ModelUnavailable(f"{folder.name} holds a {kind}, not a {ControlNetModel.__name__}")
    controlnet, report = ControlNetModel.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
    )
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelUnavailable(f"it lacks {len(missing)} of its weights, for example {missing[0]}")
    return controlnet


def _read_file(file: Path, unet: Any, dtype: torch.dtype) -> ControlNetModel:
    """Read a single file; with a config derived from ``unet``, diffusers need not ask the hub for one."""
    if file.suffix != ".safetensors":
        raise ModelUnavailable(f"{file.name} is no .safetensors file")
    with TemporaryDirectory() as folder:
        with torch.device("meta"):
            ControlNetModel.from_unet(unet, load_weights_from_unet=False).save_config(folder)
        options = {"config": folder, "in_channels": unet.config.out_channels, "low_cpu_mem_usage": True}
        try:
            return ControlNetModel.from_single_file(str(file), local_files_only=True, dtype=dtype, **options)
        except NotImplementedError as error:  # from torch: tensors are still on the meta device
            raise ModelUnavailable("it lacks some weights for the model's UNet") from error
