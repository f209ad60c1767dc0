"""What is alike in exporting a UNet to any runtime: one function of tensors, what varies, and what names the result."""

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
"""Raise it when a graph is made differently: those in the caches are then made anew."""
VARYING = {"latents": {0: "inputs", 2: "height", 3: "width"}, "hidden_states": {0: "inputs", 1: "tokens"}}
"""The axes of free length; of inputs not named here, the first alone."""


class Unusable(PhotogramError):
    """The backend cannot serve this UNet, here and now; the message says why."""


class Exportable(torch.nn.Module):
    """A UNet as a function of the tensors in ``example``, in their order, to its output [N, channels, h, w]."""

    def __init__(self, unet: Any, example: Inputs) -> None:
        super().__init__()
        self._unet = unet
        self._names = tuple(example.named)

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        inputs = Inputs.from_named(dict(zip(self._names, tensors, strict=True)))
        return call_unet(self._unet, inputs.latents, inputs.timesteps, inputs.conditioning)


def example_inputs(unet: Any) -> Inputs:
    """What a UNet is traced with.

    The sides are odd on purpose: only then does diffusers' forward ask for the sizes it must upsample to, and only so
    does the traced graph work for every size, whether or not the UNet can halve it evenly.
    """
    return seeded_inputs(unet, count=2, size=(13, 15), tokens=5)


def varying(name: str) -> dict[int, str]:
    """Which axes of the input ``name`` are of free length, and what they count."""
    return VARYING.get(name, {0: "inputs"})


@contextmanager
def tracing() -> Iterator[None]:
    """What tracing a UNet takes: no gradients, no inference mode, and no word of what the tracer is unsure about."""
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def export_key(runtime: str, version: str, unet: Any) -> str:
    """The name of a UNet's graph in the cache: it changes with the weights and with all that makes the graph of them.

    Every weight is read: about a second for each GB.
    """
    digest = hashlib.sha256(json.dumps([RECIPE, version, torch.__version__, diffusers.__version__]).encode())
    config = {key: value for key, value in unet.config.items() if not key.startswith("_")}  # such as where it was read
    digest.update(json.dumps(config, sort_keys=True).encode())
    for name, weights in unet.state_dict().items():
        digest.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
        digest.update(weights.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return f"{runtime}-{digest.hexdigest()[:32]}"


def refuse(residuals: Residuals | None) -> None:
    """Raise DrawingFailed if there are any: an exported graph has no inputs for them."""
    if residuals is not None:
        raise DrawingFailed("an exported UNet takes no ControlNet residuals; use the checkpoint's eager denoiser")
