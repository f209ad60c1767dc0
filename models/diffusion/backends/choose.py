"""Which backend runs a checkpoint's UNet: the one that was asked for, if it works and computes the same."""

from __future__ import annotations

import importlib.util
import logging
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from models.catalog.backends import AUTO, BACKENDS
from models.diffusion.backends.cache import GraphCache
from models.diffusion.backends.compiled import CompiledDenoiser
from models.diffusion.backends.eager import EagerDenoiser
from models.diffusion.backends.exporting import Unusable, export_key
from models.diffusion.backends.measure import FLOAT32_BOUND, HALF_BOUND, RACE_INPUTS, difference, forward_s
from models.diffusion.denoiser import Denoiser
from models.diffusion.failures import summary
from models.errors import ModelUnavailable

if TYPE_CHECKING:
    from models.diffusion.backends.onnxruntime import OnnxRuntimeDenoiser
    from models.diffusion.backends.openvino import OpenVinoDenoiser

log = logging.getLogger(__name__)

EXACT = {"openvino": "openvino", "onnxruntime": "onnxruntime"}
"""The backends that compute as torch does, and the package that each needs; the first is taken unmeasured."""
MEASURED_MAX_BYTES = 1 << 30
"""Weights beyond this are not exported twice for the sake of a measurement."""
CHOICE = "fastest.txt"


def choose_backend(eager: EagerDenoiser, wanted: str, cache: Path) -> Denoiser:
    """What is to run the UNet of ``eager``, ready to use; ``eager`` itself if what was asked for does not work.

    A backend is used if its output for fixed noise is within a bound of torch's: the measured difference is its
    ``relative_error``. Why one is not used is logged as a warning. May take minutes where a UNet is exported or
    compiled for the first time.

    Args:
        eager: the UNet where and as it was loaded. It is not changed.
        wanted: one of ``BACKENDS``, or ``AUTO``: for a float32 UNet on a CPU the fastest of those that are exact, else
            eager.
        cache: the folder that exported graphs are kept in.

    Raises:
        ModelUnavailable: nobody knows the backend that is wanted.
    """
    if wanted not in (AUTO, *BACKENDS):
        raise ModelUnavailable(f"unknown backend {wanted!r}; there are {', '.join((AUTO, *BACKENDS))}")
    if wanted == AUTO:
        return _fastest(eager, cache)
    return eager if wanted == eager.name else _usable(wanted, eager, cache) or eager


def _fastest(eager: EagerDenoiser, cache: Path) -> Denoiser:
    """The exact backend that is the fastest here, as it was measured when this UNet was first loaded."""
    candidates = [name for name, package in EXACT.items() if importlib.util.find_spec(package)]
    if (eager.unet.device.type, eager.unet.dtype) != ("cpu", torch.float32) or not candidates:
        return eager
    if sum(each.nbytes for each in eager.unet.parameters()) > MEASURED_MAX_BYTES:
        return _usable(candidates[0], eager, cache) or eager
    versions = ",".join(f"{name} {version(EXACT[name])}" for name in candidates)
    key = export_key("fastest", f"{versions}, {torch.get_num_threads()} threads, {platform.processor()}", eager.unet)
    chosen = GraphCache(cache).obtain(key, lambda folder: _race(candidates, eager, cache, folder)) / CHOICE
    name = chosen.read_text(encoding="utf-8")
    return eager if name == eager.name else _usable(name, eager, cache) or eager


def _race(candidates: Sequence[str], eager: EagerDenoiser, cache: Path, folder: Path) -> None:
    """Write the name of the fastest into ``folder``."""
    opened = [eager, *filter(None, (_usable(name, eager, cache) for name in candidates))]
    seconds = forward_s(opened, eager.unet)
    told = ", ".join(f"{each.name} {time_s * 1000:.1f} ms" for each, time_s in zip(opened, seconds, strict=True))
    log.info("a forward of %d inputs takes: %s", RACE_INPUTS, told)
    fastest = min(zip(seconds, opened, strict=True), key=lambda pair: pair[0])[1]
    (folder / CHOICE).write_text(fastest.name, encoding="utf-8")


def _usable(name: str, eager: EagerDenoiser, cache: Path) -> Denoiser | None:
    """The backend of that name, if it works and computes the same."""
    try:
        return _checked(name, eager.unet, GraphCache(cache))
    except Exception as error:  # a runtime may fail on a UNet in any way, and torch can always serve it
        foreseen = isinstance(error, Unusable | ImportError)
        log.warning("backend %s cannot be used: %s", name, summary(error), exc_info=None if foreseen else error)
        return None


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
