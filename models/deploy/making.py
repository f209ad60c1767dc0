"""A package from the names in a request: whatever the model does, it is loaded, deployed, and published."""

from __future__ import annotations

from pathlib import Path

import torch
from photogram_runtime.package import Package

from models.catalog.catalog import Catalog
from models.catalog.names import unknown_name
from models.deploy.deploying import deploy
from models.deploy.packaging import Target, Tell
from models.deploy.store import PackageStore
from models.deploy.vision import deploy_vision
from models.diffusion.checkpoint_loading import load_checkpoint
from models.errors import PhotogramError
from models.vision.model import load_vision_model

CPU = torch.device("cpu")


def make_package(
    name: str, target: Target, catalog: Catalog, store: PackageStore, backend: str, cache: Path, *,
    is_forced: bool, tell: Tell,
) -> Package:  # fmt: skip
    """Deploy the model called ``name``, one that draws or one that sees, whose files are on this machine.

    Args:
        backend: of the setting ``backend``: what the server uses without a package is measured too.
        cache: the folder of what that backend exports.

    Raises:
        PhotogramError: as :func:`~models.deploy.deploying.deploy` and
            :func:`~models.deploy.vision.deploy_vision`; or there is no such model, or it cannot be loaded.
        OSError: the disk is full.
    """
    sees = catalog.vision.resolve(name)
    if sees is not None:
        if target.parts or target.steps:
            raise PhotogramError(f"steps and parts are for models that draw, and {sees.name} sees")
        return deploy_vision(load_vision_model(sees, CPU), target, store, is_forced=is_forced, tell=tell)
    draws = catalog.resolve(name)
    if draws is None:
        raise PhotogramError(unknown_name("model", name, [*catalog, *catalog.vision]).message)
    checkpoint = load_checkpoint(draws, CPU, backend=backend, cache=cache)
    return deploy(checkpoint, catalog, target, store, is_forced=is_forced, tell=tell)
