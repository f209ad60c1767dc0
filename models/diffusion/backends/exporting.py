"""What all exporters of a UNet share: a module with plain tensors as inputs, its dynamic axes, and its cache key."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import diffusers
import torch

from models.diffusion.backends.eager import call_unet
from models.diffusion.backends.inputs import Inputs, seeded_inputs
from models.diffusion.denoiser import Residuals
from models.errors import DrawingFailed, PhotogramError

RECIPE = 1
"""The version of the export; raise it when exported graphs change, so that cached ones are not used."""
DYNAMIC_AXES = {"latents": {0: "inputs", 2: "height", 3: "width"}, "hidden_states": {0: "inputs", 1: "tokens"}}
"""The axes of variable length; inputs that are not listed here have only the first."""


class Unusable(PhotogramError):
    """The backend cannot run this UNet on this machine; the message says why."""


class Exportable(torch.nn.Module):
    """A UNet whose inputs are plain tensors, those of ``example`` in order; its output is [N, channels, h, w]."""

    def __init__(self, unet: Any, example: Inputs) -> None:
        super().__init__()
        self._unet = unet
        self._names = tuple(example.named)

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        inputs = Inputs.from_named(dict(zip(self._names, tensors, strict=True)))
        return call_unet(self._unet, inputs.latents, inputs.timesteps, inputs.conditioning)


def example_inputs(unet: Any) -> Inputs:
    """The inputs for tracing a UNet.

    Both sides are odd on purpose. Only for sizes that cannot be halved evenly does diffusers pass the target sizes of
    upsampling as tensors, and only with these does the traced graph work for every size.
    """
    return seeded_inputs(unet, count=2, size=(13, 15), tokens=5)


def dynamic_axes(name: str) -> dict[int, str]:
    """The axes of variable length of the input ``name``, each with the name of its dimension."""
    return DYNAMIC_AXES.get(name, {0: "inputs"})


@contextmanager
def tracing() -> Iterator[None]:
    """The context for tracing a UNet: no gradients, no inference mode, and none of the tracer's warnings."""
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def export_key(runtime: str, version: str, unet: Any) -> str:
    """The cache key of a UNet's graph; it depends on the weights, the config, and the versions of all libraries.

    Reads every weight, which takes about a second for each GB.
    """
    digest = hashlib.sha256(json.dumps([RECIPE, version, torch.__version__, diffusers.__version__]).encode())
    config = {
        key: value for key, value in unet.config.items() if not key.startswith("_")
    }  # such as the path of the weights
    digest.update(json.dumps(config, sort_keys=True).encode())
    for name, weights in unet.state_dict().items():
        digest.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
        digest.update(weights.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return f"{runtime}-{digest.hexdigest()[:32]}"


def refuse(residuals: Residuals | None) -> None:
    """Raise ``DrawingFailed`` if there are residuals, for which an exported graph has no inputs."""
    if residuals is not None:
        raise DrawingFailed("an exported UNet takes no ControlNet residuals; use the checkpoint's eager denoiser")
