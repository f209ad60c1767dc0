"""The backends that a part can be exported to: which precisions they have, what they need here, and who builds them.

To add one: write a module with a function ``build``, as those in ``models/deploy/builders``, and a row in
:data:`BACKENDS`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.errors import PhotogramError

Build = Callable[[Any, str, str, Path], str]
"""From an exported part (``models.deploy.exporting.Exported``, which gateways must not import), the family, a precision
and a folder to the name of the file in it that holds the graph.
"""


class UnknownTarget(PhotogramError):
    """There is no such backend or precision; the message says which there are."""


class Missing(PhotogramError):
    """This machine lacks what the backend needs; the message says what to install."""


@dataclass(frozen=True)
class Backend:
    """One inference backend."""

    module: str
    """The dotted name of the module with its ``build``."""
    packages: tuple[str, ...]
    """The distributions that it runs with; a package is used with these versions only."""
    precisions: tuple[str, ...]
    tools: tuple[str, ...] = ()
    """Modules that exporting needs besides."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Precisions that it could have and does not, each with the reason."""
    needs: str | None = None
    """``MODULE:FUNCTION``, from a precision to what this machine lacks for it besides packages, or ``None``."""
    instructions: str | None = None
    """``MODULE:FUNCTION`` for the instruction sets that its graphs need, if they are code for a processor."""
    recipe_only: str | None = None
    """Why its graphs are never run here, and what is checked instead; such packages are never served."""

    def obstacle(self, precision: str) -> str | None:
        """What this machine lacks to export to it; ``None`` if it lacks nothing."""
        lacking = [name for name in (*self.packages, *self.tools) if importlib.util.find_spec(name) is None]
        if lacking:
            verb = "is" if len(lacking) == 1 else "are"
            return f"{' and '.join(lacking)} {verb} not installed; pip install 'photogram-server[worker,deploy]'"
        found: str | None = None if self.needs is None else _function(self.needs)(precision)
        return found

    def instruction_sets(self) -> list[str]:
        """See ``instructions``; empty for graphs that are no machine code."""
        found: list[str] = [] if self.instructions is None else _function(self.instructions)()
        return found

    def build(self) -> Build:
        """The function that builds a part; its packages are imported here."""
        build: Build = import_module(self.module).build
        return build


def missing_compiler(precision: str) -> str | None:
    """What this machine lacks to compile C++; ``None`` if it lacks nothing."""
    compiler = os.environ.get("CXX", "g++")
    return None if shutil.which(compiler) else f"there is no C++ compiler {compiler}; install g++, or name one in CXX"


def _function(name: str) -> Callable[..., Any]:
    """The function called ``MODULE:FUNCTION``."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found


BACKENDS: Mapping[str, Backend] = MappingProxyType({
    "openvino": Backend(
        "models.deploy.builders.openvino", ("openvino",), ("f32", "bf16", "fp16", "int8", "w4"),
        tools=("onnxscript", "nncf"), needs="photogram_runtime.graphs:openvino_problem",
    ),
    "onnxruntime": Backend(
        "models.deploy.builders.onnxruntime", ("onnxruntime",), ("f32", "int8"), tools=("onnxscript", "nncf"),
        refused={
            "bf16": "its CPU kernels compute no bfloat16", "fp16": "its CPU kernels compute no float16",
            "w4": "not built yet: its kernels take other groups than NNCF makes",
        },
    ),
    "aoti": Backend(
        "models.deploy.builders.aoti", ("torch",), ("f32", "int8", "fp8"),
        refused={
            "bf16": "not built: parts are traced in float32", "fp16": "not built: parts are traced in float32",
            "w4": "not built: convolutions would keep their weights",
        },
        needs="models.deploy.backends:missing_compiler", instructions="models.deploy.builders.aoti:instructions",
    ),
    "tensorrt": Backend(
        "models.deploy.builders.tensorrt", (), ("f32", "fp16", "bf16"), tools=("onnxscript", "onnxruntime"),
        refused={
            "int8": "not built: TensorRT calibrates its activations on the GPU",
            "w4": "not built: TensorRT takes such weights from its own tools",
        },
        recipe_only="its engines are built and run on the GPU that they are for; here its ONNX graphs were checked by "
        "onnx.checker, and by ONNX Runtime, which computes with them what torch computes",
    ),
})  # fmt: skip

REFUSED: Mapping[str, str] = MappingProxyType({
    "executorch": "with XNNPACK (executorch 1.5.1) the built-in model's UNet refused 31 of 42 recorded calls for their "
    "sizes, and its VAE encoder was wrong by 1.31; the text encoder and the VAE decoder alone are not worth a backend",
    "coreml": "coremltools 9.0 converts the VAE decoder alone of the built-in model, and only macOS runs the result",
})  # fmt: skip
"""Backends that were tried and cannot be had, each with the reason."""

PRECISIONS = tuple(
    dict.fromkeys(each for backend in BACKENDS.values() for each in (*backend.precisions, *backend.refused))
)
"""Those that any backend has, or could have and refuses."""


def known_target(backend: str, precision: str) -> Backend:
    """The backend called ``backend``, if it has ``precision``, whether or not this machine has what it needs.

    Raises:
        UnknownTarget: it has not.
    """
    found = BACKENDS.get(backend)
    if backend in REFUSED:
        raise UnknownTarget(f"{backend} cannot be had: {REFUSED[backend]}")
    if found is None:
        raise UnknownTarget(f"there is no backend {backend!r}; there are {', '.join(BACKENDS)}")
    if precision in found.refused:
        raise UnknownTarget(f"{backend} cannot have {precision}: {found.refused[precision]}")
    if precision not in found.precisions:
        raise UnknownTarget(f"{backend} has no precision {precision!r}; it has {', '.join(found.precisions)}")
    return found


def check_target(backend: str, precision: str) -> Backend:
    """As :func:`known_target`, and this machine has what the backend needs.

    Raises:
        UnknownTarget: there is no such target.
        Missing: this machine lacks something.
    """
    found = known_target(backend, precision)
    obstacle = found.obstacle(precision)
    if obstacle is not None:
        raise Missing(f"{backend}-{precision} cannot be made here: {obstacle}")
    return found
