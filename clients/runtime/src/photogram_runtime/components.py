"""Graphs with their ports: arrays are given by name and checked before the graph runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from photogram_runtime.errors import ComputationFailed, InvalidRequest, PackageUnsupported
from photogram_runtime.graphs import Array, open_graph
from photogram_runtime.package import Package, Port
from photogram_runtime.schedules import Floats


class Component:
    """One graph of a package.

    Args:
        name: of the part.
        takes: the inputs that it must have, each with the number of its axes.
        may_take: the inputs that it may have besides.
        gives: the outputs that it must have.
        threads: as :func:`open_graph`; so is ``cache``.

    Raises:
        PackageUnsupported: the package has no such part, or the part has other inputs or outputs.
        PackageDamaged: the graph cannot be read.
    """

    def __init__(
        self,
        package: Package,
        name: str,
        takes: Mapping[str, int],
        *,
        may_take: Mapping[str, int] | None = None,
        gives: Sequence[str] = (),
        threads: int | None,
        cache: Path | None = None,
    ) -> None:
        part = package.parts.get(name)
        if part is None:
            raise PackageUnsupported(f"the package has no part {name}, which photogram-runtime needs")
        self._inputs = {port.name: port for port in part.inputs}
        self._outputs = [port.name for port in part.outputs]
        known = {**takes, **(may_take or {})}
        ranks = {port.name: len(port.shape) for port in part.inputs}
        if not takes.keys() <= ranks.keys() or any(known.get(each) != rank for each, rank in ranks.items()):
            raise PackageUnsupported(f"photogram-runtime cannot run the part {name} with its inputs {', '.join(ranks)}")
        missing = set(gives) - set(self._outputs)
        if missing:
            raise PackageUnsupported(
                f"the part {name} does not give {', '.join(missing)}, which photogram-runtime needs"
            )
        self._name, self._backend = name, package.backend
        self._graph = open_graph(package, part, threads, cache)

    def axis(self, name: str, axis: int) -> tuple[int, int | None]:
        """The shortest and the longest length of one axis of an input; ``None`` if nothing limits it."""
        return _axis(self._inputs[name], axis)

    def gives(self, output: str) -> bool:
        """Whether there is an output of this name."""
        return output in self._outputs

    def run(self, given: Mapping[str, Array], output: str | None = None) -> Floats:
        """One output, the first if none is named, for the ``given`` inputs; those that the graph lacks are left out.

        Raises:
            InvalidRequest: an input has a shape that the graph was not made for.
            ComputationFailed: the runtime failed, for example for lack of memory, or the output is not finite.
        """
        prepared = {name: self._prepared(port, given[name]) for name, port in self._inputs.items()}
        try:
            outputs = self._graph(prepared)
        except Exception as error:  # each runtime has errors of its own
            reason = str(error)[:200] or type(error).__name__
            raise ComputationFailed(f"{self._backend} could not compute {self._name}: {reason}") from error
        found = np.asarray(outputs[0 if output is None else self._outputs.index(output)], np.float32)
        if not np.isfinite(found).all():
            raise ComputationFailed(f"the output of {self._name} is not finite")
        return found

    def _prepared(self, port: Port, array: Array) -> Array:
        for axis, length in enumerate(array.shape):
            low, high = _axis(port, axis)
            if length < low or (high is not None and length > high):
                expected = f"{low} to {'any length' if high is None else high}"
                raise InvalidRequest(f"{self._name} takes {expected} along axis {axis} of {port.name}, not {length}")
        return array.astype(port.dtype, copy=False)


def _axis(port: Port, axis: int) -> tuple[int, int | None]:
    fixed = port.shape[axis]
    if fixed is not None:
        return fixed, fixed
    return port.bounds[axis] if axis < len(port.bounds) else (1, None)


def section(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of ``deploy.json``.

    Raises:
        PackageUnsupported: the package was made without it.
    """
    found = manifest.get(name)
    if not isinstance(found, dict):
        raise PackageUnsupported(f"photogram-runtime cannot use models like this {manifest['family']}; the service can")
    return found
