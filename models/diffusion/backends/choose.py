"""Which backend runs a checkpoint's UNet: the one that was asked for, if it works and computes the same."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from models.backends import AUTO, BACKENDS
from models.diffusion.backends.cache import GraphCache
from models.diffusion.backends.compiled import CompiledDenoiser
from models.diffusion.backends.eager import EagerDenoiser
from models.diffusion.backends.exporting import Unusable
from models.diffusion.backends.measure import FLOAT32_BOUND, HALF_BOUND, difference
from models.diffusion.denoiser import Denoiser
from models.diffusion.failures import summary
from models.errors import ModelUnavailable

if TYPE_CHECKING:
    from models.diffusion.backends.onnxruntime import OnnxRuntimeDenoiser
    from models.diffusion.backends.openvino import OpenVinoDenoiser

log = logging.getLogger(__name__)


def choose_backend(eager: EagerDenoiser, wanted: str, cache: Path) -> Denoiser:
    """What is to run the UNet of ``eager``, ready to use; ``eager`` itself if what was asked for does not work.

    A backend is used if its output for fixed noise is within a bound of torch's: the measured difference is its
    ``relative_error``. Why one is not used is logged as a warning. May take minutes where a UNet is exported or
    compiled for the first time.

    Args:
        eager: the UNet where and as it was loaded. It is not changed.
        wanted: one of ``BACKENDS``, or ``AUTO``: OpenVINO in float32 for a float32 UNet on a CPU if it is installed,
            else eager.
        cache: the folder that exported graphs are kept in.

    Raises:
        ModelUnavailable: nobody knows the backend that is wanted.
    """
    if wanted not in (AUTO, *BACKENDS):
        raise ModelUnavailable(f"unknown backend {wanted!r}; there are {', '.join((AUTO, *BACKENDS))}")
    name = _automatic(eager.unet) if wanted == AUTO else wanted
    if name == eager.name:
        return eager
    try:
        return _checked(name, eager.unet, GraphCache(cache))
    except Exception as error:  # a runtime may fail on a UNet in any way, and torch can always serve it
        foreseen = isinstance(error, Unusable | ImportError)
        log.warning(
            "backend %s cannot be used, torch runs the UNet: %s",
            name,
            summary(error),
            exc_info=None if foreseen else error,
        )
        return eager


def _automatic(unet: Any) -> str:
    on_cpu = unet.device.type == "cpu" and unet.dtype == torch.float32
    return "openvino" if on_cpu and importlib.util.find_spec("openvino") else "eager"


def _checked(name: str, unet: Any, cache: GraphCache) -> Denoiser:
    denoiser = _open(name, unet, cache)
    error = difference(denoiser, unet).relative
    bound = FLOAT32_BOUND if unet.dtype == torch.float32 and name != "openvino-bf16" else HALF_BOUND
    if not error <= bound:  # so that not a number is refused too
        raise Unusable(f"its output differs from torch's by {error:.2g}, and at most {bound:g} is allowed")
    denoiser.relative_error = error
    return denoiser


def _open(name: str, unet: Any, cache: GraphCache) -> CompiledDenoiser | OnnxRuntimeDenoiser | OpenVinoDenoiser:
    """The denoiser of that name; optional packages are imported when they are asked for."""
    match name:
        case "compiled":
            return CompiledDenoiser(unet, fixed_shapes=unet.device.type == "cuda")
        case "onnxruntime":
            from models.diffusion.backends.onnxruntime import open_onnxruntime

            return open_onnxruntime(name, unet, cache)
        case _:
            from models.diffusion.backends.openvino import open_openvino

            return open_openvino(name, unet, cache)
