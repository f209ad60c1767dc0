"""What a plan may ask the shelf for: checkpoints and their helpers, and what decides that two wishes are one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.catalog import ModelSpec
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.control.loading import load_controlnet
from models.diffusion.upscaling.faces import load_face_restorer
from models.diffusion.upscaling.upscaler import load_upscaler
from models.diffusion.work import Load


def weights_of(spec: ModelSpec) -> Hashable:
    """What decides the weights: entries of the catalog that differ only in name or defaults share them."""
    return spec.family, spec.source, spec.dtype, spec.config


def checkpoint_load(spec: ModelSpec, load: Callable[[ModelSpec], Checkpoint]) -> Load:
    """The checkpoint of ``spec``, by the engine's own ``load``."""
    return Load(weights_of(spec), f"model {spec.name}", partial(load, spec))


def lora_load(base: Checkpoint, uses: Sequence[tuple[AuxiliaryModel, float]]) -> Load:
    """``base`` under LoRAs."""
    stamped = tuple((_stamp(extra.path), weight) for extra, weight in uses)
    names = ", ".join(extra.name for extra, _ in uses)
    return Load(("loras", weights_of(base.spec), stamped), f"LoRA {names}", partial(base.adapters.get, uses))


def controlnet_load(extra: AuxiliaryModel, checkpoint: Checkpoint) -> Load:
    """The ControlNet of ``extra``, for the UNet of ``checkpoint``."""
    unet: Any = checkpoint.pipeline.unet
    key = ("controlnet", _stamp(extra.path), weights_of(checkpoint.spec))
    read = partial(load_controlnet, extra.path, unet, checkpoint.dtype, checkpoint.device)
    return Load(key, f"ControlNet {extra.name}", read)


def upscaler_load(extra: AuxiliaryModel, device: torch.device) -> Load:
    """The upscaler of ``extra``; half precision on a GPU."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    read = partial(load_upscaler, extra.path, device, dtype)
    return Load(("upscaler", _stamp(extra.path)), f"upscaler {extra.name}", read)


def face_restorer_load(restorer: AuxiliaryModel, detector: AuxiliaryModel, device: torch.device) -> Load:
    """A face restorer with its detector."""
    key = ("faces", _stamp(restorer.path), _stamp(detector.path))
    return Load(key, "face restorer", partial(load_face_restorer, restorer.path, detector.path, device))


def _stamp(path: Path) -> Hashable:
    """Another one when the file is replaced; a file that is not there fails when it is read."""
    return path, path.stat().st_mtime_ns if path.exists() else None
