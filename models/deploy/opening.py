"""Opening the graphs of a package: those of torch here, and all others by ``photogram_runtime``, which has no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from photogram_runtime import graphs
from photogram_runtime.errors import PackageDamaged
from photogram_runtime.graphs import Array, Graph
from photogram_runtime.package import Package, Part

from models.diffusion.failures import summary

AOTI = "aoti"


def open_graph(package: Package, part: Part, threads: int, cache: Path | None = None) -> Graph:
    """As :func:`photogram_runtime.graphs.open_graph`, and for graphs of torch, which run on all threads of torch.

    Raises:
        PackageError: the graph cannot be run here, or cannot be read.
    """
    if package.backend == AOTI:
        return CompiledGraph(package.path(part), part)
    return graphs.open_graph(package, part, threads, cache)


class CompiledGraph:
    """A graph that AOTInductor compiled."""

    def __init__(self, file: Path, part: Part) -> None:
        import torch._inductor  # its package loader alone takes a second to import

        self._names = [port.name for port in part.inputs]
        try:
            self._run: Any = torch._inductor.aoti_load_package(str(file))
        except Exception as error:
            raise PackageDamaged(f"torch cannot load {part.file}: {summary(error)}") from error

    def __call__(self, inputs: Mapping[str, Array]) -> list[Array]:
        """See :class:`Graph`."""
        with torch.inference_mode():
            found = self._run(*(torch.from_numpy(inputs[name]) for name in self._names))
        return [each.numpy() for each in found]
