"""ExecuTorch, a recipe: a program of each part for phones, whose convolutions and products XNNPACK computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from photogram_runtime.graphs import Array
from photogram_runtime.package import Package

from models.deploy.exporting import Exported, Unexportable, told
from models.deploy.proof import PartDifference


def build(exported: Exported, family: str, precision: str, folder: Path) -> str:
    """Write the program of a part.

    Raises:
        Unexportable: ExecuTorch cannot lower the part.
    """
    try:
        lowered: Any = to_edge_transform_and_lower(exported.program, partitioner=[XnnpackPartitioner()])
        program = lowered.to_executorch()
    except Exception as error:  # its passes raise whatever they raise
        raise Unexportable(told(exported.part, "ExecuTorch", error)) from error
    file = folder / f"{exported.part.name}.pte"
    file.write_bytes(program.buffer)
    return file.name


def proof(exported: Exported, file: Path) -> PartDifference | None:
    """How far the program, run by ExecuTorch on this processor, is from torch."""
    from executorch.runtime import Runtime

    method: Any = Runtime.get().load_program(file).load_method("forward")

    def run(inputs: Any) -> list[Array]:
        outputs = method.execute([torch.from_numpy(inputs[port.name]) for port in exported.inputs])
        return [each.numpy() for each in outputs]

    try:
        return PartDifference.of(run, exported.calls)
    except RuntimeError as error:
        raise Unexportable(told(exported.part, "ExecuTorch", error)) from error


def readme(package: Package) -> str:
    """How an app runs the programs."""
    parts = "\n".join(
        f"{part.file}: method forward, inputs {', '.join(port.name for port in part.inputs)}"
        for part in package.parts.values()
    )
    return (
        f"{package.name} for ExecuTorch {package.manifest['requires']['executorch']} with XNNPACK, in float32.\n"
        "Each program was run on all recorded calls; deploy.json has the differences from torch under checks.parts.\n\n"
        f"{parts}\n\nAn app must link the XNNPACK backend and the portable and optimized kernels.\n"
    )
