"""The model of a deployment by its name, whatever it does: loaded and recorded on torch."""

from __future__ import annotations

from pathlib import Path

import torch

from models.catalog.catalog import Catalog
from models.catalog.names import unknown_name
from models.deploy.deploying import record
from models.deploy.making import Recorded
from models.deploy.packaging import Target, Tell
from models.deploy.upscaling import record_upscaler
from models.deploy.vision import record_vision
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.upscaling.upscaler import load_upscaler
from models.errors import PhotogramError
from models.vision.model import load_vision_model

CPU = torch.device("cpu")


def record_model(name: str, target: Target, catalog: Catalog, backend: str, cache: Path, tell: Tell) -> Recorded:
    """Record the model called ``name``, whose files are on this machine: one that draws, one that sees, or an upscaler.

    Args:
        target: its steps, parts and shapes; its backend and precision do not matter.
        backend: of the setting ``backend``: what the server uses without a package is measured too.
        cache: the folder of what that backend exports.

    Raises:
        PhotogramError: there is no such model, it cannot be loaded, or it does not draw as ``target`` says.
    """
    sees, draws, enlarges = catalog.vision.resolve(name), catalog.resolve(name), catalog.upscalers.resolve(name)
    if sees is None and draws is not None:
        return record(load_checkpoint(draws, CPU, backend=backend, cache=cache), catalog, target, tell)
    if sees is None and enlarges is None:
        raise PhotogramError(unknown_name("model", name, [*catalog, *catalog.vision, *catalog.upscalers]).message)
    if target.parts or target.steps or target.shapes:
        raise PhotogramError("--parts, --steps and --shapes are for models that draw")
    if sees is not None:
        return record_vision(load_vision_model(sees, CPU), tell)
    assert enlarges is not None
    return record_upscaler(enlarges, load_upscaler(enlarges.path, CPU, torch.float32), tell)
