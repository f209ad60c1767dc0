"""The model of a deployment by its name, whatever it does: loaded and recorded on torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.vision import VisionSpec
from models.deploy.combinations import find_lora
from models.deploy.deploying import record
from models.deploy.making import Recorded
from models.deploy.names import find_model
from models.deploy.packaging import Target, Tell
from models.deploy.upscaling import record_upscaler
from models.deploy.vision import record_vision
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.upscaling.upscaler import load_upscaler
from models.errors import PhotogramError
from models.jobs.params import LoraUse
from models.vision.model import load_vision_model

CPU = torch.device("cpu")


def record_model(
    name: str,
    target: Target,
    catalog: Catalog,
    backend: str,
    cache: Path,
    tell: Tell,
    loras: Sequence[LoraUse] = (),
) -> Recorded:
    """Record the model called ``name``, whose files are on this machine: one that draws, one that sees, or an upscaler.

    Args:
        target: its steps, parts and shapes; its backend and precision do not matter.
        backend: of the setting ``backend``: what the server uses without a package is measured too.
        cache: the folder of what that backend exports.
        loras: that are baked in.

    Raises:
        PhotogramError: there is no such model, it cannot be loaded, or it does not draw as ``target`` says.
    """
    model = find_model(name, catalog, loras)
    if isinstance(model, ModelSpec):
        return record(load_drawing(model, catalog, backend, cache, loras), catalog, target, tell, loras)
    if target.parts or target.steps or target.shapes or loras:
        raise PhotogramError("--parts, --steps, --shapes and --lora are for models that draw")
    if isinstance(model, VisionSpec):
        return record_vision(load_vision_model(model, CPU), tell)
    return record_upscaler(model, load_upscaler(model.path, CPU, torch.float32), tell)


def load_drawing(spec: ModelSpec, catalog: Catalog, backend: str, cache: Path, loras: Sequence[LoraUse]) -> Checkpoint:
    """The model in float32 on the CPU, with what the server uses without a package, and with ``loras``.

    Raises:
        NoLora: the catalog lacks a LoRA.
        ModelUnavailable: the model or a LoRA cannot be loaded.
    """
    found = [(find_lora(use.name, catalog), use.weights) for use in loras]
    return load_checkpoint(spec, CPU, backend=backend, cache=cache).adapters.get(found)
