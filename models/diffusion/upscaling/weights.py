"""Models of spandrel's architectures, read from files that cannot run code."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from models.diffusion.failures import is_out_of_memory, summary
from models.diffusion.upscaling.architectures import import_spandrel
from models.errors import JobFailure, ModelUnavailable, OutOfMemory

SUFFIXES = (".safetensors", ".pth")


def read_model(path: Path) -> Any:
    """The model whose weights are in ``path``, as spandrel's descriptor of it, in float32 on the CPU.

    The architecture is recognised by the names and shapes of the weights. A ``.pth`` file is a pickle; it is read with
    torch's own restricted unpickler, which builds tensors and plain containers and nothing else.

    Raises:
        ModelUnavailable: the file is missing, holds anything but tensors, or is of no architecture that is known.
        OutOfMemory: the weights do not fit into the machine's memory.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ModelUnavailable(f"{path} must be a file {' or '.join(SUFFIXES)}")
    if not path.is_file():
        raise ModelUnavailable(f"there is no file {path}")
    try:
        return _describe(_read(path))
    except Exception as error:
        raise failure_to_load(path, error) from error


def failure_to_load(path: Path, error: Exception) -> JobFailure:
    """``error``, which came up while the weights in ``path`` were loaded, in Photogram's terms."""
    if is_out_of_memory(error):
        return OutOfMemory(f"{path} does not fit into the device's memory")
    if isinstance(error, ImportError):
        return ModelUnavailable(f"{path} needs the Python package spandrel: {summary(error)}")
    if isinstance(error, pickle.UnpicklingError):
        return ModelUnavailable(f"{path} is damaged, or holds more than tensors; convert it to .safetensors")
    return ModelUnavailable(f"{path} cannot be loaded: {summary(error)}")


def _read(path: Path) -> dict[str, Any]:
    if path.suffix.lower() == ".safetensors":
        return load_file(path)
    weights = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(weights, dict):
        raise ValueError("it holds no state dict")
    return weights


def _describe(weights: dict[str, Any]) -> Any:
    spandrel = import_spandrel()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.meshgrid", UserWarning)  # SwinIR and its kin
        try:
            descriptor = spandrel.MAIN_REGISTRY.load(weights)
        except spandrel.UnsupportedModelError as error:
            raise ValueError("its architecture is none that spandrel knows") from error
    descriptor.model.eval().requires_grad_(False)
    return descriptor
