"""The model of a deployment by its name, whatever it does: loaded and recorded on torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.names import unknown_name
from models.deploy.deploying import record
from models.deploy.making import Recorded
from models.deploy.packaging import Target, Tell
from models.deploy.upscaling import record_upscaler
from models.deploy.vision import record_vision
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.upscaling.upscaler import load_upscaler
from models.errors import PhotogramError
from models.vision.model import load_vision_model

CPU = torch.device("cpu")


def record_model(
    name: str,
    target: Target,
    catalog: Catalog,
    backend: str,
    cache: Path,
    tell: Tell,
    loras: Sequence[tuple[str, float]] = (),
) -> Recorded:
    """Record the model called ``name``, whose files are on this machine: one that draws, one that sees, or an upscaler.

    Args:
        target: its steps, parts and shapes; its backend and precision do not matter.
        backend: of the setting ``backend``: what the server uses without a package is measured too.
        cache: the folder of what that backend exports.
        loras: that are baked in, each with its weight; see :func:`models.deploy.combinations.read_loras`.

    Raises:
        PhotogramError: there is no such model, it cannot be loaded, or it does not draw as ``target`` says.
    """
    sees, draws, enlarges = catalog.vision.resolve(name), catalog.resolve(name), catalog.upscalers.resolve(name)
    if sees is None and draws is not None:
        return record(load_drawing(draws, catalog, backend, cache, loras), catalog, target, tell, loras)
    if sees is None and enlarges is None:
        raise PhotogramError(unknown_name("model", name, [*catalog, *catalog.vision, *catalog.upscalers]).message)
    if target.parts or target.steps or target.shapes or loras:
        raise PhotogramError("--parts, --steps, --shapes and --lora are for models that draw")
    if sees is not None:
        return record_vision(load_vision_model(sees, CPU), tell)
    assert enlarges is not None
    return record_upscaler(enlarges, load_upscaler(enlarges.path, CPU, torch.float32), tell)


def load_drawing(
    spec: ModelSpec, catalog: Catalog, backend: str, cache: Path, loras: Sequence[tuple[str, float]]
) -> Checkpoint:
    """The model in float32 on the CPU, with what the server uses without a package, and with ``loras``.

    Raises:
        ModelUnavailable: the model or a LoRA cannot be loaded.
    """
    checkpoint = load_checkpoint(spec, CPU, backend=backend, cache=cache)
    return checkpoint.adapters.get([(catalog.loras[name], weight) for name, weight in loras])
