"""Opening any graph of a package: those that need torch here, all others by the runtime without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from photogram_runtime.errors import PackageDamaged
from photogram_runtime.graphs import Array, Graph, open_graph
from photogram_runtime.package import Package, Part

AOTI = "aoti"


def open_any(package: Package, part: Part, threads: int | None = None) -> Graph:
    """Open the graph of ``part``.

    Args:
        threads: how many the runtime uses; by default all cores. What AOTInductor compiled uses torch's threads.

    Raises:
        PackageUnsupported: nothing here runs the package's backend, or this processor cannot compute so.
        PackageDamaged: the runtime cannot read the graph.
    """
    if package.backend != AOTI:
        return open_graph(package, part, threads)
    try:
        return AotiGraph(package, part)
    except RuntimeError as error:
        raise PackageDamaged(f"torch cannot load {part.file}: {str(error)[:200]}") from error


class AotiGraph:
    """A part that AOTInductor compiled to a library of this processor."""

    def __init__(self, package: Package, part: Part) -> None:
        self._compiled: Any = torch._inductor.aoti_load_package(str(package.path(part)))
        self._names = [port.name for port in part.inputs]

    def __call__(self, inputs: Mapping[str, Array]) -> list[Array]:
        """See :class:`Graph`."""
        with torch.inference_mode():
            outputs = self._compiled(*(torch.from_numpy(inputs[name]) for name in self._names))
        return [each.numpy() for each in outputs]
