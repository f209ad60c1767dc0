"""Choosing the backend for a UNet: the requested one, if it works and its output is close to torch's."""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from models.catalog.backends import AUTO, BACKENDS
from models.diffusion.backends.cache import GraphCache
from models.diffusion.backends.compiled import CompiledDenoiser
from models.diffusion.backends.eager import EagerDenoiser
from models.diffusion.backends.exporting import Unusable, export_key
from models.diffusion.backends.measure import FLOAT32_BOUND, HALF_BOUND, RACE_INPUTS, SHAPE, difference, forward_s
from models.diffusion.denoiser import Denoiser, InputShape
from models.diffusion.failures import is_device_lost, summary
from models.errors import ModelUnavailable

log = logging.getLogger(__name__)

EXACT = {"openvino": "openvino", "onnxruntime": "onnxruntime"}
"""The backends that compute in float32 as torch does, and the package of each; large UNets take the first one."""
MEASURED_MAX_BYTES = 1 << 30
"""Larger UNets are not exported to every backend, which a measurement of their speed would need."""
CHOICE = "fastest.txt"


def choose_backend(eager: EagerDenoiser, backend: str, cache: Path, served: InputShape = SHAPE) -> Denoiser:
    """The denoiser that runs the UNet of ``eager`` on ``backend``; ``eager`` itself if the backend does not work.

    A backend is used if its output for fixed noise differs from torch's by less than a bound; the measured difference
    becomes its ``relative_error``. A warning is logged if a backend is not used. The first export or compilation of a
    UNet may take minutes.

    Args:
        eager: the UNet on its device and in its dtype; it is not changed.
        backend: one of ``BACKENDS``, or ``AUTO``: the fastest exact backend for a float32 UNet on a CPU, else eager.
        cache: the folder for exported graphs and compiled blocks.
        served: the shape of the inputs that are to be expected, for which blocks are compiled before anything is drawn.

    Raises:
        ModelUnavailable: ``backend`` is unknown.
    """
    if backend not in (AUTO, *BACKENDS):
        raise ModelUnavailable(f"unknown backend {backend!r}; the backends are {', '.join((AUTO, *BACKENDS))}")
    if backend == AUTO:
        return _fastest(eager, cache)
    return eager if backend == eager.name else _usable(backend, eager, cache, served) or eager


def _fastest(eager: EagerDenoiser, cache: Path) -> Denoiser:
    """The fastest exact backend; the choice is measured when this UNet is loaded for the first time, and cached."""
    candidates = [name for name, package in EXACT.items() if importlib.util.find_spec(package)]
    if (eager.unet.device.type, eager.unet.dtype) != ("cpu", torch.float32) or not candidates:
        return eager
    if sum(each.nbytes for each in eager.unet.parameters()) > MEASURED_MAX_BYTES:
        return _usable(candidates[0], eager, cache) or eager
    versions = ",".join(f"{name} {version(EXACT[name])}" for name in candidates)
    key = export_key("fastest", f"{versions}, {torch.get_num_threads()} threads, {platform.processor()}", eager.unet)
    try:
        chosen = GraphCache(cache).obtain(key, lambda folder: _race(candidates, eager, cache, folder)) / CHOICE
        name = chosen.read_text(encoding="utf-8")
    except OSError as error:  # a full disk must not make the model unavailable
        log.warning("torch runs the model, because the cache of measured backends cannot be written: %s", error)
        return eager
    return eager if name == eager.name else _usable(name, eager, cache) or eager


def _race(candidates: Sequence[str], eager: EagerDenoiser, cache: Path, folder: Path) -> None:
    """Measure all ``candidates`` and write the name of the fastest into ``folder``."""
    opened = [eager, *filter(None, (_usable(name, eager, cache) for name in candidates))]
    seconds = forward_s(opened, eager.unet)
    timings = ", ".join(f"{each.name} {time_s * 1000:.1f} ms" for each, time_s in zip(opened, seconds, strict=True))
    log.info("a forward of %d inputs takes: %s", RACE_INPUTS, timings)
    fastest = min(zip(seconds, opened, strict=True), key=lambda pair: pair[0])[1]
    (folder / CHOICE).write_text(fastest.name, encoding="utf-8")


def _usable(name: str, eager: EagerDenoiser, cache: Path, served: InputShape = SHAPE) -> Denoiser | None:
    """The backend called ``name``, or ``None`` if it does not work or its output differs too much."""
    try:
        return _checked(name, eager.unet, cache, served)
    except Exception as error:  # a runtime may fail in any way, and torch always works
        if is_device_lost(error):
            raise
        expected = isinstance(error, Unusable | ImportError)
        log.warning("backend %s cannot be used: %s", name, summary(error), exc_info=None if expected else error)
        return None


def _checked(name: str, unet: Any, cache: Path, served: InputShape) -> Denoiser:
    denoiser = _open_compiled(unet, cache, served) if name == CompiledDenoiser.name else _open(name, unet, cache)
    error = difference(denoiser, unet, served if isinstance(denoiser, CompiledDenoiser) else SHAPE).relative
    bound = FLOAT32_BOUND if unet.dtype == torch.float32 and name != "openvino-bf16" else HALF_BOUND
    if not error <= bound:  # refuses NaN, too
        raise Unusable(f"its output differs from torch's by {error:.2g}, more than {bound:g}")
    denoiser.relative_error = error
    return denoiser


def _open_compiled(unet: Any, cache: Path, served: InputShape) -> CompiledDenoiser:
    """The compiled denoiser; on a GPU, where each shape is compiled for itself, it is compiled for ``served`` now."""
    is_gpu = _is_gpu(unet.device)
    missing = missing_compiler() if is_gpu else None
    if missing is not None:
        raise Unusable(missing)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "compiled"))  # later starts compile less
    denoiser = CompiledDenoiser(unet, fixed_shapes=is_gpu)
    if is_gpu:
        denoiser.warm_up(served)
    return denoiser


def _is_gpu(device: torch.device) -> bool:
    return device.type == "cuda"


def missing_compiler() -> str | None:
    """What torch would need to compile for a GPU and this machine lacks; ``None`` if it lacks nothing."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    compilers = (os.environ.get("CC") or "gcc", "cc", "clang")
    return None if any(map(shutil.which, compilers)) else "there is no C compiler, which Triton needs"


def _open(name: str, unet: Any, cache: Path) -> Denoiser:
    """The exported denoiser on the backend called ``name``; packages of optional backends are imported here."""
    match name:
        case "onnxruntime":
            from models.diffusion.backends.onnxruntime import open_onnxruntime

            return open_onnxruntime(name, unet, GraphCache(cache))
        case "openvino" | "openvino-bf16":
            from models.diffusion.backends.openvino import open_openvino

            return open_openvino(name, unet, GraphCache(cache))
        case _:
            raise Unusable("no code opens it")
