"""ControlNets: weights read from a folder or a file, held against the UNet that they are to steer."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import ControlNetModel

from models.diffusion.failures import is_out_of_memory, summary
from models.errors import ModelUnavailable, OutOfMemory

_ALIKE = (
    "cross_attention_dim", "block_out_channels", "layers_per_block", "addition_embed_type",
    "addition_time_embed_dim", "projection_class_embeddings_input_dim",
)  # fmt: skip
"""What a ControlNet and its UNet must have in common; the rest may be smaller, as it is in some of SDXL's."""


def load_controlnet(source: Path, unet: Any, dtype: torch.dtype, device: torch.device) -> ControlNetModel:
    """Read a ControlNet onto ``device``. Only safetensors are read; code beside them is never run.

    Args:
        source: a diffusers folder, or one ``.safetensors`` file, in diffusers' layout or the original one. A file does
            not say how its network is built; it is taken to be built like ``unet``.
        unet: the ``UNet2DConditionModel`` that it is to steer.
        dtype: of the checkpoint; latents and embeddings reach the ControlNet in it.
        device: where the UNet is.

    Raises:
        ModelUnavailable: there is nothing to load, it cannot be read, or it is for another kind of UNet.
        OutOfMemory: the weights do not fit the device.
    """
    try:
        controlnet = _read_file(source, unet, dtype) if source.is_file() else _read_folder(source, dtype)
        problem = misfit(controlnet, unet)
        if problem is None:
            return controlnet.to(device)
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(f"ControlNet {source.name!r} does not fit into the device's memory") from error
        raise ModelUnavailable(f"ControlNet {source.name!r} cannot be loaded: {summary(error)}") from error
    raise ModelUnavailable(f"ControlNet {source.name!r} is for another kind of model: {problem}")


def misfit(controlnet: ControlNetModel, unet: Any) -> str | None:
    """Why ``controlnet`` cannot steer ``unet``; ``None`` if it can."""
    if controlnet.config.conditioning_channels != 3:
        return f"its condition has {controlnet.config.conditioning_channels} channels, not RGB's 3"
    if controlnet.config.in_channels != unet.config.out_channels:
        return f"it takes {controlnet.config.in_channels} channels of latents, not {unet.config.out_channels}"
    for key in _ALIKE:
        theirs, ours = (_comparable(getattr(model.config, key, None)) for model in (controlnet, unet))
        if theirs != ours:
            return f"its {key} is {theirs}, the UNet's {ours}"
    return None


def _comparable(value: Any) -> Any:
    """Lists and tuples are the same; JSON knows but one of them."""
    return tuple(value) if isinstance(value, list) else value


def _read_folder(folder: Path, dtype: torch.dtype) -> ControlNetModel:
    path = folder / ControlNetModel.config_name
    if not path.is_file():
        raise ModelUnavailable(f"there is no ControlNet in {folder} ({path.name} is missing)")
    kind = json.loads(path.read_text(encoding="utf-8")).get("_class_name")
    if kind != ControlNetModel.__name__:
        raise ModelUnavailable(f"{folder} holds a {kind}, and not a {ControlNetModel.__name__}")
    controlnet, report = ControlNetModel.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
    )
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelUnavailable(f"it lacks {len(missing)} of its weights, {missing[0]} among them")
    return controlnet


def _read_file(file: Path, unet: Any, dtype: torch.dtype) -> ControlNetModel:
    """By diffusers' converter, which would ask the hub for a configuration unless it is given one."""
    if file.suffix != ".safetensors":
        raise ModelUnavailable(f"{file} is no .safetensors file")
    with TemporaryDirectory() as folder:
        with torch.device("meta"):
            ControlNetModel.from_unet(unet, load_weights_from_unet=False).save_config(folder)
        options = {"config": folder, "in_channels": unet.config.out_channels, "low_cpu_mem_usage": True}
        try:
            return ControlNetModel.from_single_file(str(file), local_files_only=True, dtype=dtype, **options)
        except NotImplementedError as error:  # torch's, for tensors that are still on the meta device
            raise ModelUnavailable("it lacks some of the weights that the model's UNet calls for") from error
