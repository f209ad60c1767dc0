"""The backends that a part can be exported to: which precisions they have, what they need here, and who builds them.

To add one: write a module with a function ``build``, as those in ``models/deploy/builders``, and a row in
:data:`BACKENDS`.
"""

from __future__ import annotations

import importlib.util
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

    def obstacle(self, precision: str) -> str | None:
        """What this machine lacks to export to it; ``None`` if it lacks nothing."""
        lacking = [name for name in (*self.packages, *self.tools) if importlib.util.find_spec(name) is None]
        if lacking:
            verb = "is" if len(lacking) == 1 else "are"
            return f"{' and '.join(lacking)} {verb} not installed; pip install 'photogram-server[worker,deploy]'"
        if self.needs is None:
            return None
        module, _, function = self.needs.partition(":")
        found: str | None = getattr(import_module(module), function)(precision)
        return found

    def build(self) -> Build:
        """The function that builds a part; its packages are imported here."""
        build: Build = import_module(self.module).build
        return build


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
})  # fmt: skip

PRECISIONS = tuple(dict.fromkeys(each for backend in BACKENDS.values() for each in backend.precisions))
"""Those of any backend."""


def known_target(backend: str, precision: str) -> Backend:
    """The backend called ``backend``, if it has ``precision``, whether or not this machine has what it needs.

    Raises:
        UnknownTarget: it has not.
    """
    found = BACKENDS.get(backend)
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
