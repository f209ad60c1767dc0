"""Reading models of spandrel's architectures from files, without running code from them."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from models.diffusion.failures import detail_of, is_out_of_memory
from models.diffusion.upscaling.architectures import import_spandrel
from models.errors import JobFailure, ModelUnavailable, OutOfMemory

SUFFIXES = (".safetensors", ".pth")


def read_model(path: Path) -> Any:
    """Read the model in ``path``: spandrel's descriptor, in float32 on the CPU.

    spandrel recognises the architecture by the names and shapes of the weights. A ``.pth`` file is a pickle; torch's
    restricted unpickler reads only tensors and plain containers from it.

    Raises:
        ModelUnavailable: the file is missing, holds more than tensors, or has an unknown architecture.
        OutOfMemory: the weights do not fit into the machine's memory.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ModelUnavailable(f"{path.name} must be a file {' or '.join(SUFFIXES)}", detail=str(path))
    if not path.is_file():
        raise ModelUnavailable(f"there is no file {path.name}", detail=str(path))
    try:
        return _describe(_read(path))
    except Exception as error:
        raise failure_to_load(path, error) from error


def failure_to_load(path: Path, error: Exception) -> JobFailure:
    """An ``error`` that occurred while ``path`` was loaded, as a ``JobFailure``."""
    if is_out_of_memory(error):
        return OutOfMemory(f"{path.name} does not fit into the device's memory")
    if isinstance(error, ImportError):
        return ModelUnavailable(f"{path.name} needs the Python package spandrel", detail=detail_of(error))
    if isinstance(error, pickle.UnpicklingError):
        return ModelUnavailable(f"{path.name} is damaged, or holds more than tensors; convert it to .safetensors")
    return ModelUnavailable(
        f"{path.name} cannot be loaded: it is damaged, or of an unknown architecture", detail=detail_of(error)
    )


def _read(path: Path) -> dict[str, Any]:
    if path.suffix.lower() == ".safetensors":
        return load_file(path)
    weights = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(weights, dict):
        raise ValueError("it is no state dict")
    return weights


def _describe(weights: dict[str, Any]) -> Any:
    spandrel = import_spandrel()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.meshgrid", UserWarning)  # from SwinIR and similar models
        try:
            descriptor = spandrel.MAIN_REGISTRY.load(weights)
        except spandrel.UnsupportedModelError as error:
            raise ValueError("spandrel does not know its architecture") from error
    descriptor.model.eval().requires_grad_(False)
    return descriptor
