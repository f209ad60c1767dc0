"""TensorRT: the ONNX graph of each part, and the command line by which ``trtexec`` makes an engine of it elsewhere."""

from __future__ import annotations

import shlex
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from photogram_runtime.graphs import OnnxRuntimeGraph
from photogram_runtime.package import Port

from models.deploy.exporting import Exported, Unexportable
from models.deploy.proof import THRESHOLDS, PartDifference

_FLAGS = {"f32": ["--noTF32"], "fp16": ["--fp16"], "bf16": ["--bf16"]}
_CHECKED_AS = "f32"
Shapes = Mapping[str, Sequence[int]]


def build(exported: Exported, family: str, precision: str, folder: Path) -> str:
    """Write the ONNX graph of a part, checked as far as this machine can, and the script that makes the engine.

    Raises:
        Unexportable: ONNX has no operator for something in the part, or the graph does not compute what torch does.
        Exception: whatever onnx.checker or ONNX Runtime raise.
    """
    graph = exported.onnx()
    onnx.checker.check_model(str(graph), full_check=True)
    _require_equal(exported, graph)
    for each in graph.parent.iterdir():
        shutil.copyfile(each, folder / each.name)
    script = folder / f"{exported.part.name}.trtexec.sh"
    script.write_text(_script(exported, graph.name, precision), encoding="utf-8")
    return graph.name


def _require_equal(exported: Exported, graph: Path) -> None:
    found = PartDifference.of(OnnxRuntimeGraph(graph, threads=1), exported.calls)
    if not found.relative <= THRESHOLDS[_CHECKED_AS].relative:
        raise Unexportable(f"{exported.part.name}: its ONNX graph differs from torch by {found.relative:.2g}")


def _script(exported: Exported, graph: str, precision: str) -> str:
    engine = f"{exported.part.name}.engine"
    shapes = [f"--{name}Shapes={_told(each)}" for name, each in profile(exported).items() if each]
    command = shlex.join(["trtexec", f"--onnx={graph}", *shapes, *_FLAGS[precision], "--skipInference"])
    return (
        "#!/bin/sh\n"
        f"# sh {exported.part.name}.trtexec.sh FOLDER\n"
        f"# makes {engine} in FOLDER with trtexec of TensorRT 10, on the GPU that it is for. It was never run.\n"
        'set -eu\nengines=$(cd "$1" && pwd)\ncd "$(dirname "$0")"\n'
        f'{command} --saveEngine="$engines"/{shlex.quote(engine)}\n'
    )


def profile(exported: Exported) -> dict[str, Shapes]:
    """The optimisation profile: the least, the most frequent and the largest shapes of all inputs with an open axis."""
    open_inputs = [port for port in exported.inputs if None in port.shape]
    usual = dict(Counter(call.shapes for call in exported.calls).most_common(1)[0][0])
    return {
        "min": {port.name: [*_least_batch(port), *(low for low, _ in port.bounds[1:])] for port in open_inputs},
        "opt": {port.name: usual[port.name] for port in open_inputs},
        "max": {port.name: [high for _, high in port.bounds] for port in open_inputs},
    }


def _least_batch(port: Port) -> list[int]:
    """The first axis is that of the batch, as for all graphs: one that is open may be 1 long, whatever was recorded."""
    return [1 if port.shape[0] is None else low for low, _ in port.bounds[:1]]


def _told(shapes: Shapes) -> str:
    return ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())
